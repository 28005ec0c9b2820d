from __future__ import annotations

import msgspec

from daedalus.records import Ticker, Trade
from daedalus_collector import stored
from daedalus_collector.outbox import ClosedBatch, Outbox, OutboxLimits

LIMITS = OutboxLimits(batch_records=10, batch_bytes=10_000, linger_ns=1, records=10_000, bytes=1_000_000)


def batches(boot: str, first: int, records: int) -> list[ClosedBatch]:
    """Trades of one symbol and a ticker of another, numbered by when they were received."""
    box = Outbox("kraken", "one", boot, LIMITS)
    line, other = box.line("trade", "BTC/USD"), box.line("ticker", "ETH/USD")
    for number in range(first, first + records):
        box.add(line, Trade(number, None, str(number), 1.0, 1.0, None))
    box.add(other, Ticker(first, None, *[None] * 11))
    box.close_all()
    return list(box.closed)


def test_a_spill_continues_the_tail_of_the_stream() -> None:
    """The end of the run is that of the spill, by subject; trades stand in order, the last ones of them."""
    spilled = stored.spilled([*batches("b0", 100, 30), *batches("b1", 200, 30)])
    assert set(spilled) == {"md.0.kraken.trade", "md.0.kraken.ticker"}
    tail = stored.spilled(batches("b0", 0, 20))["md.0.kraken.trade"]
    tail.note_later(spilled["md.0.kraken.trade"])
    assert tail.complete_until_ns("BTC/USD", []) == tail.last_received_ns == 229
    assert tail.oldest_ns == 9
    assert tail.runs == {"one.b0": 129, "one.b1": 229}
    numbers = [*range(20), *range(100, 130), *range(200, 230)]
    assert [trade.received_ns for trade in tail.trades["BTC/USD"]] == numbers
    assert [trade.id for trade in tail.trades["BTC/USD"]] == [str(number) for number in numbers]
    assert spilled["md.0.kraken.ticker"].complete_until_ns("ETH/USD", []) == 200
    assert spilled["md.0.kraken.ticker"].runs == {"one.b0": 100, "one.b1": 200}


def test_a_long_spill_keeps_the_last_trades_only() -> None:
    """As many as are remembered anyway."""
    tail = stored.spilled(batches("b0", 0, stored.SPILLED_TRADES + 50))["md.0.kraken.trade"]
    assert (len(tail.trades["BTC/USD"]), tail.trades["BTC/USD"][0].id) == (stored.SPILLED_TRADES, "50")


def test_what_cannot_be_read_is_passed_over() -> None:
    """A batch of a version that this one does not know: what is around it counts."""
    good = batches("b0", 0, 5)
    bad = msgspec.structs.replace(good[0], message=b"\xc1")
    assert stored.spilled([bad, *good])["md.0.kraken.trade"].last_received_ns == 4
