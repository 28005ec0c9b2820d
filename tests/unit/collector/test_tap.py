from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiohttp import WSMessage, WSMsgType
from ccxt.base.exchange import Exchange as CcxtExchange

from daedalus.config import Exchange
from daedalus_collector.ccxt_feed import make_exchange
from daedalus_collector.endpoint import localized
from daedalus_collector.tap import TapClient

BINANCE = "wss://stream.binance.com:9443/ws/0"
COINBASE = "wss://advanced-trade-ws.coinbase.com"


class Caught:
    """A listener that keeps what it hears; order books as their best bid, because the book goes on changing."""

    def __init__(self) -> None:
        self.results: list[tuple[str, Any]] = []
        self.received: list[int] = []
        self.bad_frames: list[Exception] = []
        self.errors: list[BaseException] = []
        self.lost: list[object] = []

    def on_result(self, channel: str, result: Mapping[str, Any], received_ns: int) -> bool:
        self.results.append((channel, list(result["bids"][0]) if channel == "orderbook" else dict(result)))
        self.received.append(received_ns)
        return True

    def on_connected(self, client: TapClient) -> None: ...

    def on_lost(self, client: TapClient, error: object) -> None:
        self.lost.append(error)

    def on_bad_frame(self, client: TapClient, error: Exception) -> None:
        self.bad_frames.append(error)

    def on_error(self, client: TapClient, error: BaseException, message_hash: str | None) -> None:
        self.errors.append(error)


def market(exchange_symbol: str, symbol: str) -> dict[str, Any]:
    base, quote = symbol.split("/")
    empty = dict.fromkeys(
        ("settle", "settleId", "linear", "inverse", "contractSize", "expiry", "expiryDatetime", "strike", "optionType")
    )
    kinds = dict.fromkeys(("swap", "future", "option", "contract", "margin"), False)
    return {
        **empty, **kinds, "id": exchange_symbol, "lowercaseId": exchange_symbol.lower(), "symbol": symbol, "base": base,
        "quote": quote, "baseId": base, "quoteId": quote, "active": True, "type": "spot", "spot": True, "limits": {},
        "precision": {"price": 0.01, "amount": 1e-5}, "info": {},
    }  # fmt: skip


class Tapping:
    """One tapped connection of an exchange, fed by hand."""

    def __init__(self, exchange_id: str, url: str, markets: list[dict[str, Any]]) -> None:
        self.caught = Caught()
        self.exchange = make_exchange(exchange_id, Exchange(), {}, self.caught)
        self.exchange.set_markets(markets)
        self.client: TapClient = self.exchange.client(url)

    def frame(self, message: object) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        self.client.handle_message(WSMessage(WSMsgType.TEXT, text, None))


@pytest.fixture
async def binance() -> AsyncIterator[Tapping]:
    tapping = Tapping("binance", BINANCE, [market("BTCUSDT", "BTC/USDT"), market("ETHUSDT", "ETH/USDT")])
    yield tapping
    await tapping.exchange.close()


@pytest.fixture
async def coinbase() -> AsyncIterator[Tapping]:
    tapping = Tapping("coinbase", COINBASE, [market("BTC-USD", "BTC/USD"), market("ETH-USD", "ETH/USD")])
    yield tapping
    await tapping.exchange.close()


def binance_trade(number: int, symbol: str = "BTCUSDT") -> dict[str, Any]:
    return {"e": "trade", "E": 5, "s": symbol, "t": number, "p": "2.50", "q": "0.1", "T": 5, "m": True, "M": True}


def coinbase_trades(*trades: tuple[str, int]) -> dict[str, Any]:
    told = [
        {"product_id": product, "trade_id": str(number), "price": "2.5", "size": "0.1", "side": "BUY",
         "time": "2026-08-12T19:27:47.532655Z"}
        for product, number in trades
    ]  # fmt: skip
    return {"channel": "market_trades", "events": [{"type": "update", "trades": told}]}


TICKER = {
    "e": "24hrTicker", "E": 9_000, "s": "BTCUSDT", "p": "-95", "P": "-96", "w": "0.3", "c": "4", "Q": "200", "b": "3.9",
    "B": "431", "a": "4.1", "A": "12", "h": "100", "l": "0.1", "v": "8913.3", "q": "15.3", "C": 8_000, "n": 1,
}  # fmt: skip


