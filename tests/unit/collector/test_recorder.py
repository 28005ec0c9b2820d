from __future__ import annotations

from typing import Literal

from prometheus_client import CollectorRegistry

from daedalus import wire
from daedalus.records import Gap, RawFrame, Record, Ticker, Trade
from daedalus_collector.feed import RAW, Pair
from daedalus_collector.metrics import Metrics
from daedalus_collector.outbox import Outbox, OutboxLimits
from daedalus_collector.raw_frames import EARLIER_RUN
from daedalus_collector.recorder import Recorder

TRADES = Pair("trade", "BTC/USD")
TICKERS = Pair("ticker", "BTC/USD")


class Recording:
    """A recorder whose outbox has room for so many records, and what came out of it."""

    def __init__(self, room: int = 1_000, raw: Literal["none", "also", "only"] = "none") -> None:
        limits = OutboxLimits(batch_records=1_000, batch_bytes=60_000, linger_ns=1, records=room, bytes=1_000_000)
        self.outbox = Outbox("kraken", "one", "b0", limits)
        self.metrics = Metrics(CollectorRegistry(), "kraken")
        self.now_ns = 0
        self.recorder = Recorder([TRADES, TICKERS], self.outbox, self.metrics, lambda: self.now_ns, raw=raw)

    def records(self, channel: str) -> list[Record]:
        """Take everything out, as if it were acknowledged."""
        self.outbox.close_all()
        found: list[Record] = []
        kept = []
        while self.outbox.closed:
            batch = self.outbox.closed.popleft()
            if batch.channel == channel:
                message = wire.decode(batch.message)
                found += [record for part in message.parts for record in wire.decode_records(channel, part.records)]
                self.outbox.acknowledged(batch)
            else:
                kept.append(batch)
        self.outbox.closed.extend(kept)
        return found

    def gaps(self) -> list[Gap]:
        return [record for record in self.records("gap") if isinstance(record, Gap)]


def trade(received_ns: int, id_: str | None) -> Trade:
    return Trade(received_ns, None, id_, 1.0, 1.0, None)


def ticker(received_ns: int) -> Ticker:
    return Ticker(received_ns, None, 1.0, *[None] * 10)


def test_a_repeated_trade_is_recorded_once_and_counted() -> None:
    """By symbol and id; trades without an id always pass."""
    recording = Recording()
    for id_ in ("1", "2", "1", None, None):
        recording.recorder.record(TRADES, trade(0, id_))
    assert [record.id for record in recording.records("trade") if isinstance(record, Trade)] == ["1", "2", None, None]
    assert recording.metrics.discarded["trade", "duplicate"] == 1
    assert recording.metrics.received["trade"] == 5


def test_trades_of_an_earlier_run_are_known() -> None:
    """A snapshot after a restart does not double what the run before recorded."""
    recording = Recording()
    recording.recorder.know_trades("BTC/USD", [trade(0, "7"), trade(0, "8")])
    for id_ in ("7", "8", "9"):
        recording.recorder.record(TRADES, trade(0, id_))
    assert [record.id for record in recording.records("trade") if isinstance(record, Trade)] == ["9"]


def test_an_interruption_is_written_when_the_pair_is_good_again() -> None:
    """One gap record, at the first record after it, of that pair only; a repeated trade is a sign of life too."""
    recording = Recording()
    recording.recorder.record(TRADES, trade(10, "1"))
    recording.recorder.interrupted([TRADES, TICKERS], 10, "connection_lost", "code 1001")
    assert recording.gaps() == []
    recording.recorder.record(TRADES, trade(50, "1"))
    gaps = recording.gaps()
    assert [(gap.channel, gap.from_ns, gap.to_ns, gap.cause) for gap in gaps] == [("trade", 10, 50, "connection_lost")]
    recording.recorder.record(TRADES, trade(60, "2"))
    assert recording.gaps() == []
    recording.recorder.record(TICKERS, ticker(70))
    assert [(gap.channel, gap.to_ns) for gap in recording.gaps()] == [("ticker", 70)]
    assert recording.recorder.open_gaps == 0


