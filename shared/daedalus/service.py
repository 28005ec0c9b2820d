"""The life of a process, the same for every service: configuration, logs, health, a clean stop with a deadline.

    async def main(service: Service) -> None:
        ...                                  # start; start-up is crash recovery
        service.health.started()
        await service.stopping.wait()
        ...                                  # stop intake, drain, close

    def main() -> int: return run("writer", serve)

Exit codes stand in `daedalus.errors`. Compose never restarts an unhealthy container, so a process whose loop hangs, or
whose memory passes the critical mark, ends itself, and is restarted.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import os
import platform
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog
from nats.aio.client import Client
from nats.errors import FlushTimeoutError
from nats.micro import service as micro
from nats.micro.request import Request
from prometheus_client import CollectorRegistry, Gauge, Info

from daedalus import __version__, config_file, governor, logs, memory
from daedalus.config import Config
from daedalus.errors import (
    EXIT_CONFIG,
    EXIT_DEADLINE,
    EXIT_MEMORY,
    EXIT_SOFTWARE,
    EXIT_STALLED,
    ConfigError,
    DaedalusError,
)
from daedalus.health import STALLED_SECONDS, Health
from daedalus.web import Page, WebServer

_log = structlog.get_logger()


class Service:
    """What a service is given: its configuration, its arguments, its health, its metrics, and the signal to stop."""

    def __init__(self, name: str, config: Config, arguments: argparse.Namespace) -> None:
        self.name = name
        self.config = config
        self.arguments = arguments
        self.instance: str = arguments.instance
        self.health = Health()
        self.registry = CollectorRegistry()
        self.stopping = asyncio.Event()
        self.exit_code = 0
        self.pages: dict[str, Page] = {}
        """Path → page, for services that show more than metrics; set before the first await."""
        self._started = time.monotonic()
        self._memory_limit = memory.limit_bytes(config.supervisor.memory_limit_mb)
        Info("daedalus_build", "What is running", registry=self.registry).info(
            {"service": name, "version": __version__, "instance": self.instance, "python": platform.python_version()}
        )
        used = Gauge("daedalus_memory_bytes", "Resident memory of the process", registry=self.registry)
        used.set_function(memory.used_bytes)
        limit = Gauge("daedalus_memory_limit_bytes", "The memory limit it is held to; 0: none", registry=self.registry)
        limit.set(self._memory_limit or 0)
        Gauge("daedalus_ready", "1 when /readyz says yes", registry=self.registry).set_function(
            lambda: float(not self.health.problems())
        )

    def stop(self, why: str, exit_code: int = 0) -> None:
        """Ask for a clean stop; the first reason counts."""
        if not self.stopping.is_set():
            self.exit_code = exit_code
            _log.info("stop was asked for", why=why)
            self.stopping.set()

    async def announce(self, nats: Client) -> None:
        """Answer NATS' service discovery ($SRV.PING, INFO, STATS) and requests for this process's status."""
        kind = f"daedalus-{self.name}"
        registered = micro.Service(
            nats,
            micro.ServiceConfig(
                name=kind,
                version=__version__,
                description=f"Daedalus {self.name}",
                metadata={"instance": self.instance},
                stats_handler=lambda _: self.status(),
            ),
        )
        with suppress(FlushTimeoutError):  # it went away a moment ago; what is subscribed is so again when it is back
            await registered.start()

        async def answer(request: Request) -> None:
            await request.respond(msgspec.json.encode(self.status()))

        subject = f"daedalus.{self.name}.{self.instance}.status"
        await registered.add_endpoint(micro.EndpointConfig(name="status", subject=subject, handler=answer))

    def status(self) -> dict[str, object]:
        """Readiness, problems, uptime, and every metric of the process, by its Prometheus name."""
        samples = {}
        for metric in self.registry.collect():
            for sample in metric.samples:
                if not sample.name.endswith(("_created", "_bucket")):
                    labels = ",".join(f'{key}="{value}"' for key, value in sample.labels.items())
                    samples[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        problems = self.health.problems()
        return {
            "service": self.name,
            "instance": self.instance,
            "version": __version__,
            "ready": not problems,
            "problems": problems,
            "uptime_seconds": round(time.monotonic() - self._started, 1),
            "metrics": samples,
        }

    async def _beat(self) -> None:
        while True:
            self.health.beat()
            await asyncio.sleep(1.0)

    def _watch(self, loop: asyncio.AbstractEventLoop, deadline_seconds: float) -> None:
        """In a thread: ends the process when its loop hangs or its stop takes too long, stops it when memory runs out."""
        supervisor, asked = self.config.supervisor, None
        while True:
            time.sleep(1.0)
            if self.health.stalled_seconds() > STALLED_SECONDS:
                faulthandler.dump_traceback(all_threads=True)
                os._exit(EXIT_STALLED)
            judgement = memory.judge(
                memory.used_bytes(),
                self._memory_limit,
                supervisor.memory_warning_percent,
                supervisor.memory_critical_percent,
            )
            if judgement == "critical" and asked is None:
                loop.call_soon_threadsafe(self.stop, "memory passed the critical mark", EXIT_MEMORY)
            elif judgement == "warning":
                _log.warning(
                    "memory passed the warning mark", used_bytes=memory.used_bytes(), limit_bytes=self._memory_limit
                )
            if self.stopping.is_set():
                asked = asked or time.monotonic()
                if time.monotonic() - asked > deadline_seconds:
                    _log.error("the stop did not end in time", deadline_seconds=deadline_seconds)
                    faulthandler.dump_traceback(all_threads=True)
                    os._exit(EXIT_DEADLINE)


Serve = Callable[[Service], Awaitable[None]]


def run(
    name: str,
    serve: Serve,
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda _: None,
    make_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> int:
    """A service's command line and its whole life; returns the exit code. `make_loop`: of asyncio, if none is given."""
    arguments = _parse(name, add_arguments)
    logs.configure(name, arguments.log_level)
    try:
        config = config_file.load(arguments.config, os.environ)
    except ConfigError as error:
        print(f"{arguments.config}: {len(error.mistakes)} mistakes", *error.mistakes, sep="\n  ", file=sys.stderr)  # noqa: T201
        return EXIT_CONFIG
    if arguments.check_config:
        print(f"{arguments.config}: ok")  # noqa: T201
        return 0
    starts = Path(tempfile.gettempdir()) / f"daedalus-{name}-{arguments.instance}.starts"
    if (delay := governor.note_start(starts, time.time())) > 0:
        _log.warning("start was held back: too many starts in ten minutes", delay_seconds=delay)
        time.sleep(delay)
    service = Service(name, config, arguments)
    with asyncio.Runner(loop_factory=make_loop) as runner:
        code = runner.run(_live(service, serve))
    if code == 0:
        governor.note_clean_stop(starts)
    return code


