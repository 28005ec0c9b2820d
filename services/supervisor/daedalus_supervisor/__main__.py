"""daedalus-supervisor: watches, reports, changes nothing.

services discovery + JetStream + disk ─▶ Watch ─▶ Status ─▶ page, status.json, metrics
`daedalus-supervisor status` prints the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time

from nats.aio.client import Client

from daedalus import broker
from daedalus.service import Service, run
from daedalus_supervisor import command, page, status
from daedalus_supervisor.limits import Limits
from daedalus_supervisor.metrics import Metrics, Reported
from daedalus_supervisor.watch import Watch

CONNECT_SECONDS = 1.0
"""How long the first report waits for NATS."""
LEAST_PAUSE_SECONDS = 0.1


async def serve(service: Service) -> None:
    limits = Limits.of(service.config)
    watch = Watch(service.config, limits, Metrics(service.registry))
    Reported(service.registry, lambda: watch.status, limits)
    service.pages["/"] = lambda: page.page(watch.status)
    service.pages["/status.json"] = lambda: ("application/json", status.encode(watch.status))
    service.health.add("nats", lambda: watch.problem)
    service.health.started()  # it reports from now on, if only that nobody answers
    connecting = asyncio.create_task(_connect(service, watch))
    try:
        await asyncio.wait({connecting}, timeout=CONNECT_SECONDS)
        while not service.stopping.is_set():
            began = time.monotonic()
            await watch.poll()
            if connecting.done():
                connecting.result()  # raises what went wrong with it
            left_seconds = service.config.supervisor.poll_seconds - (time.monotonic() - began)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(left_seconds, LEAST_PAUSE_SECONDS)):
                    await service.stopping.wait()
    finally:
        connecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await broker.close(await connecting)


async def _connect(service: Service, watch: Watch) -> Client:
    """Wait for NATS, however long; meanwhile the report says that it is away."""
    client = await broker.connect(service.config.nats.url, "supervisor")
    await service.announce(client)
    await watch.attach(client)
    return client


def main() -> int:
    if sys.argv[1:2] == ["status"]:
        return command.main(sys.argv[2:])
    return run("supervisor", serve, _add_arguments)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "`daedalus-supervisor status` prints the report of a running one; see `daedalus-supervisor status -h`."
    )


if __name__ == "__main__":
    sys.exit(main())
