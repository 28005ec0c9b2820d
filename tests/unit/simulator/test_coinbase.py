"""Coinbase Advanced Trade on the wire."""

import asyncio
import itertools

import aiohttp
import pytest

from simulator import Rates, Simulator
from simulator import coinbase as coinbase_module
from unit.simulator.wire import COINBASE, Message, message, messages, opened, rest, subscribed_coinbase

STILL = Rates(0, 0, 0)
QUICK = Rates(40, 40, 40)


def _applied(book: dict[tuple[str, str], str], update: Message) -> None:
    for change in update["events"][0]["updates"]:
        book.pop((change["side"], change["price_level"]), None)
        if float(change["new_quantity"]):
            book[change["side"], change["price_level"]] = change["new_quantity"]


async def test_sequence_numbers_count_every_message_of_a_connection_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots, acknowledgements, heartbeats and data share one sequence without a gap."""
    monkeypatch.setattr(coinbase_module, "HEARTBEAT_NS", 100_000_000)
    async with Simulator(["coinbase"], rates=QUICK) as simulator, opened(simulator, COINBASE) as socket:
        seen: list[Message] = []
        for channel in ("heartbeats", "market_trades", "ticker", "level2"):
            seen += await subscribed_coinbase(socket, channel, "BTC-USD", "ETH-USD")
        while "heartbeats" not in {entry["channel"] for entry in seen}:
            seen.append(await message(socket))
    assert [entry["sequence_num"] for entry in seen] == list(range(len(seen)))
    assert {"subscriptions", "heartbeats", "market_trades", "ticker", "l2_data"} == {entry["channel"] for entry in seen}


async def test_heartbeats_come_at_their_interval_with_a_counter_even_while_paused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The counter rises by one, the market stands still. The interval of one second is shortened here."""
    assert coinbase_module.HEARTBEAT_NS == 1_000_000_000
    monkeypatch.setattr(coinbase_module, "HEARTBEAT_NS", 300_000_000)
    async with Simulator(["coinbase"], paused=True) as simulator, opened(simulator, COINBASE) as socket:
        await subscribed_coinbase(socket, "market_trades", "BTC-USD")
        await subscribed_coinbase(socket, "heartbeats")
        began = asyncio.get_running_loop().time()
        beats = await messages(socket, 2)
        assert asyncio.get_running_loop().time() - began > 0.5
    assert [beat["events"][0]["heartbeat_counter"] for beat in beats] == [1, 2]


async def test_trades_come_newest_first_after_a_snapshot_of_the_latest() -> None:
    """Ids are dense over snapshot and updates, and the counts say how many distinct ones were written."""
    async with Simulator(["coinbase"], rates=STILL) as simulator, opened(simulator, COINBASE) as socket:
        snapshot, _ = await subscribed_coinbase(socket, "market_trades", "BTC-USD")
        await simulator.burst("coinbase", "trade", 500)
        events = [snapshot["events"][0], *(entry["events"][0] for entry in await messages(socket, 500))]
        assert not await rest(socket)
    assert [event["type"] for event in events] == ["snapshot"] + ["update"] * 500
    assert any(len(event["trades"]) > 1 for event in events[1:])
    ids = [int(trade["trade_id"]) for event in events for trade in reversed(event["trades"])]
    assert all(after == before + 1 for before, after in itertools.pairwise(ids))
    count = simulator.count("coinbase", "trade", "BTC/USD")
    assert (count.frames, count.records, count.repeats) == (501, len(ids), 0)


async def test_a_book_rebuilt_from_snapshot_and_updates_is_the_market_s() -> None:
    """After a burst it equals the snapshot that the next subscriber gets; one record for each state."""
    async with Simulator(["coinbase"], rates=STILL) as simulator, opened(simulator, COINBASE) as socket:
        book: dict[tuple[str, str], str] = {}
        snapshot, _ = await subscribed_coinbase(socket, "level2", "BTC-USD")
        assert snapshot["channel"] == "l2_data"
        _applied(book, snapshot)
        await simulator.burst("coinbase", "orderbook", 300, "BTC/USD")
        for update in await messages(socket, 300):
            assert update["events"][0]["type"] == "update"
            _applied(book, update)
        assert simulator.count("coinbase", "orderbook", "BTC/USD").records == 301
        async with opened(simulator, COINBASE) as other:
            fresh: dict[tuple[str, str], str] = {}
            _applied(fresh, (await subscribed_coinbase(other, "level2", "BTC-USD"))[0])
    assert book == fresh


