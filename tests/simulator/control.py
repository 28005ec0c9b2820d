"""The control API under /sim, for scripts: the same operations as the methods of ``Simulator``, as JSON."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
from aiohttp import web

from simulator.faults import Fault


class Controlled(Protocol):
    """What is controlled; ``Simulator`` is."""

    def counts(self) -> msgspec.Struct: ...
    async def pause(self) -> None: ...
    def resume(self) -> None: ...
    def fault(self, fault: Fault) -> int: ...
    async def burst(self, exchange: str, channel: str, frames: int, symbol: str | None = None) -> None: ...


class Burst(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    exchange: str
    channel: str
    frames: int
    symbol: str | None = None


Handler = Callable[[web.Request], Awaitable[web.Response]]


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _checked(handler: Handler) -> Handler:
    """A mistake of the caller is a 400 with its reason."""

    async def checked(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except (ValueError, KeyError, TimeoutError) as error:  # msgspec's errors are ValueErrors
            return web.json_response({"error": str(error)}, status=400)

    return checked


def routes(simulator: Controlled) -> list[web.RouteDef]:
    async def healthz(_: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def counts(_: web.Request) -> web.Response:
        return _json(simulator.counts())

    async def pause(_: web.Request) -> web.Response:
        await simulator.pause()
        return _json(simulator.counts())

    async def resume(_: web.Request) -> web.Response:
        simulator.resume()
        return _json(simulator.counts())

    async def fault(request: web.Request) -> web.Response:
        return _json({"connections": simulator.fault(msgspec.json.decode(await request.read(), type=Fault))})

    async def burst(request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=Burst)
        await simulator.burst(wanted.exchange, wanted.channel, wanted.frames, wanted.symbol)
        return _json(simulator.counts())

    return [
        web.get("/sim/healthz", healthz),
        web.get("/sim/counts", counts),
        web.post("/sim/pause", _checked(pause)),
        web.post("/sim/resume", resume),
        web.post("/sim/fault", _checked(fault)),
        web.post("/sim/burst", _checked(burst)),
    ]
