"""What ccxt's classes get wrong, and the corrections: frames as the exchanges send them, without a socket."""

from __future__ import annotations

from typing import Any

import pytest

from daedalus_collector import loader
from daedalus_collector.corrected import corrected


class Client:
    """A connection that nobody is on."""

    url = "wss://ws-feed.exchange.coinbase.com"

    def __init__(self) -> None:
        self.results: list[Any] = []

    def resolve(self, result: Any, _message_hash: str) -> None:
        self.results.append(result)


def changes(*times: int) -> list[dict[str, Any]]:
    return [{"timestamp": str(time // 10**6), "microtimestamp": str(time), "bids": [], "asks": []} for time in times]


@pytest.fixture
def bitstamp() -> Any:
    return corrected(loader.load("bitstamp"), "bitstamp")()


@pytest.mark.parametrize(("nonce", "index"), [(9, -1), (10, 1), (15, 1), (20, 2), (29, 2), (30, 3), (31, 3)], ids=str)
def test_changes_newer_than_bitstamps_snapshot_are_kept(bitstamp: Any, nonce: int, index: int) -> None:
    """Also when none has the very time of the snapshot; one from before the first change is too old."""
    assert bitstamp.get_cache_index({"nonce": nonce}, changes(10, 20, 30)) == index


def test_bitstamps_books_have_the_time_of_their_change(bitstamp: Any) -> None:
    """In milliseconds, not the second that is told beside it."""
    book = bitstamp.order_book()
    bitstamp.handle_book_delta(book, changes(1_641_343_695_572_693)[0])
    assert (book["timestamp"], book["nonce"]) == (1_641_343_695_572, 1_641_343_695_572_693)


def test_a_jump_of_coinbases_messages_ends_the_connection() -> None:
    """Whatever channel they are of, each counts; what came after the jump is not taken. What has no number counts not, and
    each connection counts for itself."""

    class Numbered(Client):
        def __init__(self) -> None:
            super().__init__()
            self.resets: list[str] = []
            self.taken: list[Any] = []

        def reset(self, error: Exception) -> None:
            self.resets.append(str(error))

    class Exchange:
        def handle_message(self, client: Numbered, message: dict[str, Any]) -> None:
            client.taken.append(message.get("sequence_num"))

    exchange = corrected(Exchange, "coinbase")()
    first, second = Numbered(), Numbered()
    for number in (0, 1, None, 2, 4):
        exchange.handle_message(first, {"channel": "heartbeats"} | ({} if number is None else {"sequence_num": number}))
    exchange.handle_message(second, {"channel": "l2_data", "sequence_num": 7})
    exchange.handle_message(second, {"channel": "ticker", "sequence_num": 8})
    assert (first.taken, first.resets) == ([0, 1, None, 2], ["expected message 3, was 4"])
    assert (second.taken, second.resets) == ([7, 8], [])


def test_coinbase_exchanges_last_trade_is_a_trade() -> None:
    """`last_match` tells the last one before the subscription; its `side` is the maker's, as that of any match."""
    exchange = corrected(loader.load("coinbaseexchange"), "coinbaseexchange")()
    market = {"id": "BAND-GBP", "symbol": "BAND/GBP", "base": "BAND", "quote": "GBP", "type": "spot", "spot": True}
    exchange.set_markets([market])
    client = Client()
    match = {"trade_id": 881613, "side": "sell", "size": "0.04", "price": "14.7775", "product_id": "BAND-GBP"}
    match |= {"maker_order_id": "27fff20b", "taker_order_id": "1da6ce16"}
    exchange.handle_message(client, {"type": "last_match", **match, "time": "2021-04-17T16:43:30.244075Z"})
    (trades,) = client.results
    assert [(trade["id"], trade["side"]) for trade in trades] == [("881613", "buy")]


def test_a_broken_book_of_binance_does_not_empty_the_others() -> None:
    """It is subscribed again with all of its batch; only books that do not stand on this connection get a new snapshot."""
    asked: list[str] = []
    exchange = corrected(loader.load("binance"), "binance")()
    exchange.fetch_order_book_snapshot = lambda _client, _message, subscription: asked.append(subscription["symbol"])
    exchange.spawn = lambda method, *arguments: method(*arguments)
    client, subscription = Client(), {"symbols": ["BTC/USDT", "ETH/USDT"], "limit": 1_000}
    exchange.handle_order_book_subscription(client, {}, subscription)
    for number, symbol in enumerate(asked):
        exchange.orderbooks[symbol]["nonce"] = 100 + number
    del exchange.orderbooks["ETH/USDT"]  # what ccxt does with a book that lost a frame
    exchange.handle_order_book_subscription(client, {}, subscription)
    assert asked == ["BTC/USDT", "ETH/USDT", "ETH/USDT"]
    assert exchange.orderbooks["BTC/USDT"]["nonce"] == 100
    exchange.handle_order_book_subscription(Client(), {}, subscription)
    assert asked[3:] == ["BTC/USDT", "ETH/USDT"], "a new connection lays every book anew"


def test_other_exchanges_stay_as_they_are() -> None:
    """Nothing is put around a class that needs no correction."""
    gemini = loader.load("gemini")
    assert corrected(gemini, "gemini") is gemini
