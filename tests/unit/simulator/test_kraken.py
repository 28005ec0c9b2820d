"""Kraken v2 on the wire."""

import zlib
from typing import Any

import pytest

from simulator import Rates, Simulator
from simulator import kraken as kraken_module
from unit.simulator.wire import KRAKEN, Message, Socket, message, messages, opened, rest

STILL = Rates(0, 0, 0)


async def _subscribed(socket: Socket, channel: str, **parameters: Any) -> Message:
    assert (await message(socket))["channel"] == "status"
    wanted = {"channel": channel, "symbol": ["BTC/USD"], **parameters}
    await socket.send_json({"method": "subscribe", "params": wanted, "req_id": 3})
    return await message(socket)


def _digits(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}".replace(".", "").lstrip("0")


def _checksum(bids: dict[float, float], asks: dict[float, float]) -> int:
    """As docs.kraken.com/api/docs/guides/spot-ws-book-v2 says, for BTC/USD."""
    levels = sorted(asks.items())[:10] + sorted(bids.items(), reverse=True)[:10]
    return zlib.crc32("".join(_digits(price, 1) + _digits(amount, 8) for price, amount in levels).encode())


async def test_every_book_frame_has_the_checksum_of_the_book_that_its_client_holds() -> None:
    """The client cuts its book to the depth it asked for, as it must at Kraken."""
    depth = 25
    held: dict[str, dict[float, float]] = {"bids": {}, "asks": {}}
    async with Simulator(["kraken"], rates=STILL) as simulator, opened(simulator, KRAKEN) as socket:
        acknowledged = await _subscribed(socket, "book", depth=depth)
        assert acknowledged["result"] == {"channel": "book", "symbol": "BTC/USD", "depth": depth, "snapshot": True}
        await simulator.burst("kraken", "orderbook", 400)
        for number, frame in enumerate(entry for entry in await messages(socket, 401) if entry["channel"] == "book"):
            assert frame["type"] == ("update" if number else "snapshot")
            (data,) = frame["data"]
            for side, levels in held.items():
                for level in data[side]:
                    levels.pop(level["price"], None)
                    if level["qty"]:
                        levels[level["price"]] = level["qty"]
                for price in sorted(levels, reverse=side == "bids")[depth:]:
                    del levels[price]
            assert _checksum(held["bids"], held["asks"]) == data["checksum"]
        assert simulator.count("kraken", "orderbook", "BTC/USD").records == 401


async def test_trades_come_with_a_snapshot_only_when_asked_for() -> None:
    """Every trade of a frame is a record."""
    async with Simulator(["kraken"], rates=STILL) as simulator:
        async with opened(simulator, KRAKEN) as socket:
            await _subscribed(socket, "trade")
            await simulator.burst("kraken", "trade", 100)
            trades = [trade for entry in await messages(socket, 100) for trade in entry["data"]]
        assert simulator.count("kraken", "trade", "BTC/USD").records == len(trades) > 100
        async with opened(simulator, KRAKEN) as socket:
            await _subscribed(socket, "trade", snapshot=True)
            snapshot = await message(socket)
    assert snapshot["type"] == "snapshot"
    assert [trade["trade_id"] for trade in snapshot["data"]] == [trade["trade_id"] for trade in trades[-50:]]


async def test_pings_heartbeats_and_refusals_are_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """A JSON ping gets a pong with its req_id, an unknown pair an error, and heartbeats come by themselves."""
    monkeypatch.setattr(kraken_module, "HEARTBEAT_NS", 100_000_000)
    async with Simulator(["kraken"], rates=STILL) as simulator, opened(simulator, KRAKEN) as socket:
        await message(socket)
        await socket.send_json({"method": "ping", "req_id": 5})
        pong = await message(socket)
        assert (pong["method"], pong["req_id"]) == ("pong", 5)
        await socket.send_json({"method": "subscribe", "params": {"channel": "book", "symbol": ["NO/SUCH"]}})
        assert (await message(socket))["success"] is False
        assert await message(socket) == {"channel": "heartbeat"}


async def test_unsubscribing_ends_the_data() -> None:
    """And is acknowledged."""
    async with Simulator(["kraken"], rates=STILL) as simulator, opened(simulator, KRAKEN) as socket:
        await _subscribed(socket, "ticker")
        assert (await message(socket))["type"] == "snapshot"
        await socket.send_json({"method": "unsubscribe", "params": {"channel": "ticker", "symbol": ["BTC/USD"]}})
        assert (await message(socket))["success"] is True
        await simulator.burst("kraken", "ticker", 5, "BTC/USD")
        assert all(entry["channel"] == "heartbeat" for entry in await rest(socket))
