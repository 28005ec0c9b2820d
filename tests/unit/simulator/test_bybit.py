"""Bybit v5 on the wire."""

import pytest

from simulator import Fault, Rates, Simulator
from unit.simulator.wire import BYBIT, Message, Socket, get, message, messages, opened, rest

STILL = Rates(0, 0, 0)


async def _asked(socket: Socket, *topics: str, op: str = "subscribe") -> Message:
    await socket.send_json({"op": op, "req_id": "7", "args": topics})
    answer = await message(socket)
    assert (answer["op"], answer["req_id"]) == (op, "7")
    return answer


async def _subscribed(socket: Socket, *topics: str) -> None:
    assert (await _asked(socket, *topics))["success"] is True


def _laid(held: dict[str, dict[str, str]], frame: Message) -> None:
    for side, levels in held.items():
        if frame["type"] == "snapshot":
            levels.clear()
        for price, amount in frame["data"][side]:
            levels.pop(price, None)
            if amount != "0":
                levels[price] = amount


@pytest.mark.parametrize("depth", [50, 200])
async def test_a_book_is_a_snapshot_and_deltas_numbered_without_holes(depth: int) -> None:
    """What leaves the depth is told, so the client holds exactly that many levels and never cuts."""
    held: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    async with Simulator(["bybit"], rates=STILL, levels=210) as simulator, opened(simulator, BYBIT) as socket:
        await _subscribed(socket, f"orderbook.{depth}.BTCUSDT")
        await simulator.burst("bybit", "orderbook", 300)
        frames = await messages(socket, 301)
        assert [frame["type"] for frame in frames] == ["snapshot"] + ["delta"] * 300
        first = frames[0]["data"]["u"]
        assert [frame["data"]["u"] for frame in frames] == list(range(first, first + 301))
        for frame in frames:
            _laid(held, frame)
            assert len(held["b"]) == len(held["a"]) == depth
        bids, asks = simulator.book("bybit", "BTC/USDT")
        assert sorted(map(float, held["b"]), reverse=True) == bids[:depth]
        assert sorted(map(float, held["a"])) == asks[:depth]
        assert simulator.count("bybit", "orderbook", "BTC/USDT").records == 301


async def test_the_best_bid_and_ask_are_snapshots_on_a_topic_of_their_own() -> None:
    """Numbered by themselves; a state of the book on each topic is a record."""
    async with Simulator(["bybit"], rates=STILL) as simulator, opened(simulator, BYBIT) as socket:
        await _subscribed(socket, "orderbook.1.BTCUSDT", "orderbook.50.BTCUSDT")
        await simulator.burst("bybit", "orderbook", 40)
        frames = await rest(socket)
        best = [frame for frame in frames if frame["topic"] == "orderbook.1.BTCUSDT"]
        assert {frame["type"] for frame in best} == {"snapshot"}
        assert all(len(frame["data"]["b"]) == len(frame["data"]["a"]) == 1 for frame in best)
        assert len(frames) - len(best) == 41
        assert simulator.count("bybit", "orderbook", "BTC/USDT").records == len(frames)


async def test_a_lost_delta_shows_in_its_number() -> None:
    """u jumps by two, once."""
    async with Simulator(["bybit"], rates=STILL) as simulator, opened(simulator, BYBIT) as socket:
        await _subscribed(socket, "orderbook.50.BTCUSDT")
        simulator.fault(Fault("bybit", "sequence_gap"))
        await simulator.burst("bybit", "orderbook", 3)
        numbers = [frame["data"]["u"] for frame in await messages(socket, 3)]
    assert [number - numbers[0] for number in numbers] == [0, 2, 3]


async def test_trades_come_as_they_happen_and_tickers_without_bid_and_ask() -> None:
    """No trade of before the subscription; every trade of a frame is a record."""
    async with Simulator(["bybit"], rates=STILL) as simulator, opened(simulator, BYBIT) as socket:
        await _subscribed(socket, "publicTrade.BTCUSDT")
        assert await rest(socket) == []
        await simulator.burst("bybit", "trade", 100)
        trades = [trade for frame in await messages(socket, 100) for trade in frame["data"]]
        ids = [int(trade["i"]) for trade in trades]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert simulator.count("bybit", "trade", "BTC/USDT").records == len(trades) > 100
        assert {trade["S"] for trade in trades} == {"Buy", "Sell"}
        await _subscribed(socket, "tickers.BTCUSDT")
        ticker = (await message(socket))["data"]
        assert "bid1Price" not in ticker
        assert float(ticker["lowPrice24h"]) <= float(ticker["lastPrice"]) <= float(ticker["highPrice24h"])


async def test_one_bad_topic_refuses_the_whole_request() -> None:
    """An unknown symbol or topic, more than ten, one that is subscribed already: nothing of the request is subscribed."""
    async with Simulator(["bybit"], markets=11, rates=STILL) as simulator, opened(simulator, BYBIT) as socket:
        await _subscribed(socket, "tickers.BTCUSDT")
        await message(socket)
        for topics, reason in (
            (["tickers.ETHUSDT", "tickers.NOSUCH"], "Invalid symbol"),
            (["tickers.ETHUSDT", "weather.BTCUSDT"], "handler not found"),
            (["tickers.ETHUSDT", "tickers.BTCUSDT"], "already subscribed"),
            (["tickers.ETHUSDT"] * 11, "args size >10"),
        ):
            answer = await _asked(socket, *topics)
            assert answer["success"] is False
            assert reason in answer["ret_msg"]
        assert simulator.counts().subscriptions["bybit"] == {"ticker": ["BTC/USDT"]}
        assert (await _asked(socket, "tickers.BTCUSDT", op="unsubscribe"))["success"] is True
        assert simulator.counts().subscriptions["bybit"] == {}


async def test_pings_are_json_and_answered_even_when_frozen() -> None:
    """With the id of the ping; nonsense gets an error."""
    async with Simulator(["bybit"], rates=STILL) as simulator, opened(simulator, BYBIT) as socket:
        await socket.send_str("hello")
        assert (await message(socket))["success"] is False
        simulator.fault(Fault("bybit", "freeze"))
        await socket.send_json({"op": "ping", "req_id": "9"})
        pong = await message(socket)
        assert (pong["op"], pong["ret_msg"], pong["req_id"]) == ("ping", "pong", "9")


async def test_only_spot_is_listed() -> None:
    """The other categories have no instruments; a closed one stays in the list."""
    async with Simulator(["bybit"], symbols={"bybit": ["BTC/USDT", "ETH/USDT"]}) as simulator:
        simulator.list("bybit", "ETH/USDT", listed=False)
        path = "api.bybit.com/v5/market/instruments-info?category="
        spot, linear = await get(simulator, path + "spot"), await get(simulator, path + "linear")
    listed = [(one["symbol"], one["status"]) for one in spot["result"]["list"]]
    assert listed == [("BTCUSDT", "Trading"), ("ETHUSDT", "Closed")]
    assert linear["result"]["list"] == []
