"""Binance spot on the wire."""

import asyncio
import itertools

import aiohttp
import pytest

from simulator import Rates, Simulator
from unit.simulator.wire import (
    BINANCE,
    BINANCE_COMBINED,
    Message,
    get,
    message,
    messages,
    opened,
    rest,
    subscribed_binance,
)

STILL = Rates(0, 0, 0)
DEPTH = "api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000"


def _applied(book: dict[str, dict[str, str]], update: Message) -> None:
    for side, key in (("bids", "b"), ("asks", "a")):
        for price, amount in update[key]:
            book[side].pop(price, None)
            if float(amount):
                book[side][price] = amount


async def test_a_burst_of_trades_arrives_whole_in_order_and_counted() -> None:
    """Dense ids, the recorded fields, eight decimals, an acknowledgement before the data."""
    async with Simulator(["binance"], rates=STILL) as simulator, opened(simulator, BINANCE) as socket:
        assert await subscribed_binance(socket, "btcusdt@trade") == {"result": None, "id": 7}
        await simulator.burst("binance", "trade", 3_000)
        trades = await messages(socket, 3_000)
        assert not await rest(socket)
    assert all(after["t"] == before["t"] + 1 for before, after in itertools.pairwise(trades))
    assert list(trades[0]) == ["e", "E", "s", "t", "p", "q", "T", "m", "M"]
    assert len(trades[0]["p"].split(".")[1]) == len(trades[0]["q"].split(".")[1]) == 8
    count = simulator.count("binance", "trade", "BTC/USDT")
    assert (count.frames, count.records, count.repeats) == (3_000, 3_000, 0)


async def test_deltas_continue_the_rest_snapshot_without_a_gap() -> None:
    """U is the last u plus one from lastUpdateId on, and the rebuilt book equals a second snapshot."""
    async with Simulator(["binance"], rates=Rates(books=200)) as simulator, opened(simulator, BINANCE) as socket:
        await subscribed_binance(socket, "btcusdt@depth@100ms")
        snapshot = await get(simulator, DEPTH)
        book = {side: dict(snapshot[side]) for side in ("bids", "asks")}
        updates = await messages(socket, 50)
        await simulator.pause()
        updates += await rest(socket)
        last = snapshot["lastUpdateId"]
        for update in updates:
            assert update["U"] == last + 1
            last = update["u"]
            _applied(book, update)
        fresh = await get(simulator, DEPTH)
        assert fresh["lastUpdateId"] == last
        assert book == {side: dict(fresh[side]) for side in ("bids", "asks")}


async def test_a_book_is_quiet_until_its_snapshot_was_served_and_counts_it() -> None:
    """No delta before the snapshot, none in the 300 ms after it; the records are the snapshot and each delta."""
    async with Simulator(["binance"], rates=Rates(books=100)) as simulator, opened(simulator, BINANCE) as socket:
        await subscribed_binance(socket, "btcusdt@depth")
        assert not await rest(socket)
        served = asyncio.get_running_loop().time()
        await get(simulator, DEPTH)
        await message(socket)
        assert asyncio.get_running_loop().time() - served > 0.25
        await simulator.pause()
        deltas = 1 + len(await rest(socket))
        count = simulator.count("binance", "orderbook", "BTC/USDT")
        assert (count.frames, count.records) == (deltas, deltas + 1)


async def test_early_deltas_come_before_any_snapshot() -> None:
    """As at the real exchange, when asked for."""
    async with (
        Simulator(["binance"], rates=Rates(books=100), early_deltas=True) as simulator,
        opened(simulator, BINANCE) as socket,
    ):
        await subscribed_binance(socket, "btcusdt@depth")
        assert (await message(socket))["e"] == "depthUpdate"