def _parse(name: str, add_arguments: Callable[[argparse.ArgumentParser], None]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"daedalus-{name}", description=f"The Daedalus {name}.")
    environment = os.environ
    parser.add_argument(
        "--config",
        type=Path,
        default=Path(environment.get("DAEDALUS_CONFIG", "config.yaml")),
        help="default: %(default)s",
    )
    parser.add_argument("--check-config", action="store_true", help="read the configuration, tell every mistake, end")
    parser.add_argument(
        "--instance", default=environment.get("DAEDALUS_INSTANCE", platform.node()), help="default: %(default)s"
    )
    parser.add_argument(
        "--http-host", default=environment.get("DAEDALUS_HTTP_HOST", "127.0.0.1"), help="default: %(default)s"
    )
    parser.add_argument(
        "--http-port",
        type=int,
        default=int(environment.get("DAEDALUS_HTTP_PORT", "0")),
        help="of /metrics, /livez and /readyz; 0: any free one",
    )
    parser.add_argument(
        "--log-level", default=environment.get("DAEDALUS_LOG_LEVEL", "info"), choices=["debug", "info", "warning"]
    )
    parser.add_argument("--version", action="version", version=__version__)
    add_arguments(parser)
    return parser.parse_args()


async def _live(service: Service, serve: Serve) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop, signal.Signals(number).name)
    timeouts = service.config.supervisor
    deadline = timeouts.sync_shutdown_timeout if service.name == "sync" else timeouts.ingestion_shutdown_timeout
    threading.Thread(target=service._watch, args=(loop, deadline), name="watchdog", daemon=True).start()  # noqa: SLF001
    beat = asyncio.create_task(service._beat())  # noqa: SLF001
    web = WebServer(
        service.arguments.http_host, service.arguments.http_port, service.registry, service.health, service.pages
    )
    _log.info("service was started", version=__version__, instance=service.instance, http_port=web.port)
    try:
        await _serve_until_stopped(service, serve)
    except* DaedalusError as errors:
        first = errors.exceptions[0]
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        service.exit_code = first.exit_code if isinstance(first, DaedalusError) else EXIT_SOFTWARE
        _log.error("service ended with an error", error=str(first), error_type=type(first).__name__)
    except* Exception as errors:  # noqa: BLE001  # the edge of the process
        service.exit_code = EXIT_SOFTWARE
        _log.error("service ended with an unexpected error", exc_info=errors)
    finally:
        beat.cancel()
        web.close()
    _log.info("service was stopped", exit_code=service.exit_code)
    return service.exit_code


async def _serve_until_stopped(service: Service, serve: Serve) -> None:
    """A stop that comes while the service still starts (waiting for NATS, say) ends it there."""
    serving = asyncio.ensure_future(serve(service))
    stopping = asyncio.ensure_future(service.stopping.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not serving.done() and "started" in service.health.problems():
        serving.cancel()
    try:
        await serving
    except asyncio.CancelledError:
        if not service.stopping.is_set():
            raise
