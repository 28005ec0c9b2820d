"""Half-open connections: a relay to a local port whose peers can vanish without a word."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class MuteRelay:
    """`strike` makes the peers of its present connections vanish; those to come are passed on."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lines: list[asyncio.Event] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            for task in self._tasks:
                task.cancel()

    def strike(self) -> None:
        for line in self._lines:
            line.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._port)
        dead = asyncio.Event()
        self._lines.append(dead)
        for source, target in ((reader, upstream_writer), (upstream_reader, writer)):
            task = asyncio.create_task(_pass_on(source, target, dead))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, dead: asyncio.Event) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65_536):
            if not dead.is_set():
                target.write(data)
    if not dead.is_set():
        target.close()
