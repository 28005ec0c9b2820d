"""OKX v5 on the wire."""

from typing import Any

from simulator import Fault, Rates, Simulator
from unit.simulator.wire import OKX, Message, Socket, get, message, messages, opened, rest

STILL = Rates(0, 0, 0)
BTC = "BTC-USDT"


async def _ask(socket: Socket, channel: str, *products: str, op: str = "subscribe") -> None:
    await socket.send_json({"op": op, "args": [{"channel": channel, "instId": product} for product in products]})


async def _acknowledged(socket: Socket, channel: str, op: str = "subscribe") -> Message:
    await _ask(socket, channel, BTC, op=op)
    answer = await message(socket)
    assert (answer["event"], answer["arg"]) == (op, {"channel": channel, "instId": BTC})
    return answer


def _laid(held: dict[str, dict[str, str]], data: Message) -> None:
    for side, levels in held.items():
        for price, amount, deprecated, orders in data[side]:
            assert (deprecated, orders) == ("0", "1" if amount != "0" else "0")
            levels.pop(price, None)
            if amount != "0":
                levels[price] = amount


def _sides(held: dict[str, dict[str, str]]) -> tuple[list[float], list[float]]:
    return sorted(map(float, held["bids"]), reverse=True), sorted(map(float, held["asks"]))


async def test_a_book_is_a_snapshot_and_updates_that_name_the_one_before() -> None:
    """Snapshot plus updates are the exchange's own book of 400 levels, though it holds more."""
    held: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
    async with Simulator(["okx"], rates=STILL, levels=420) as simulator, opened(simulator, OKX) as socket:
        await _acknowledged(socket, "books")
        await simulator.burst("okx", "orderbook", 300)
        frames = await messages(socket, 301)
        assert [frame["action"] for frame in frames] == ["snapshot"] + ["update"] * 300
        last = -1
        for frame in frames:
            (data,) = frame["data"]
            assert data["prevSeqId"] == last
            assert data["checksum"] == 0
            last = data["seqId"]
            _laid(held, data)
        bids, asks = simulator.book("okx", "BTC/USDT")
        assert _sides(held) == (bids[:400], asks[:400])
        assert simulator.count("okx", "orderbook", "BTC/USDT").records == 301


async def test_a_lost_update_shows_in_the_sequence() -> None:
    """prevSeqId is not the seqId that was seen last."""
    async with Simulator(["okx"], rates=STILL) as simulator, opened(simulator, OKX) as socket:
        await _acknowledged(socket, "books")
        simulator.fault(Fault("okx", "sequence_gap"))
        await simulator.burst("okx", "orderbook", 3)
        snapshot, first, second = [frame["data"][0] for frame in await messages(socket, 3)]
    assert first["prevSeqId"] > snapshot["seqId"]
    assert second["prevSeqId"] == first["seqId"]


async def test_trades_and_tickers_begin_with_the_last_one() -> None:
    """As recorded frames show; one trade a frame."""
    async with Simulator(["okx"], rates=STILL) as simulator, opened(simulator, OKX) as socket:
        await _acknowledged(socket, "trades")
        await simulator.burst("okx", "trade", 10, "BTC/USDT")
        trades = [entry["data"] for entry in await messages(socket, 11)]
        assert [len(data) for data in trades] == [1] * 11
        ids = [int(data[0]["tradeId"]) for data in trades]
        assert ids == list(range(ids[0], ids[0] + 11))
        assert {data[0]["side"] for data in trades} == {"buy", "sell"}
        await _acknowledged(socket, "tickers")
        ticker = (await message(socket))["data"][0]
        assert float(ticker["bidPx"]) < float(ticker["askPx"])
        assert float(ticker["low24h"]) <= float(ticker["last"]) <= float(ticker["high24h"])
        assert simulator.count("okx", "trade", "BTC/USDT").records == 11


async def test_subscribing_again_is_acknowledged_and_nothing_else() -> None:
    """After an unsubscription there is a new snapshot."""
    async with Simulator(["okx"], rates=STILL) as simulator, opened(simulator, OKX) as socket:
        await _acknowledged(socket, "books")
        assert (await message(socket))["action"] == "snapshot"
        await _acknowledged(socket, "books")
        assert await rest(socket) == []
        await _acknowledged(socket, "books", "unsubscribe")
        await simulator.burst("okx", "orderbook", 2, "BTC/USDT")
        assert await rest(socket) == []
        await _acknowledged(socket, "books")
        assert (await message(socket))["action"] == "snapshot"


async def test_a_ping_is_text_and_so_is_its_pong() -> None:
    """A frozen connection still answers it, and nothing else."""
    async with Simulator(["okx"], rates=STILL) as simulator, opened(simulator, OKX) as socket:
        simulator.fault(Fault("okx", "freeze"))
        await _ask(socket, "books", BTC)
        await socket.send_str("ping")
        assert await socket.receive_str(timeout=2) == "pong"
        assert await rest(socket) == []


async def test_an_unknown_product_is_refused_by_itself() -> None:
    """The others of the request are subscribed; nonsense has its own code."""
    async with Simulator(["okx"], rates=STILL) as simulator, opened(simulator, OKX) as socket:
        await _ask(socket, "tickers", "NO-SUCH", BTC)
        refused, acknowledged, ticker = await messages(socket, 3)
        assert (refused["event"], refused["code"]) == ("error", "60018")
        assert "NO-SUCH" in refused["msg"]
        assert acknowledged["arg"]["instId"] == ticker["arg"]["instId"] == BTC
        await socket.send_str("hello")
        assert (await message(socket))["code"] == "60012"


async def test_only_spot_is_listed() -> None:
    """The other kinds have no instruments; a suspended one stays in the list."""
    async with Simulator(["okx"], symbols={"okx": ["BTC/USDT", "ETH/USDT"]}) as simulator:
        simulator.list("okx", "ETH/USDT", listed=False)
        path = "www.okx.com/api/v5/public/instruments?instType="
        spot: Any = await get(simulator, path + "SPOT")
        swap: Any = await get(simulator, path + "SWAP")
    assert [(one["instId"], one["state"]) for one in spot["data"]] == [(BTC, "live"), ("ETH-USDT", "suspend")]
    assert swap["data"] == []
