from __future__ import annotations

import pytest

from daedalus import wire
from daedalus.naming import shard_of
from daedalus.records import Gap, Record, Trade
from daedalus_collector.outbox import RESERVED_RECORDS, ClosedBatch, Outbox, OutboxLimits

HOUR = wire.NS_PER_HOUR
LINGER = 500_000_000
LIMITS = OutboxLimits(batch_records=10, batch_bytes=10_000, linger_ns=LINGER, records=100, bytes=1_000_000)


def outbox(limits: OutboxLimits = LIMITS, *, shards: int = 1, subject_by_symbol: bool = False) -> Outbox:
    return Outbox("kraken", "one", "b0", limits, shards=shards, subject_by_symbol=subject_by_symbol)


def trade(received_ns: int, id_: str = "1") -> Trade:
    return Trade(received_ns, 1_000, id_, 1.5, 2.5, "buy")


def opened(batch: ClosedBatch) -> dict[str, list[Record]]:
    message = wire.decode(batch.message)
    return {part.symbol: wire.decode_records(message.channel, part.records) for part in message.parts}


def test_symbols_share_a_batch_and_come_back_as_they_were() -> None:
    """Each symbol's records stand together, in order, with the market id and the batch's identity."""
    box = outbox()
    btc, eth = box.line("trade", "BTC/USD", "XBT/USD"), box.line("trade", "ETH/USD", "ETH/USD")
    for number in range(3):
        assert box.add(btc, trade(number, f"b{number}"))
        assert box.add(eth, trade(number, f"e{number}"))
    box.close_all()
    batch = box.closed.popleft()
    assert (batch.subject, batch.message_id, batch.records) == ("md.0.kraken.trade", "one.b0.0", 6)
    assert opened(batch) == {
        "BTC/USD": [trade(number, f"b{number}") for number in range(3)],
        "ETH/USD": [trade(number, f"e{number}") for number in range(3)],
    }
    message = wire.decode(batch.message)
    assert [part.market_id for part in message.parts] == ["XBT/USD", "ETH/USD"]
    assert (message.exchange, message.instance, message.boot, message.counter) == ("kraken", "one", "b0", 0)


def test_a_batch_closes_when_it_has_enough_records() -> None:
    """At ten records the eleventh begins the next one; the numbers have no holes."""
    box = outbox()
    line = box.line("trade", "BTC/USD")
    for number in range(25):
        box.add(line, trade(number))
    assert [batch.records for batch in box.closed] == [10, 10]
    box.close_all()
    assert [batch.counter for batch in box.closed] == [0, 1, 2]


def test_a_batch_closes_before_it_has_too_many_bytes() -> None:
    """No message is larger than the bound, so that JetStream takes it; a single record always travels."""
    limits = OutboxLimits(batch_records=1_000, batch_bytes=300, linger_ns=LINGER, records=10_000, bytes=1_000_000)
    box = outbox(limits)
    line, other = box.line("trade", "BTC/USD"), box.line("trade", "ETH/USD")
    for number in range(100):
        box.add(line if number % 2 else other, trade(number, f"{number:020}"))
    box.add(line, trade(100, "x" * 2_000))
    box.add(line, trade(101, "after"))
    box.close_all()
    sizes = [batch.size_bytes for batch in box.closed]
    assert sorted(sizes)[-2] <= 300 < max(sizes)
    told = [record for batch in box.closed for records in opened(batch).values() for record in records]
    assert sorted(record.received_ns for record in told) == list(range(102))


def test_a_batch_closes_after_its_linger() -> None:
    """Not a nanosecond before, and at once when the clock was set back."""
    box = outbox()
    line = box.line("trade", "BTC/USD")
    box.add(line, trade(1_000_000_000))
    assert box.next_due_ns() == 1_000_000_000 + LINGER
    box.close_due(1_000_000_000 + LINGER - 1)
    assert not box.closed
    box.close_due(1_000_000_000 + LINGER)
    assert len(box.closed) == 1
    assert box.next_due_ns() is None
    box.add(line, trade(2_000_000_000))
    box.close_due(0)
    assert len(box.closed) == 2