async def test_a_second_client_that_waits_for_its_snapshot_holds_the_book_for_all() -> None:
    """The market itself stands still, so the first client misses nothing; a client that leaves holds nothing."""
    async with Simulator(["binance"], rates=Rates(books=100)) as simulator, opened(simulator, BINANCE) as first:
        await subscribed_binance(first, "btcusdt@depth")
        snapshot = await get(simulator, DEPTH)
        updates = await messages(first, 5)
        async with opened(simulator, BINANCE) as second:
            await subscribed_binance(second, "btcusdt@depth")
            updates += await rest(first)
            assert not await rest(first)
        updates += await messages(first, 5)
    assert [update["U"] for update in updates] == [
        snapshot["lastUpdateId"] + 1,
        *(update["u"] + 1 for update in updates[:-1]),
    ]


async def test_a_combined_connection_gets_the_envelope_and_a_raw_one_does_not() -> None:
    """Streams in the address are subscribed without a message."""
    async with (
        Simulator(["binance"], rates=STILL) as simulator,
        opened(simulator, f"{BINANCE_COMBINED}?streams=btcusdt@trade/ethusdt@ticker") as combined,
        opened(simulator, "stream.binance.com:9443/ws/btcusdt@trade") as raw,
    ):
        await simulator.burst("binance", "trade", 1)
        enveloped = await message(combined)
        assert enveloped == {"stream": "btcusdt@trade", "data": await message(raw)}
        await simulator.burst("binance", "ticker", 1)
        assert (await message(combined))["stream"] == "ethusdt@ticker"
        count = simulator.count("binance", "trade", "BTC/USDT")
        assert (count.frames, count.records, count.repeats) == (2, 1, 1)


@pytest.mark.parametrize(
    ("stream", "channel", "keys"),
    [
        ("ticker", "ticker", "e E s p P w x c Q b B a A o h l v q O C F L n"),
        ("miniTicker", "ticker", "e E s c o h l v q"),
        ("bookTicker", "bidask", "u s b B a A"),
    ],
)
async def test_each_kind_of_ticker_has_its_documented_fields(stream: str, channel: str, keys: str) -> None:
    """bookTicker has no event name and is counted as a channel of its own."""
    async with Simulator(["binance"], rates=STILL) as simulator, opened(simulator, BINANCE) as socket:
        await subscribed_binance(socket, f"btcusdt@{stream}")
        await simulator.burst("binance", channel, 1)
        ticker = await message(socket)
    assert list(ticker) == keys.split()
    if "b" in ticker:
        assert float(ticker["b"]) < float(ticker["a"])


async def test_requests_are_answered_as_binance_does() -> None:
    """Unsubscribe and list, an error for what is no request, silence for a stream that does not exist."""
    async with Simulator(["binance"], rates=STILL) as simulator, opened(simulator, BINANCE) as socket:
        assert (await subscribed_binance(socket, "nosuch@trade", "btcusdt@trade", "ethusdt@trade"))["result"] is None
        await socket.send_json({"method": "UNSUBSCRIBE", "params": ["ethusdt@trade"], "id": 8})
        assert await message(socket) == {"result": None, "id": 8}
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 9})
        assert await message(socket) == {"result": ["btcusdt@trade"], "id": 9}
        for text in ("nonsense", '{"method":"DANCE","id":10}'):
            await socket.send_str(text)
            assert (await message(socket))["error"]["code"] == 2


async def test_pings_come_with_a_payload_and_are_answered() -> None:
    """The client's own pings are answered as well."""
    async with (
        Simulator(["binance"]) as simulator,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{simulator.url}/{BINANCE}", autoping=False) as socket,
    ):
        frame = await socket.receive(timeout=2)
        assert (frame.type, bytes(frame.data)) == (aiohttp.WSMsgType.PING, b"simulator")
        await socket.ping(b"client")
        answer = await socket.receive(timeout=2)
        assert (answer.type, bytes(answer.data)) == (aiohttp.WSMsgType.PONG, b"client")


async def test_the_depth_of_an_unknown_symbol_is_refused() -> None:
    """With Binance's error code."""
    async with Simulator(["binance"]) as simulator:
        assert (await get(simulator, "api.binance.com/api/v3/depth?symbol=NOSUCH"))["code"] == -1121