async def test_trades_come_though_nobody_waits_for_them(binance: Tapping) -> None:
    """No watch call runs, and ccxt's cache is emptied each time, however many there are."""
    for number in range(12_000):
        binance.frame(binance_trade(number, "BTCUSDT" if number % 2 else "ETHUSDT"))
    assert [trade["id"] for _, trade in binance.caught.results] == [str(number) for number in range(12_000)]
    assert all(len(cache) == 0 for cache in binance.exchange.trades.values())
    assert binance.caught.results[0][1]["price"] == 2.5
    assert binance.client.frames == 12_000


async def test_each_frame_has_its_own_time(binance: Tapping) -> None:
    """The local clock as the frame is handled, and the connection's last data with it."""
    for number in range(100):
        binance.frame(binance_trade(number))
    assert binance.caught.received == sorted(binance.caught.received)
    assert len(set(binance.caught.received)) == 100
    assert binance.client.last_data_ns == binance.caught.received[-1]
    binance.frame({"result": None, "id": 77})
    assert binance.client.last_data_ns == binance.caught.received[-1], "an answer is not data"


async def test_a_ticker_is_parsed_and_nothing_is_derived(binance: Tapping) -> None:
    """24hrTicker without `o`: ccxt would compute the open from close and change; here it stays None. Once, although ccxt
    resolves it under the symbol's hash and the batch's.
    """
    binance.frame(TICKER)
    assert len(binance.caught.results) == 1
    channel, ticker = binance.caught.results[0]
    assert channel == "ticker"
    assert ticker["open"] is None
    assert (ticker["last"], ticker["bid"], ticker["askVolume"], ticker["vwap"]) == (4.0, 3.9, 12.0, 0.3)
    assert (ticker["high"], ticker["low"], ticker["baseVolume"], ticker["quoteVolume"]) == (100.0, 0.1, 8913.3, 15.3)


async def test_what_is_no_number_is_none(binance: Tapping) -> None:
    """An empty text and a dash are absent; zero is zero."""
    ticker = binance.exchange.safe_ticker({"bid": "", "ask": "-", "high": "0", "close": "4.5", "symbol": "BTC/USDT"})
    assert (ticker["bid"], ticker["ask"], ticker["high"], ticker["last"], ticker["vwap"]) == (
        None,
        None,
        0.0,
        4.5,
        None,
    )


async def test_krakens_quote_volume_is_not_recorded() -> None:
    """ccxt multiplies volume and vwap."""
    tapping = Tapping(
        "kraken", "wss://ws.kraken.com/v2", [market("XXBTZUSD", "BTC/USD") | {"info": {"wsname": "BTC/USD"}}]
    )
    tapping.frame(
        {
            "channel": "ticker",
            "type": "update",
            "data": [{"symbol": "BTC/USD", "bid": 1.5, "last": 2, "volume": 3, "vwap": 4}],
        }
    )
    ticker = tapping.caught.results[0][1]
    assert (ticker["quoteVolume"], ticker["baseVolume"], ticker["vwap"], ticker["change"]) == (None, 3.0, 4.0, None)
    await tapping.exchange.close()


async def test_two_products_in_one_message_are_both_told(coinbase: Tapping) -> None:
    """ccxt puts both into the first one's cache, and resolves it twice (USD and USDC): each trade comes once."""
    coinbase.frame(coinbase_trades(("ETH-USD", 3), ("BTC-USD", 2), ("BTC-USD", 1)))
    assert [(trade["symbol"], trade["id"]) for _, trade in coinbase.caught.results] == [
        ("BTC/USD", "1"),
        ("BTC/USD", "2"),
        ("ETH/USD", "3"),
    ]


async def test_every_state_of_a_book_is_told_once(coinbase: Tapping) -> None:
    """Also two states of one book in one message, each of which ccxt resolves as USD and as USDC."""

    def event(kind: str, price: str) -> dict[str, Any]:
        update = {"side": "bid", "event_time": "", "price_level": price, "new_quantity": "1"}
        return {"type": kind, "product_id": "BTC-USD", "updates": [update]}

    coinbase.frame({"channel": "l2_data", "timestamp": None, "events": [event("snapshot", "10")]})
    coinbase.frame({"channel": "l2_data", "timestamp": None, "events": [event("update", "11"), event("update", "12")]})
    assert [best for _, best in coinbase.caught.results] == [[10.0, 1.0], [11.0, 1.0], [12.0, 1.0]]