def test_what_the_outbox_refuses_becomes_a_gap_with_its_number() -> None:
    """Counted while it is full, written when it takes records again; the refused trade may come again."""
    recording = Recording(room=3)
    for number in range(5):
        recording.recorder.record(TRADES, trade(number, str(number)))
    assert recording.gaps() == []
    assert recording.metrics.discarded["trade", "outbox_full"] == 2
    assert len(recording.records("trade")) == 3
    recording.now_ns = 100
    recording.recorder.record(TRADES, trade(9, "4"))
    gap = recording.gaps()[0]
    assert (gap.cause, gap.from_ns, gap.to_ns, gap.records, gap.received_ns) == ("outbox_full", 3, 4, 2, 100)
    assert [record.received_ns for record in recording.records("trade")] == [9]


def test_a_stop_writes_what_is_open() -> None:
    """After a stop no gap is only in memory."""
    recording = Recording()
    recording.recorder.interrupted([TRADES], 10, "connection_silent", "no data for 60 s")
    recording.now_ns = 90
    recording.recorder.stop()
    assert [(gap.from_ns, gap.to_ns) for gap in recording.gaps()] == [(10, 90)]


def test_market_ids_reach_the_messages() -> None:
    """The exchange's own name travels with the data and with the gaps."""
    recording = Recording()
    recording.recorder.know_markets({"BTC/USD": "XXBTZUSD"})
    recording.recorder.interrupted([TRADES], 1, "connection_lost", "")
    recording.recorder.record(TRADES, trade(2, "1"))
    recording.outbox.close_all()
    assert [wire.decode(batch.message).parts[0].market_id for batch in recording.outbox.closed] == ["XXBTZUSD"] * 2


def test_pairs_nobody_asked_for_have_no_gaps() -> None:
    """An exchange's connection may carry more than this collector records."""
    recording = Recording()
    recording.recorder.interrupted([Pair("trade", "DOGE/USD")], 10, "connection_lost", "")
    assert recording.recorder.open_gaps == 0


def frame(received_ns: int, connection: str, number: int = 0) -> RawFrame:
    return RawFrame(received_ns, connection, number, b"frame")


def test_frames_of_a_lost_connection_are_missing_until_its_successor_has_one() -> None:
    """Whatever comes on other connections meanwhile; each gap is of all symbols."""
    recording = Recording(raw="also")
    recorder = recording.recorder
    for connection in ("run.0.0", "run.1.0"):
        recorder.frame(frame(10, connection))
        recorder.frames_lost(connection, 10, "connection_lost", f"connection {connection}: gone")
    recorder.frame(frame(20, "run.0.1"))
    recorder.frame(frame(30, "run.0.1", 1))
    recorder.frame(frame(40, "run.1.1"))
    told = [(gap.channel, gap.cause, gap.from_ns, gap.to_ns, gap.detail[:18]) for gap in recording.gaps()]
    assert told == [
        ("raw", "connection_lost", 10, 20, "connection run.0.0"),
        ("raw", "connection_lost", 10, 40, "connection run.1.0"),
    ]
    assert len(recording.records("raw")) == 5


def test_a_lost_connection_that_has_no_successor_ends_its_gap() -> None:
    """When its feed ends; what is still open at a stop ends there."""
    recording = Recording(raw="only")
    for connection in ("run.0.0", "run.1.0"):
        recording.recorder.frames_lost(connection, 10, "connection_lost", connection)
    recording.now_ns = 50
    recording.recorder.frames_over(["run.0.0"])
    recording.now_ns = 60
    recording.recorder.stop()
    assert [(gap.from_ns, gap.to_ns) for gap in recording.gaps()] == [(10, 50), (10, 60)]


def test_where_only_frames_are_recorded_pairs_have_neither_records_nor_gaps() -> None:
    """Nothing would ever end such a gap; the frames have theirs."""
    recording = Recording(raw="only")
    recorder = recording.recorder
    recorder.admit([Pair("trade", "ETH/USD")])
    recorder.interrupted([TRADES, TICKERS], 5, "collector_down", "the collector was not running")
    recorder.frames_lost(EARLIER_RUN, 5, "collector_down", "the collector was not running")
    recorder.write_gap(TRADES, 1, 2, "collector_down", "")
    recorder.forget([TRADES])
    recorder.frame(frame(7, "run.0.0"))
    recorder.frames_over([EARLIER_RUN], 9)
    assert [(gap.channel, gap.from_ns, gap.to_ns) for gap in recording.gaps()] == [("raw", 5, 9)]
    assert not Recording(raw="also").recorder.is_open(RAW)
    assert not Recording().recorder.has_frames
