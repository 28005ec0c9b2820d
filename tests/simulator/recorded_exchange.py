"""An exchange that says what a recording says: markets over REST, subscriptions, and the frames when a test lets them out.

What it must know of an exchange's protocol is its `Speech`; the frames it does not look into. As in the simulator one port
serves all hosts: the real host is the first element of the path.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import msgspec
from aiohttp import WSMsgType, web

CLOSE_SECONDS = 2.0

Rest = Callable[[str, Mapping[str, str]], bytes | None]
"""(path without the host, query) → body; None: no such path."""


class Speech(NamedTuple):
    """Both take a client's message."""

    streams: Callable[[Any], Sequence[str]]
    """What it subscribes."""
    answers: Callable[[Any], Sequence[object]]
    """What the exchange says to it."""


class RecordedExchange:
    """`url` is what a client takes for the exchange's own hosts."""

    def __init__(self, speech: Speech, rest: Rest) -> None:
        self.sent = 0
        """Text frames, to all connections."""
        self._speech = speech
        self._rest = rest
        self._sockets: dict[web.WebSocketResponse, set[str]] = {}
        self._held: dict[str, asyncio.Event] = {}
        self._port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def streams(self) -> set[str]:
        """What is subscribed, on any connection."""
        return set().union(*self._sockets.values())

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("GET", "/{host}", self._serve)
        application.router.add_route("GET", "/{host}/{path:.*}", self._serve)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=CLOSE_SECONDS)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        for socket in list(self._sockets):
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def send(self, stream: str, frame: bytes) -> None:
        """To every connection that subscribed the stream; the stream '' is everybody's."""
        text = frame.decode()
        for socket, streams in list(self._sockets.items()):
            if not stream or stream in streams:
                await self._say(socket, text)

    def hold(self, path: str) -> None:
        """Let the questions for a REST path wait until `release`."""
        self._held[path] = asyncio.Event()

    def release(self, path: str) -> None:
        self._held[path].set()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request)
        path = "/" + request.match_info.get("path", "").strip("/")
        if path in self._held:
            await self._held[path].wait()
        body = self._rest(path, request.query)
        if body is None:
            return web.json_response({"error": "not recorded"}, status=404)
        return web.Response(body=body, content_type="application/json")

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False, timeout=CLOSE_SECONDS)
        await socket.prepare(request)
        streams = self._sockets[socket] = set()
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT or message.data == "ping":
                    continue  # OKX's keep-alive, every 18 s
                said = msgspec.json.decode(message.data)
                for answer in self._speech.answers(said):
                    await self._say(socket, msgspec.json.encode(answer).decode())
                streams.update(self._speech.streams(said))
        finally:
            del self._sockets[socket]
        return socket

    async def _say(self, socket: web.WebSocketResponse, text: str) -> None:
        self.sent += 1
        await socket.send_str(text)
