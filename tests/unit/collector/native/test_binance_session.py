"""What a Binance session makes of its connection's frames."""

from __future__ import annotations

import msgspec
import pytest

from daedalus.records import Funding, MarkPrice, OrderBook
from daedalus_collector.feed import Pair
from daedalus_collector.native.binance_frames import Snapshot
from support.handlers import Kept, ThroughNative

BOOK = Pair("orderbook", "BTC/USDT")
TRADE = b'{"e":"trade","E":2,"s":"BTCUSDT","t":7,"p":"1.5","q":"2.0","T":1,"m":true,"M":true}'


def session() -> tuple[ThroughNative, Kept]:
    kept = Kept()
    made = ThroughNative("binance", kept)
    made.clock_ns = iter(range(1_000, 10_000)).__next__
    return made, kept


def depth(first: int, last: int, bid: str = "1.0") -> bytes:
    return b'{"e":"depthUpdate","E":5,"s":"BTCUSDT","U":%d,"u":%d,"b":[["%s","1"]],"a":[]}' % (
        first,
        last,
        bid.encode(),
    )


def test_streams_are_subscribed_by_message() -> None:
    """All symbols of a channel in one, up to the configured batch size."""
    made, _ = session()
    sent = [msgspec.json.decode(request.message) for request in made.session.requests]
    assert [message["params"] for message in sent] == [["btcusdt@trade"], ["btcusdt@ticker"], ["btcusdt@depth@100ms"]]
    assert [message["id"] for message in sent] == [1, 2, 3]


def test_a_snapshot_is_wanted_when_the_stream_runs() -> None:
    """That is, when its subscription was accepted; once."""
    made, _ = session()
    made.take(b'{"result":null,"id":1}')
    assert made.snapshots.wanted == []
    made.take(b'{"result":null,"id":3}')
    made.take(depth(1, 2))
    assert [wanted.market for wanted in made.snapshots.wanted] == ["BTCUSDT"]


def test_a_broken_sequence_is_a_gap_of_that_book() -> None:
    """From its last good state; a new snapshot is wanted."""
    made, kept = session()
    made.take(b'{"result":null,"id":3}')
    first = made.snapshots.wanted[0]
    first.done = first.lay(Snapshot(10, [(1.0, 1.0)], [(2.0, 1.0)]), 500)
    made.take(depth(13, 14))
    assert [lost[:3] for lost in made.link.lost_pairs] == [(BOOK, 500, "sequence_gap")]
    assert len(made.snapshots.wanted) == 2
    made.take(depth(15, 16))
    assert len(made.link.lost_pairs) == 1
    assert not made.snapshots.wanted[1].lay(Snapshot(11, [], []), 600), "too old"
    assert made.snapshots.wanted[1].lay(Snapshot(13, [(1.0, 1.0)], [(2.0, 1.0)]), 700)
    assert len(kept.records[BOOK]) == 2


def test_a_snapshot_comes_after_the_frames_that_were_received_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames wait to be read in company, and its change is one of them."""
    made, kept = session()
    made.take(b'{"result":null,"id":3}')
    monkeypatch.setattr(made.link, "drain", lambda: made.take(depth(11, 12)))
    assert made.snapshots.wanted[0].lay(Snapshot(10, [(1.0, 1.0)], [(2.0, 1.0)]), 5_000)
    (state,) = kept.records[BOOK]
    assert isinstance(state, OrderBook)
    assert state.nonce == 12


def test_a_closed_session_wants_nothing() -> None:
    """An answer that comes later is not recorded."""
    made, _ = session()
    made.take(b'{"result":null,"id":3}')
    made.session.close()
    assert made.snapshots.wanted[0].cancelled


def test_an_error_is_the_problem_of_its_request() -> None:
    """Binance names it by its number; without one it is nobody's."""
    made, _ = session()
    made.take(b'{"error":{"code":2,"msg":"Invalid request"},"id":2}')
    made.take(b'{"error":{"code":3,"msg":"Too many"},"id":null}')
    assert made.link.refusals == [
        (made.session.requests[1], "Invalid request (code 2)"),
        (None, "Too many (code 3)"),
    ]


def test_other_events_are_passed_over() -> None:
    """Announcements such as serverShutdown, and streams that nobody subscribed."""
    made, kept = session()
    made.take(b'{"e":"serverShutdown","E":1770123456789}')
    made.take(TRADE.replace(b"BTCUSDT", b"ETHUSDT"))
    assert kept.records == {}
    assert made.link.discards == [("trade", "not_asked")]


@pytest.mark.parametrize("text", [b"{", b"{}", TRADE.replace(b'"p"', b'"x"'), TRADE.replace(b"1.5", b"one")])
def test_a_frame_that_cannot_be_read_is_an_error(text: bytes) -> None:
    """Cut off, empty, without a field that is recorded, with a word in place of a number."""
    made, kept = session()
    with pytest.raises((msgspec.MsgspecError, ValueError)):
        made.take(text)
    assert kept.records == {}


def test_skimmed_frames_are_not_decoded() -> None:
    """Where frames are only recorded: until all is answered what looks like an event is none of the answers, then nothing is
    looked at."""
    made, kept = session()
    skim = made.session.skim
    assert skim(b'{"e":"depthUpdate", cut off', 1)
    assert skim(b'{"u":5,"s":"BTCUSDT", cut off', 1)
    for number in (1, 2):
        assert not skim(b'{"result":null,"id":%d}' % number, 2)
    with pytest.raises(msgspec.DecodeError):
        skim(b"neither an event nor an answer", 3)
    assert not skim(b'{"result":null,"id":3}', 4)
    assert {request.state for request in made.session.requests} == {"active"}
    assert skim(b"anything", 5)
    assert kept.records == {}


def test_a_mark_price_tells_of_the_funding_rate_too() -> None:
    """Subscribed once for both; a dated future has an empty rate, so no record of it."""
    kept, symbol = Kept(), "BTC/USDT:USDT"
    made = ThroughNative("binanceusdm", kept, pairs=[Pair("markprice", symbol), Pair("funding", symbol)])
    (request,) = made.session.requests
    assert msgspec.json.decode(request.message)["params"] == ["btcusdt@markPrice@1s"]
    assert set(request.pairs) == {Pair("markprice", symbol), Pair("funding", symbol)}
    for rate, index in ((b"0.0001", b"2.5"), (b"", b"")):
        made.take(b'{"e":"markPriceUpdate","E":5,"s":"BTCUSDT","p":"1.5","i":"%s","r":"%s","T":9}' % (index, rate))
    assert [record.rate for record in kept.records[Pair("funding", symbol)] if isinstance(record, Funding)] == [0.0001]
    prices = [record for record in kept.records[Pair("markprice", symbol)] if isinstance(record, MarkPrice)]
    assert [price.index_price for price in prices] == [2.5, None]
