"""What several collectors recorded becomes one series."""

from __future__ import annotations

import random

import msgspec
import pytest

from daedalus import wire
from daedalus.records import Record, Trade
from daedalus_writer import merging
from daedalus_writer.merging import Merger
from support.batches import orderbook, ticker, trade

SERIES = ("kraken", "trade", "BTC/USD")


def encoded(records: list[Record]) -> bytes:
    buffer = bytearray()
    for record in records:
        wire.append_record(buffer, record)
    return bytes(buffer)


def take(merger: Merger, channel: str, instance: str, records: list[Record]) -> list[Record]:
    merged, kept = merger.merged(("kraken", channel, "BTC/USD"), instance, encoded(records), records)
    return wire.decode_records(channel, wire.array(kept, merged))


@pytest.mark.parametrize("seed", range(20))
def test_every_trade_of_two_collectors_is_kept_once(seed: int) -> None:
    """Whatever the parts, the lag and who is missing what: the union of the ids, each once."""
    chance, merger = random.Random(seed), Merger()
    sent = {
        name: [trade(number, 10**9 * number + lag) for number in range(400) if chance.random() > 0.1]
        for name, lag in (("a", 0), ("b", 3))
    }
    union = {record.id for records in sent.values() for record in records}
    got: list[Record] = []
    while any(sent.values()):
        name = chance.choice([name for name, records in sent.items() if records])
        size = chance.randint(1, 30)
        got += take(merger, "trade", name, sent[name][:size])  # type: ignore[arg-type]
        del sent[name][:size]
    ids = [record.id for record in got if isinstance(record, Trade)]
    assert len(ids) == len(set(ids))
    assert set(ids) == union


def test_one_collector_is_not_looked_at() -> None:
    """What a single collector sent is passed on as the same object, repeats and all."""
    merger = Merger()
    records: list[Record] = [trade(1, 5), trade(1, 6)]
    for _ in range(3):
        received = encoded(records)
        merged, kept = merger.merged(SERIES, "a", received, records)
        assert merged is received
        assert kept == 2


@pytest.mark.parametrize(("channel", "make"), [("ticker", ticker), ("orderbook", orderbook)])
def test_states_of_two_collectors_are_kept_once(channel: str, make: object) -> None:
    """The same quote or book, received at another moment by another collector, is one row; a collector's own repeat stays."""
    assert callable(make)
    merger = Merger()
    one, again = make(1, 1_000_000), make(1, 1_000_000)
    fields = {"received_ns": 1_500_000} | ({"nonce": 77} if channel == "orderbook" else {})
    other = msgspec.structs.replace(make(1, 1_000_000), **fields)
    assert take(merger, channel, "a", [one, again]) == [one, again]
    assert take(merger, channel, "b", [other, make(2, 1_600_000)]) == [make(2, 1_600_000)]
    assert take(merger, channel, "a", [again]) == [again]


def test_a_state_that_comes_back_later_is_a_row() -> None:
    """After a minute an equal quote of another collector is another event."""
    merger = Merger()
    late = msgspec.structs.replace(ticker(1, 0), received_ns=merging.SAME_STATE_NS + 1)
    assert take(merger, "ticker", "a", [ticker(1, 0)]) == [ticker(1, 0)]
    assert take(merger, "ticker", "b", [late]) == [late]


def test_trades_without_id_and_gaps_are_kept() -> None:
    """What has no identity cannot be the same."""
    merger = Merger()
    nameless = Trade(1, None, None, 1.0, 1.0, None)
    assert take(merger, "trade", "a", [nameless]) == [nameless]
    assert take(merger, "trade", "b", [nameless]) == [nameless]


def test_memory_is_bounded() -> None:
    """With one collector by bytes, with several by records; and it is one's again after ten minutes."""
    merger = Merger()
    for number in range(5_000):
        take(merger, "trade", "a", [trade(number, number)])
    memory = merger._memories[SERIES]  # what is bounded
    assert memory.kept_bytes <= merging.KEPT_BYTES["trade"]
    for number in range(5_000, 12_000):
        take(merger, "trade", "ab"[number % 2], [trade(number, number)])
    assert memory.seen is not None
    assert len(memory.seen) == merging.MOST_TRADES
    take(merger, "trade", "b", [trade(20_000, merging.ALONE_NS * 2)])
    take(merger, "trade", "b", [trade(20_001, merging.ALONE_NS * 4)])
    assert memory.seen is None
