"""The batch format."""

from __future__ import annotations

import msgspec
import pytest

from daedalus import wire
from daedalus.records import CHANNELS, Gap, OrderBook, Record, Ticker, Trade, levels

TRADE = Trade(1, None, "a", 60000.01, 0.1 + 0.2, "buy")
TICKER = Ticker(2, 5, 1.0, None, None, 2.0, 3.0, None, None, None, None, None, 1e-9)
BOOK = OrderBook(3, None, 7, *levels([[2.0, 1.0], [1.0, 5.0]], 20), *levels([], 20))
GAP = Gap(4, "trade", "connection_lost", 1, 4, None, "why")


def batch(channel: str, *records: Record) -> wire.Batch:
    buffer = bytearray()
    for record in records:
        wire.append_record(buffer, record)
    return wire.Batch(
        wire.VERSION, "kraken", channel, 5, "i", "b", 9, [wire.part("BTC/USD", "XBT/USD", len(records), buffer)]
    )


@pytest.mark.parametrize(
    ("channel", "record"), [("trade", TRADE), ("ticker", TICKER), ("orderbook", BOOK), ("gap", GAP)]
)
def test_round_trip(channel: str, record: Record) -> None:
    """A batch comes back as it was, to the last bit of every number."""
    sent = batch(channel, record, record)
    read = wire.decode(wire.encode(sent))
    assert read.message_id == "i.b.9"
    assert (read.parts[0].symbol, read.parts[0].market_id, read.parts[0].count) == ("BTC/USD", "XBT/USD", 2)
    assert wire.decode_records(channel, read.parts[0].records) == [record, record]


def test_any_messagepack_reader_reads_a_batch() -> None:
    """A batch is plain MessagePack: a reader that knows nothing of us sees the records."""
    version, exchange, *_, parts = msgspec.msgpack.decode(wire.encode(batch("trade", TRADE)))
    assert (version, exchange) == (1, "kraken")
    assert parts == [["BTC/USD", "XBT/USD", 1, [[1, None, "a", 60000.01, 0.1 + 0.2, "buy", None]], 0]]


def test_a_part_of_an_older_version_is_read() -> None:
    """It is shorter, and no gap waits."""
    version, *rest, parts = msgspec.msgpack.decode(wire.encode(batch("trade", TRADE)))
    older = wire.decode(msgspec.msgpack.encode([version, *rest, [part[:4] for part in parts]]))
    assert older.parts[0].gap_ns == 0
    assert wire.decode_records("trade", older.parts[0].records) == [TRADE]


def test_a_trade_of_an_older_version_is_read() -> None:
    """It is shorter: what it does not have is None. And an older reader passes over what is new."""
    older = msgspec.msgpack.encode([[1, None, "a", 60000.01, 0.1 + 0.2, "buy"]])
    assert wire.decode_records("trade", older) == [TRADE]
    newer = msgspec.msgpack.encode([[1, None, "a", 60000.01, 0.1 + 0.2, "buy", "backfill", "unknown"]])
    assert wire.decode_records("trade", newer) == [msgspec.structs.replace(TRADE, source="backfill")]


@pytest.mark.parametrize("count", [0, 3, 15, 16, 70_000])
def test_bodies_of_every_array_header(count: int) -> None:
    """Records can be put together without decoding them, however another encoder wrote the array's header."""
    encoded = msgspec.msgpack.encode([7] * count)
    assert bytes(wire.bodies(encoded)) == b"\x07" * count
    assert msgspec.msgpack.decode(wire.array(count, bytes(wire.bodies(encoded)))) == [7] * count


@pytest.mark.parametrize(
    "message",
    [b"", b"\xff", b"hello", msgspec.msgpack.encode([1, 2]), wire.encode(batch("trade", TRADE))[:-3]],
)
def test_message_that_is_no_batch(message: bytes) -> None:
    """What is no batch is refused with one error."""
    with pytest.raises(wire.WireError):
        wire.decode(message)


def test_other_version_and_channel_are_refused() -> None:
    """A batch of a later version, or of a channel that is not known, is refused, and the error says what was expected."""
    with pytest.raises(wire.WireError, match="expected version 1, found 2: update"):
        wire.decode(wire.encode(msgspec.structs.replace(batch("trade", TRADE), version=2)))
    with pytest.raises(wire.WireError, match="expected a channel of"):
        wire.decode(wire.encode(msgspec.structs.replace(batch("trade", TRADE), channel="candle")))


def test_records_of_another_channel_are_refused() -> None:
    """Records that are not of the channel are refused, not bent."""
    with pytest.raises(wire.WireError):
        wire.decode_records("trade", wire.decode(wire.encode(batch("ticker", TICKER))).parts[0].records)


def test_receive_time_comes_first() -> None:
    """Every record begins with its receive time: the writer counts on it."""
    assert {record.__struct_fields__[0] for record in CHANNELS.values()} == {"received_ns"}
