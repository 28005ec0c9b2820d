"""The port's clients: which connections each exchange has, who is turned away, and one WebSocket's life."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping

from aiohttp import WSMsgType, web
from msgspec import Struct

from simulator.connection import CLOSE_SECONDS, Connection
from simulator.counts import Counts
from simulator.exchange import Exchange
from simulator.faults import Door

# For a client to read what is queued for it.
PATIENCE_SECONDS = 10.0


class Clients(Struct, frozen=True):
    """Connections of one exchange: alive now, accepted since the start; requests turned away by ``refuse``."""

    open: int
    accepted: int
    refused: int


class Sockets:
    def __init__(self, exchanges: Mapping[str, Exchange], counts: Counts) -> None:
        self._exchanges, self._counts = exchanges, counts
        self.doors = {name: Door() for name in exchanges}
        self._connections: dict[Connection, None] = {}
        self._accepted = dict.fromkeys(exchanges, 0)
        self._refused = dict.fromkeys(exchanges, 0)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._connections))

    def of(self, exchange: str) -> list[Connection]:
        return [connection for connection in self if connection.exchange == exchange]

    def clients(self) -> dict[str, Clients]:
        return {
            name: Clients(len(self.of(name)), self._accepted[name], self._refused[name]) for name in self._exchanges
        }

    async def roomy(self) -> None:
        """Wait until every outbox is short. TimeoutError when a client does not read for 10 s."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*(connection.roomy() for connection in self))

    async def flush(self) -> None:
        """Wait until everything queued was written. TimeoutError when a client does not read for 10 s."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*(connection.empty() for connection in self))

    async def close(self) -> None:
        for connection in self:
            connection.close()
        await asyncio.gather(*(connection.ended() for connection in self))

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """A request to ``/<host>/<path>``, a WebSocket's or a REST one."""
        host, path = request.match_info["host"], request.match_info.get("path", "")
        exchange = next((self._exchanges[name] for name in self._exchanges if name in host), None)
        if exchange is None:
            return web.json_response({"error": f"{host} is not simulated"}, status=404)
        refusal = self.doors[exchange.name].refusal(time.monotonic())
        if refusal is not None:
            self._refused[exchange.name] += 1
            status, headers = refusal
            return web.Response(status=status, headers=headers)
        if request.headers.get("Upgrade", "").lower() == "websocket" and exchange.accepts(path):
            return await self._websocket(request, exchange, path)
        reply = exchange.rest(path, request.query, time.time_ns())
        if reply is None:
            return web.json_response({"error": f"{request.path} is not simulated"}, status=404)
        return web.Response(body=reply.body, status=reply.status, content_type="application/json")

    async def _websocket(self, request: web.Request, exchange: Exchange, path: str) -> web.StreamResponse:
        ws = web.WebSocketResponse(compress=False, timeout=CLOSE_SECONDS)
        await ws.prepare(request)
        assert request.transport is not None
        connection = Connection(exchange.name, ws, request.transport, self._counts)
        self._connections[connection] = None
        self._accepted[exchange.name] += 1
        exchange.opened(connection, path, request.query, time.time_ns())
        if time.monotonic() < self.doors[exchange.name].closes_until:
            connection.close()
        sender = asyncio.create_task(connection.deliver())
        try:
            async for message in ws:
                if message.type is WSMsgType.TEXT:
                    exchange.received(connection, message.data, time.time_ns())
        finally:
            del self._connections[connection]
            exchange.closed(connection)
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender
            await connection.ended()
        return ws
