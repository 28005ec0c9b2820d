"""Frames to test with: recorded ones, where they are there, and ones of the simulator."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import aiohttp
import msgspec
import pytest

from simulator import Rates, Recording, Simulator

CHECKOUT = Path(__file__).parents[2]
FRAMES = Path(os.environ.get("DAEDALUS_FRAMES", CHECKOUT.parent / "shared" / "frames"))
RECORDINGS = {
    "binance": FRAMES / "binance-spot-btcusdt-20240808.gz",
    "binanceusdm": FRAMES / "binance-usdm-btcusdt-20240808.gz",
}


def needs(exchange_id: str) -> pytest.MarkDecorator:
    """Skip a test where the recording of an exchange is absent."""
    path = RECORDINGS[exchange_id]
    return pytest.mark.skipif(not path.exists(), reason=f"no recorded frames at {path}: set DAEDALUS_FRAMES")


def recorded(exchange_id: str, streams: Sequence[str] = ("@trade", "@depth")) -> Iterator[tuple[str, bytes]]:
    """(stream, payload) in order of arrival; the stream of the REST snapshot is ''."""
    for frame in Recording(RECORDINGS[exchange_id]):
        if not frame.stream or any(stream in frame.stream for stream in streams):
            yield frame.stream, frame.payload


async def simulated(exchange: str, symbol: str, url: str, subscribe: Sequence[Mapping[str, object]], channels: Sequence[str], each: int) -> list[bytes]:  # fmt: skip
    """The frames that a client gets after these subscribe messages, with bursts of `each` events on each channel."""
    frames: list[bytes] = []
    async with (
        Simulator([exchange], symbols={exchange: [symbol]}, rates=Rates(0, 0, 0), levels=200) as simulator,
        aiohttp.ClientSession() as http,
        http.ws_connect(url.replace("wss://", f"{simulator.url}/"), max_msg_size=0) as ws,
    ):
        for message in subscribe:
            await ws.send_str(msgspec.json.encode(message).decode())

        async def read() -> None:
            async for message in ws:
                frames.append(message.data.encode())

        reading = asyncio.create_task(read())
        await asyncio.sleep(0.3)
        for _ in range(10):
            for channel in channels:
                await simulator.burst(exchange, channel, each // 10)
        await asyncio.sleep(0.3)
        reading.cancel()
    return frames
