"""A client that knows no protocol: opens a simulated address and reads what comes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from simulator import Simulator

COINBASE = "advanced-trade-ws.coinbase.com"
BINANCE = "stream.binance.com:9443/ws/1"
BINANCE_COMBINED = "stream.binance.com:9443/stream"
KRAKEN = "ws.kraken.com/v2"
OKX = "ws.okx.com:443/ws/v5/public"
BYBIT = "stream.bybit.com/v5/public/spot"
WAIT_SECONDS = 60.0
# The simulator is in the same event loop: what is on its way is there after some turns of it, however long they take.
SILENT_TURNS, TURN_SECONDS = 20, 0.005

Socket = aiohttp.ClientWebSocketResponse
Message = dict[str, Any]


@asynccontextmanager
async def opened(simulator: Simulator, address: str) -> AsyncIterator[Socket]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{simulator.url}/{address}", max_msg_size=0) as socket,
    ):
        yield socket


async def get(simulator: Simulator, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(f"{simulator.url}/{path}") as response:
        return await response.json()


async def post(simulator: Simulator, path: str, body: object = None) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.post(f"{simulator.url}/{path}", json=body) as response:
        return response.status, await response.json()


async def message(socket: Socket) -> Message:
    return msgspec.json.decode(await socket.receive_str(timeout=WAIT_SECONDS), type=Message)


async def messages(socket: Socket, count: int) -> list[Message]:
    return [await message(socket) for _ in range(count)]


async def rest(socket: Socket) -> list[Message]:
    """Everything that is still on its way."""
    found: list[Message] = []
    silent = 0
    while silent < SILENT_TURNS:
        try:
            frame = await socket.receive(timeout=TURN_SECONDS)
        except TimeoutError:
            silent += 1
            continue
        if frame.type is not aiohttp.WSMsgType.TEXT:
            return found
        silent = 0
        found.append(msgspec.json.decode(frame.data, type=Message))
    return found


async def subscribed_coinbase(socket: Socket, channel: str, *products: str) -> list[Message]:
    """The answers up to the acknowledgement."""
    await socket.send_json({"type": "subscribe", "channel": channel, "product_ids": list(products)})
    answers = [await message(socket)]
    while answers[-1]["channel"] != "subscriptions":
        answers.append(await message(socket))
    return answers


async def subscribed_binance(socket: Socket, *streams: str) -> Message:
    await socket.send_json({"method": "SUBSCRIBE", "params": list(streams), "id": 7})
    return await message(socket)
