"""What a Coinbase session makes of its connection's messages."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from daedalus.records import OrderBook, Trade
from daedalus_collector.feed import Pair
from daedalus_collector.native.session import SequenceError
from support.handlers import Kept, ThroughNative

BTC = Pair("orderbook", "BTC/USD")


def session(pairs: list[Pair] | None = None) -> tuple[ThroughNative, Kept]:
    kept = Kept()
    made = ThroughNative("coinbase", kept, pairs=pairs)
    made.clock_ns = iter(range(1_000, 10_000)).__next__
    return made, kept


def frame(channel: str, number: int | None, *events: dict[str, Any], **more: Any) -> bytes:
    message = {"channel": channel, "timestamp": "2026-08-12T19:27:48.098Z", "events": events} | more
    return msgspec.json.encode(message if number is None else message | {"sequence_num": number})


def book(kind: str, *updates: tuple[str, str, str], product: str = "BTC-USD") -> dict[str, Any]:
    changes = [{"side": side, "price_level": price, "new_quantity": amount} for side, price, amount in updates]
    return {"type": kind, "product_id": product, "updates": changes}


def trade(number: int, product: str = "BTC-USD") -> dict[str, Any]:
    said = {"trade_id": str(number), "product_id": product, "price": "1.5", "size": "2", "side": "SELL"}
    return {"type": "update", "trades": [said | {"time": "2026-08-12T19:27:48.298771Z"}]}


def test_requests_have_one_channel_each_and_heartbeats_first() -> None:
    """Without heartbeats most channels are closed after 60 to 90 s without data."""
    made, _ = session()
    sent = [msgspec.json.decode(request.message) for request in made.session.requests]
    assert [message["channel"] for message in sent] == ["heartbeats", "market_trades", "ticker", "level2"]
    assert [message.get("product_ids") for message in sent] == [None, ["BTC-USD"], ["BTC-USD"], ["BTC-USD"]]


def test_a_jump_of_the_sequence_ends_the_connection() -> None:
    """Whatever the message: acknowledgements and heartbeats count, errors do not."""
    made, _ = session()
    made.take(frame("market_trades", 0, trade(1)))
    made.take(frame("subscriptions", 1))
    made.take(msgspec.json.encode({"type": "error", "message": "too many"}))
    made.take(frame("heartbeats", 2, {"heartbeat_counter": "3049"}))
    with pytest.raises(SequenceError, match="expected message 3, was 4"):
        made.take(frame("market_trades", 4, trade(2)))


def test_trades_stand_oldest_first() -> None:
    """On the wire the newest is first. Times are cut to milliseconds, as ccxt cuts them."""
    made, kept = session()
    event = {"type": "update", "trades": [trade(2)["trades"][0], trade(1)["trades"][0]]}
    made.take(frame("market_trades", 0, event, trade(3)))
    trades = kept.records[Pair("trade", "BTC/USD")]
    assert trades[0] == Trade(1_000, 1786562868298000, "1", 1.5, 2.0, "sell")
    assert [trade.id for trade in trades if isinstance(trade, Trade)] == ["1", "2", "3"]


def test_usdc_products_are_answered_as_usd() -> None:
    """Who asked for BTC/USDC gets it, unless BTC/USD was asked for as well."""
    made, kept = session([Pair("trade", "BTC/USDC")])
    made.take(frame("market_trades", 0, trade(1)))
    assert list(kept.records) == [Pair("trade", "BTC/USDC")]
    made, kept = session([Pair("trade", "BTC/USDC"), Pair("trade", "BTC/USD")])
    made.take(frame("market_trades", 0, trade(1), trade(2, "BTC-USDC")))
    assert list(kept.records) == [Pair("trade", "BTC/USD"), Pair("trade", "BTC/USDC")]


def test_a_crossed_book_is_subscribed_anew() -> None:
    """It is a gap of that book from its last good state, and nothing of it is recorded until its new snapshot."""
    made, kept = session()
    made.take(frame("l2_data", 0, book("snapshot", ("bid", "1", "1"), ("offer", "2", "1"))))
    made.take(frame("l2_data", 1, book("update", ("bid", "2.5", "1"))))
    assert made.link.lost_pairs == [(BTC, 1_000, "crossed_book", "the book is crossed; it is subscribed anew")]
    sent = [msgspec.json.decode(request.message) for request, _ in made.link.sent]
    assert [(message["type"], message["product_ids"]) for message in sent] == [
        ("unsubscribe", ["BTC-USD"]),
        ("subscribe", ["BTC-USD"]),
    ]
    assert all(after > 0 for _, after in made.link.sent)
    made.take(frame("l2_data", 2, book("update", ("offer", "2", "0"))))
    assert len(kept.records[BTC]) == 1
    made.take(frame("l2_data", 3, book("snapshot", ("bid", "3", "1"), ("offer", "4", "1"))))
    state = kept.records[BTC][1]
    assert isinstance(state, OrderBook)
    assert len(state.bid_prices) == len(state.ask_prices) == 8, "nothing is left of the old book"
    assert len(made.session.requests) == 6
    for request, _ in made.link.sent:
        made.session.sent(request)
    for number in range(4, 10):
        made.take(frame("subscriptions", number))
    assert len(made.session.requests) == 4, "what was sent to mend a book is forgotten"


def test_an_error_is_the_problem_of_the_oldest_request() -> None:
    """Coinbase does not say which it answers; with none open it is nobody's."""
    made, _ = session()
    heartbeats, trades, *_ = made.session.requests
    made.take(frame("subscriptions", 0))
    assert heartbeats.state == "active"
    made.take(msgspec.json.encode({"type": "error", "message": "rate limit exceeded"}))
    assert made.link.refusals == [(trades, "rate limit exceeded")]
    made.take(frame("subscriptions", 1))
    made.take(frame("subscriptions", 2))
    made.take(msgspec.json.encode({"type": "error", "message": "again"}))
    assert made.link.refusals[1] == (None, "again")


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"channel":"l2_data","events":[{"updates":[{"side":"bid"}]}]}'])
def test_a_frame_that_cannot_be_read_is_an_error(text: bytes) -> None:
    """Cut off, of another shape, or without a field that is recorded."""
    made, kept = session()
    with pytest.raises(msgspec.MsgspecError):
        made.take(text)
    assert kept.records == {}


def test_skimmed_messages_are_still_followed() -> None:
    """Where frames are only recorded: the sequence is checked and answers are read, data are not; a heartbeat is none."""
    made, kept = session()
    skim = made.session.skim
    assert skim(frame("market_trades", 0, {"type": "update", "trades": "unreadable"}), 1)
    assert not skim(frame("subscriptions", 1), 2)
    assert made.session.requests[0].state == "active"
    assert not skim(frame("heartbeats", 2, {"heartbeat_counter": "3049"}), 3)
    with pytest.raises(SequenceError, match="expected message 3, was 4"):
        skim(frame("l2_data", 4), 4)
    assert kept.records == {}