async def test_a_wrong_subscribe_is_answered_with_an_error_and_the_connection_lives() -> None:
    """Unknown channels, products, types and texts that are not JSON, none of which takes a sequence number."""
    wrong = (
        '{"type":"subscribe","channels":["level2"],"product_ids":["BTC-USD"]}',
        '{"type":"subscribe","channel":"level2","product_ids":["NO-SUCH"]}',
        '{"type":"subscribe","channel":"level2"}',
        '{"type":"hello","channel":"level2"}',
        "{not json",
    )
    async with Simulator(["coinbase"], rates=STILL) as simulator, opened(simulator, COINBASE) as socket:
        for text in wrong:
            await socket.send_str(text)
            answer = await message(socket)
            assert answer["type"] == "error"
            assert answer["message"]
            assert "sequence_num" not in answer
        assert (await subscribed_coinbase(socket, "ticker", "BTC-USD"))[0]["sequence_num"] == 0


async def test_unsubscribing_ends_the_data_and_the_answer_lists_what_is_left() -> None:
    """Other channels of the connection go on."""
    async with Simulator(["coinbase"], rates=STILL) as simulator, opened(simulator, COINBASE) as socket:
        for channel in ("ticker", "level2"):
            await subscribed_coinbase(socket, channel, "BTC-USD")
        await socket.send_json({"type": "unsubscribe", "channel": "level2", "product_ids": ["BTC-USD"]})
        assert (await message(socket))["events"] == [{"subscriptions": {"ticker": ["BTC-USD"]}}]
        await simulator.burst("coinbase", "orderbook", 5, "BTC/USD")
        await simulator.burst("coinbase", "ticker", 1)
        assert [entry["channel"] for entry in await rest(socket)] == ["ticker"]
        assert simulator.counts().subscriptions["coinbase"] == {"ticker": ["BTC/USD"]}


async def test_a_client_that_does_not_subscribe_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """After five seconds, here shortened."""
    monkeypatch.setattr(coinbase_module, "SUBSCRIBE_DEADLINE_NS", 100_000_000)
    monkeypatch.setattr(coinbase_module, "HEARTBEAT_NS", 300_000_000)
    async with (
        Simulator(["coinbase"]) as simulator,
        opened(simulator, COINBASE) as silent,
        opened(simulator, COINBASE) as subscribed,
    ):
        await subscribed_coinbase(subscribed, "heartbeats")
        assert (await silent.receive(timeout=2)).type is aiohttp.WSMsgType.CLOSE
        assert (await message(subscribed))["channel"] == "heartbeats"


async def test_a_reconnect_repeats_known_trades_in_its_snapshot() -> None:
    """They count as repeats, what happened in between counts as records for the first time."""
    async with Simulator(["coinbase"], rates=STILL) as simulator:
        async with opened(simulator, COINBASE) as socket:
            await subscribed_coinbase(socket, "market_trades", "BTC-USD")
            await simulator.burst("coinbase", "trade", 10)
        first = simulator.count("coinbase", "trade", "BTC/USD")
        while simulator.counts().connections["coinbase"].open:
            await asyncio.sleep(0.01)
        await simulator.burst("coinbase", "trade", 3, "BTC/USD")
        assert simulator.count("coinbase", "trade", "BTC/USD") == first
        async with opened(simulator, COINBASE) as socket:
            snapshot = (await subscribed_coinbase(socket, "market_trades", "BTC-USD"))[0]
    second = simulator.count("coinbase", "trade", "BTC/USD")
    shown = len(snapshot["events"][0]["trades"])
    assert second.records - first.records >= 3
    assert second.repeats == shown - (second.records - first.records)
