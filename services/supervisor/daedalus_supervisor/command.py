"""`daedalus-supervisor status`: the report on the command line. Exit 0: healthy; 1: not; 2: nobody could be asked."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry

from daedalus import broker, config_file, logs
from daedalus.config import Config
from daedalus.errors import EXIT_CONFIG, ConfigError, TransientError
from daedalus_supervisor import status, text
from daedalus_supervisor.limits import Limits
from daedalus_supervisor.metrics import Metrics
from daedalus_supervisor.status import Status
from daedalus_supervisor.watch import Watch

HEALTHY, UNHEALTHY, UNREACHABLE = 0, 1, 2
TIMEOUT_SECONDS = 5.0


def main(arguments: list[str]) -> int:
    parsed = _parse(arguments)
    logs.configure("supervisor", "warning")
    try:
        report = _fetch(parsed.url) if parsed.config is None else asyncio.run(_look(parsed.config))
    except TransientError as error:
        print(error, file=sys.stderr)  # noqa: T201  # the command's answer
        return UNREACHABLE
    except ConfigError as error:
        print(f"{parsed.config}: {len(error.mistakes)} mistakes", *error.mistakes, sep="\n  ", file=sys.stderr)  # noqa: T201  # the command's answer
        return EXIT_CONFIG
    shown = status.encode(report).decode() + "\n" if parsed.json else text.block(report)
    sys.stdout.write(shown)
    return HEALTHY if report.healthy else UNHEALTHY


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="daedalus-supervisor status",
        description="Print how the pipeline is. Exit 0: healthy; 1: something is not; 2: nobody could be asked.",
    )
    port = os.environ.get("DAEDALUS_HTTP_PORT", "9100")
    whom = parser.add_mutually_exclusive_group()
    whom.add_argument("--url", default=f"http://127.0.0.1:{port}", help="of a running supervisor; default: %(default)s")
    whom.add_argument("--config", type=Path, help="ask NATS itself, as this configuration says; without rates")
    parser.add_argument("--json", action="store_true", help="print status.json")
    return parser.parse_args(arguments)


def _fetch(url: str) -> Status:
    """The last report of a running supervisor. Raises TransientError."""
    address = f"{url.rstrip('/')}/status.json"
    if not address.startswith(("http://", "https://")):
        raise TransientError(f"{url}: expected http://host:port")
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310  # checked above
            return status.decode(answer.read())
    except (OSError, msgspec.DecodeError) as error:
        raise TransientError(f"{address}: expected a supervisor, found {error}") from error


async def _look(path: Path) -> Status:
    """One poll of our own. Raises TransientError, ConfigError."""
    config = config_file.load(path, os.environ)
    limits = msgspec.structs.replace(Limits.of(config), start_seconds=0.0)
    watch = Watch(config, limits, Metrics(CollectorRegistry()))
    return await _polled(config, watch)


async def _polled(config: Config, watch: Watch) -> Status:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            client = await broker.connect(config.nats.url, "supervisor-status")
    except TimeoutError as error:
        raise TransientError(
            f"{config.nats.url}: expected a NATS server, found none in {TIMEOUT_SECONDS:.0f} s"
        ) from error
    try:
        await watch.attach(client)
        await watch.poll()
    finally:
        await broker.close(client)
    return watch.status