def test_a_batch_never_crosses_an_hour() -> None:
    """A record of the next hour closes the batch, of the same symbol and of others."""
    box = outbox()
    btc, eth = box.line("trade", "BTC/USD"), box.line("trade", "ETH/USD")
    box.add(btc, trade(5 * HOUR - 2))
    box.add(eth, trade(5 * HOUR - 1))
    box.add(eth, trade(5 * HOUR))
    box.add(btc, trade(5 * HOUR + 1))
    box.close_all()
    assert [wire.decode(batch.message).hour for batch in box.closed] == [4, 5]
    for batch in box.closed:
        hour = wire.decode(batch.message).hour
        assert all(record.received_ns // HOUR == hour for records in opened(batch).values() for record in records)


@pytest.mark.parametrize("bound", ["records", "bytes"])
def test_a_full_outbox_refuses_until_something_is_acknowledged(bound: str) -> None:
    """What counts is what JetStream has not acknowledged, closed or not, sent or not."""
    size = len(_encoded(trade(0)))
    limits = OutboxLimits(
        batch_records=10,
        batch_bytes=10_000,
        linger_ns=LINGER,
        records=20 if bound == "records" else 10_000,
        bytes=20 * size if bound == "bytes" else 1_000_000,
    )
    box = outbox(limits)
    line = box.line("trade", "BTC/USD")
    assert [box.add(line, trade(0)) for _ in range(25)] == [True] * 20 + [False] * 5
    first = box.closed.popleft()
    assert not box.add(line, trade(0)), "taken out is not acknowledged"
    box.acknowledged(first)
    assert [box.add(line, trade(0)) for _ in range(11)] == [True] * 10 + [False]
    for batch in box.closed:
        box.acknowledged(batch)
    assert (box.records, box.bytes) == (0, 0)


def test_gap_records_have_room_of_their_own() -> None:
    """A full outbox still takes the record that says so, and its room is bounded too."""
    box = outbox()
    line, gaps = box.line("trade", "BTC/USD"), box.line("gap", "BTC/USD")
    while box.add(line, trade(0)):
        pass
    gap = Gap(0, "trade", "outbox_full", 0, 1, 1, "")
    assert sum(box.add(gaps, gap) for _ in range(RESERVED_RECORDS + 50)) == RESERVED_RECORDS
    box.close_all()
    assert {batch.subject for batch in box.closed} == {"md.0.kraken.trade", "md.0.kraken.gap"}


def test_each_symbol_can_have_its_own_subject() -> None:
    """With subject_by_symbol nothing is mixed."""
    box = outbox(subject_by_symbol=True)
    for symbol in ("BTC/USD", "ETH/USD"):
        box.add(box.line("trade", symbol), trade(0))
    box.close_all()
    assert [batch.subject for batch in box.closed] == ["md.0.kraken.trade.BTC-USD", "md.0.kraken.trade.ETH-USD"]
    assert [list(opened(batch)) for batch in box.closed] == [["BTC/USD"], ["ETH/USD"]]


def test_a_symbol_goes_to_its_shard() -> None:
    """All its channels and its gaps as well."""
    box = outbox(shards=4)
    for symbol in ("BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD"):
        for channel in ("trade", "ticker", "orderbook", "gap"):
            shard = shard_of("kraken", symbol, 4)
            assert box.line(channel, symbol).subject == f"md.{shard}.kraken.{channel}"


def test_the_publisher_is_told_when_a_batch_begins_and_ends() -> None:
    """It sleeps until there is something to do."""
    told: list[int] = []
    box = outbox()
    box.on_change = lambda: told.append(len(box.closed))
    line = box.line("trade", "BTC/USD")
    box.add(line, trade(0))
    assert told == [0]
    for _ in range(9):
        box.add(line, trade(0))
    assert told == [0, 1]


def _encoded(record: Record) -> bytearray:
    buffer = bytearray()
    wire.append_record(buffer, record)
    return buffer


def test_a_crowded_outbox_says_so_with_each_record() -> None:
    """From the half of either bound on, though no batch begins or closes, until room was made."""
    limits = OutboxLimits(batch_records=100, batch_bytes=10_000, linger_ns=LINGER, records=10, bytes=1_000_000)
    box = outbox(limits)
    told: list[int] = []
    box.on_change = lambda: told.append(box.records)
    line = box.line("trade", "BTC/USD")
    for _ in range(12):
        box.add(line, trade(0))
    assert told == [0, 5, 6, 7, 8, 9, 10, 10]
    assert box.crowded
    box.close_all()
    box.acknowledged(box.closed.popleft())
    assert not box.crowded


def test_a_record_that_was_received_earlier_counts_as_older() -> None:
    """Connections are read one after another, so a batch may begin with the younger one."""
    box = outbox()
    box.add(box.line("trade", "BTC/USD"), trade(7))
    box.add(box.line("trade", "ETH/USD"), trade(5))
    assert box.oldest_ns() == 5


def test_the_oldest_record_counts_wherever_it_waits() -> None:
    """A batch that closed later may hold an older record."""
    box = outbox(subject_by_symbol=True)
    slow, busy = box.line("trade", "BTC/USD"), box.line("trade", "ETH/USD")
    box.add(slow, trade(5))
    for _ in range(10):
        box.add(busy, trade(7))
    assert box.oldest_ns() == 5
    box.close_all()
    assert [batch.opened_ns for batch in box.closed] == [7, 5]
    assert box.oldest_ns() == 5