async def test_who_waits_for_usdc_is_answered(coinbase: Tapping) -> None:
    """Coinbase answers as USD what was asked for as USDC."""
    waiting = coinbase.client.future("market_trades::BTC/USDC")
    coinbase.frame(coinbase_trades(("BTC-USD", 1)))
    assert waiting.done()
    assert len(coinbase.caught.results) == 1


TIMES = (
    "2023-02-09T20:19:35Z", "2023-02-09T20:19:35.2Z", "2019-08-14T20:42:27.265Z", "2023-02-09T20:19:35.999999Z",
    "2023-02-09T20:32:50.714964855Z", "1969-12-31T23:59:59.999Z", "2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z",
    "2023-02-09T23:59:60Z", "2015-02-18T16:54:00-08:00", "2023-02-09 20:19:35", "20230209T201935Z", "2023-02-09",
    "2023-02-09T20:19:35,5Z", "2023-02-09t20:19:35z", "", "never", None, 5,
)  # fmt: skip


async def test_times_are_those_of_ccxt(coinbase: Tapping) -> None:
    """In milliseconds, cut off; None for what is no time."""
    assert [coinbase.exchange.parse8601(text) for text in TIMES] == [CcxtExchange.parse8601(text) for text in TIMES]


async def test_a_frame_that_cannot_be_read_does_not_end_the_loop(binance: Tapping) -> None:
    """Truncated JSON, and one that a handler stumbles over: told, and the next frame is handled."""
    binance.frame('{"e":"trade","s":"BTC')
    binance.frame({"e": "trade", "s": 5, "t": {}, "T": "x", "p": {}})
    binance.frame(binance_trade(1))
    assert len(binance.caught.bad_frames) >= 1
    assert binance.caught.results[-1][1]["id"] == "1"


async def test_an_error_frame_is_an_error_and_not_a_bad_frame(coinbase: Tapping) -> None:
    """ccxt raises in the handler; nothing was lost."""
    coinbase.frame({"type": "error", "message": "rate limit exceeded"})
    assert [str(error) for error in coinbase.caught.errors] == ["rate limit exceeded"]
    assert coinbase.caught.bad_frames == []


async def test_an_abandoned_connection_says_nothing_more(binance: Tapping) -> None:
    """What still waits in its socket comes after its gap began."""
    binance.client.abandoned = True
    binance.frame(binance_trade(1))
    binance.frame('{"e":"trade","s":"BTC')
    assert binance.caught.results == []
    assert binance.caught.bad_frames == []


async def test_an_abandoned_connection_leaves_its_successor_alone(binance: Tapping) -> None:
    """ccxt removes by address when a connection ends; the new one at the same address must stay."""
    del binance.exchange.clients[BINANCE]
    successor = binance.exchange.client(BINANCE)
    binance.client.abandoned = True
    binance.exchange.on_close(binance.client, 1006)
    assert binance.exchange.clients[BINANCE] is successor
    assert binance.caught.lost == []


async def test_a_diff_book_keeps_more_than_its_snapshot(binance: Tapping) -> None:
    """ccxt would cut it at the snapshot's 1,000 levels, and miss what the price comes back to."""
    book = binance.exchange.order_book({}, 1_000)
    for level in range(6_000):
        book["bids"].store(float(level + 1), 1.0)
    book.limit()
    assert len(book["bids"]) == 5_000
    assert book["bids"][0][0] == 6_000


def test_addresses_move_behind_the_endpoint() -> None:
    """REST and WebSocket, nested, with placeholders and ports; the real host is the first path element."""
    urls = {"rest": "https://api.{hostname}", "ws": {"spot": "wss://stream.binance.com:9443/ws"}, "version": 3}
    assert localized(urls, "http://127.0.0.1:9000/") == {
        "rest": "http://127.0.0.1:9000/api.{hostname}",
        "ws": {"spot": "ws://127.0.0.1:9000/stream.binance.com:9443/ws"},
        "version": 3,
    }
    assert localized("wss://a/b", "https://proxy") == "wss://proxy/a/b"
