"""What exchanges say on the channels that no simulator generates, and the records that it is: written side by side, from
the exchanges' documents and not from a parser.

binance, binanceusdm: developers.binance.com, "WebSocket Streams"; okx: okx.com/docs-v5, public channels; bybit:
bybit-exchange.github.io/docs/v5/websocket/public; kraken: docs.kraken.com/api/docs/websocket-v2 (all 2026-11).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from daedalus.records import BidAsk, Candle, Funding, Liquidation, MarkPrice, OrderBook, Record, Ticker, levels
from simulator.recorded_exchange import Rest, Speech

MINUTE_MS = 60_000
FIRST_MS = 1_786_562_820_000
"""A whole minute."""


class Script(NamedTuple):
    """`frames`: (stream, payload). `expected`: channel → records, with no receive time."""

    symbol: str
    speech: Speech
    rest: Rest
    frames: list[tuple[str, str]]
    expected: dict[str, list[Record]]


def _said(value: float) -> str:
    return repr(value)


class _Writer:
    """Adds a frame and what it means."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, str]] = []
        self.expected: dict[str, list[Record]] = {}

    def say(self, stream: str, payload: object, **records: Record) -> None:
        self.frames.append((stream, json.dumps(payload)))
        for channel, record in records.items():
            self.expected.setdefault(channel, []).append(record)


def _candle(number: int) -> Candle:
    """Ten states of each candle."""
    begin_ms = FIRST_MS + number // 10 * MINUTE_MS
    close = 60_000.5 + number % 7
    return Candle(0, begin_ms * 1_000, "1m", 60_000.5, 60_010.25, 59_990.0, close, 1.5 + number % 10)


def _quote(number: int, *, timestamp_us: int | None, nonce: int | None) -> BidAsk:
    return BidAsk(0, timestamp_us, nonce, 60_000.5 + number, 0.125 + number, 60_001.25 + number, 2.0 + number)


def _answers(path: str, body: object) -> Rest:
    return lambda asked, _: json.dumps(body).encode() if asked == path else None


def binance(count: int = 40) -> Script:
    """Spot: bookTicker, which has no time, and kline."""
    writer = _Writer()
    for number in range(count):
        quote = _quote(number, timestamp_us=None, nonce=400_900_217 + number)
        payload = {"u": quote.nonce, "s": "BTCUSDT", "b": _said(quote.bid or 0), "B": _said(quote.bid_amount or 0)}
        payload |= {"a": _said(quote.ask or 0), "A": _said(quote.ask_amount or 0)}
        writer.say("btcusdt@bookTicker", payload, bidask=quote)
        _binance_kline(writer, number)
    return Script("BTC/USDT", *_binance_around("/api/v3", {}), writer.frames, writer.expected)


def binanceusdm(count: int = 40) -> Script:
    """Futures: the mark price's stream tells of the funding rate too."""
    writer = _Writer()
    for number in range(count):
        event_ms = FIRST_MS + number
        quote = _quote(number, timestamp_us=event_ms * 1_000, nonce=7_000 + number)
        payload = {
            "e": "bookTicker",
            "u": quote.nonce,
            "E": event_ms,
            "T": event_ms - 2,
            "s": "BTCUSDT",
            "ps": "BTCUSDT",
        }
        payload |= {"b": _said(quote.bid or 0), "B": _said(quote.bid_amount or 0)}
        payload |= {"a": _said(quote.ask or 0), "A": _said(quote.ask_amount or 0)}
        writer.say("btcusdt@bookTicker", payload, bidask=quote)
        _binance_kline(writer, number)
        mark, index, rate = 60_000.5 + number, 60_000.125 + number, 0.0001 + number / 1_000_000
        due_ms = FIRST_MS + 28_800_000
        told = {"e": "markPriceUpdate", "E": event_ms, "s": "BTCUSDT", "p": _said(mark), "ap": "1.5", "i": _said(index)}
        writer.say(
            "btcusdt@markPrice@1s",
            {**told, "P": "59000.5", "r": _said(rate), "T": due_ms},
            markprice=MarkPrice(0, event_ms * 1_000, mark, index),
            funding=Funding(0, event_ms * 1_000, rate, due_ms * 1_000, None, None, None),
        )
        side = "SELL" if number % 2 else "BUY"
        order: dict[str, object] = {
            "s": "BTCUSDT",
            "S": side,
            "o": "LIMIT",
            "f": "IOC",
            "q": "9.5",
            "p": "60100.5",
            "ap": _said(mark),
        }
        order |= {"X": "FILLED", "l": "0.5", "z": _said(1.5 + number), "T": event_ms - 1}
        liquidation = Liquidation(0, (event_ms - 1) * 1_000, mark, 1.5 + number, "sell" if number % 2 else "buy")
        writer.say("btcusdt@forceOrder", {"e": "forceOrder", "E": event_ms, "o": order}, liquidation=liquidation)
    contract = {"contractType": "PERPETUAL", "marginAsset": "USDT", "deliveryDate": 4133404800000}
    return Script("BTC/USDT:USDT", *_binance_around("/fapi/v1", contract), writer.frames, writer.expected)


def _binance_kline(writer: _Writer, number: int) -> None:
    candle = _candle(number)
    begin_ms = candle.timestamp_us // 1_000
    kline = {"t": begin_ms, "T": begin_ms + 59_999, "s": "BTCUSDT", "i": "1m", "f": 100, "L": 200, "n": 100, "x": False}
    kline |= {
        "o": "60000.5",
        "c": _said(candle.close or 0),
        "h": "60010.25",
        "l": "59990.0",
        "v": _said(candle.volume or 0),
    }
    kline |= {"q": "1.0", "V": "5.5", "Q": "0.5", "B": "0"}
    frame = {"e": "kline", "E": FIRST_MS + number, "s": "BTCUSDT", "k": kline}
    writer.say("btcusdt@kline_1m", frame, ohlcv=candle)


def _binance_around(base: str, more: Mapping[str, object]) -> tuple[Speech, Rest]:
    market = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": []}
    speech = Speech(lambda asked: asked["params"], lambda asked: [{"result": None, "id": asked["id"]}])
    return speech, _answers(f"{base}/exchangeInfo", {"symbols": [market | dict(more)]})


def okx(count: int = 40) -> Script:
    """A swap, counted in contracts. One message of liquidations has several orders."""
    writer = _Writer()

    def say(channel: str, data: list[Any], **records: Record) -> None:
        writer.say(
            f"{channel}:BTC-USDT-SWAP",
            {"arg": {"channel": channel, "instId": "BTC-USDT-SWAP"}, "data": data},
            **records,
        )

    for number in range(count):
        ms = FIRST_MS + number
        quote = _quote(number, timestamp_us=ms * 1_000, nonce=9_000 + number)
        sides = {
            "asks": [[_said(quote.ask or 0), _said(quote.ask_amount or 0), "0", "1"]],
            "bids": [[_said(quote.bid or 0), _said(quote.bid_amount or 0), "0", "2"]],
        }
        say("bbo-tbt", [{**sides, "ts": str(ms), "seqId": quote.nonce}], bidask=quote)
        candle = _candle(number)
        row = [
            candle.timestamp_us // 1_000,
            candle.open,
            candle.high,
            candle.low,
            candle.close,
            700,
            candle.volume,
            3,
            0,
        ]
        # contracts, base currency, quote currency, whether it is complete
        say("candle1m", [[str(value) for value in row]], ohlcv=candle)
        rate, due_ms = 0.0001 + number / 1_000_000, FIRST_MS + 28_800_000
        told = {"fundingRate": _said(rate), "fundingTime": str(due_ms), "instId": "BTC-USDT-SWAP", "instType": "SWAP"}
        next_rate = None if number % 2 else rate / 2
        told |= {
            "nextFundingRate": "" if next_rate is None else _said(next_rate),
            "nextFundingTime": str(due_ms + 28_800_000),
            "ts": str(ms),
        }
        next_due_us = (due_ms + 28_800_000) * 1_000
        say("funding-rate", [told], funding=Funding(0, ms * 1_000, rate, due_ms * 1_000, next_rate, next_due_us, None))
        mark = {"instId": "BTC-USDT-SWAP", "instType": "SWAP", "markPx": _said(60_000.5 + number), "ts": str(ms)}
        say("mark-price", [mark], markprice=MarkPrice(0, ms * 1_000, 60_000.5 + number, None))
        details = [{"bkLoss": "0", "bkPx": _said(60_000.5 + one), "ccy": "", "posSide": "short", "side": "buy", "sz": "13.5", "ts": str(ms + one)} for one in range(2)]  # fmt: skip
        data = [{"details": details, "instFamily": "BTC-USDT", "instId": "BTC-USDT-SWAP", "instType": "SWAP"}]
        writer.say(
            "liquidation-orders:SWAP", {"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": data}
        )
        writer.expected.setdefault("liquidation", []).extend(
            Liquidation(0, (ms + one) * 1_000, 60_000.5 + one, 13.5, "buy") for one in range(2)
        )
    swap = {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "uly": "BTC-USDT", "settleCcy": "USDT", "ctVal": "0.01"}
    swap |= {"ctValCcy": "BTC", "state": "live"}

    def rest(path: str, query: Mapping[str, str]) -> bytes | None:
        if path != "/api/v5/public/instruments":
            return None
        return json.dumps({"code": "0", "msg": "", "data": [swap] if query["instType"] == "SWAP" else []}).encode()

    def streams(asked: Any) -> list[str]:
        return [f"{one['channel']}:{one.get('instId', one.get('instType'))}" for one in asked["args"]]

    speech = Speech(streams, lambda asked: [{"event": "subscribe", "arg": one} for one in asked["args"]])
    return Script("BTC/USDT:USDT", speech, rest, writer.frames, writer.expected)


def bybit(count: int = 40) -> Script:
    """Linear. Its best bid and ask is an order book of one level, beside a deeper one."""
    writer = _Writer()
    deep = [[60_000.5 - number, 1.5] for number in range(20)], [[60_001.25 + number, 2.5] for number in range(20)]
    for number in range(count):
        ms = FIRST_MS + number
        quote = _quote(number, timestamp_us=ms * 1_000, nonce=None)
        top = {"b": [[_said(quote.bid or 0), _said(quote.bid_amount or 0)]]}
        top |= {"a": [[_said(quote.ask or 0), _said(quote.ask_amount or 0)]]}
        _bybit_say(writer, "orderbook.1.BTCUSDT", {"s": "BTCUSDT", **top, "u": 5 + number, "seq": 9}, ms, bidask=quote)
        bids, asks = ([[_said(price), _said(amount)] for price, amount in side] for side in deep)
        book = {"s": "BTCUSDT", "b": bids, "a": asks, "u": 5 + number, "seq": 9}
        state = OrderBook(0, ms * 1_000, None, *levels(deep[0], 10), *levels(deep[1], 10))
        _bybit_say(writer, "orderbook.50.BTCUSDT", book, ms, orderbook=state)
        candle = _candle(number)
        row = {"start": candle.timestamp_us // 1_000, "end": candle.timestamp_us // 1_000 + 59_999, "interval": "1"}
        row |= {"open": _said(candle.open or 0), "close": _said(candle.close or 0), "high": _said(candle.high or 0)}
        row |= {"low": _said(candle.low or 0), "volume": _said(candle.volume or 0), "turnover": "1", "confirm": False}
        _bybit_say(writer, "kline.1.BTCUSDT", [{**row, "timestamp": ms}], ms, ohlcv=candle)
        orders = [
            {"T": ms - one, "s": "BTCUSDT", "S": "Sell", "v": "0.25", "p": _said(60_000.5 + one)} for one in range(2)
        ]
        _bybit_say(writer, "allLiquidation.BTCUSDT", orders, ms)
        writer.expected.setdefault("liquidation", []).extend(
            Liquidation(0, (ms - one) * 1_000, 60_000.5 + one, 0.25, "sell") for one in range(2)
        )
    market = {"symbol": "BTCUSDT", "contractType": "LinearPerpetual", "status": "Trading", "baseCoin": "BTC"}
    market |= {"quoteCoin": "USDT", "settleCoin": "USDT", "launchTime": "1585526400000", "deliveryTime": "0"}
    filters = {"leverageFilter": {}, "priceFilter": {"tickSize": "0.01"}, "lotSizeFilter": {"qtyStep": "0.001"}}

    def rest(path: str, query: Mapping[str, str]) -> bytes | None:
        if path != "/v5/market/instruments-info":
            return None
        listed = [{**market, **filters}] if query.get("category") == "linear" else []
        result = {"category": query.get("category"), "list": listed, "nextPageCursor": ""}
        return json.dumps({"retCode": 0, "retMsg": "OK", "result": result, "time": FIRST_MS}).encode()

    speech = Speech(
        lambda asked: asked["args"] if asked["op"] == "subscribe" else [],
        lambda asked: [
            {"success": True, "ret_msg": "", "op": asked["op"], "conn_id": "x", "req_id": asked.get("req_id")}
        ],
    )
    return Script("BTC/USDT:USDT", speech, rest, writer.frames, writer.expected)


def _bybit_say(writer: _Writer, topic: str, data: object, ms: int, **records: Record) -> None:
    writer.say(topic, {"topic": topic, "type": "snapshot", "ts": ms, "data": data}, **records)


def kraken(count: int = 40) -> Script:
    """The best bid and ask is a ticker at another pace, beside the ticker itself."""
    writer = _Writer()
    for number in range(count):
        ms = FIRST_MS + number
        quote = _quote(number, timestamp_us=ms * 1_000 + 7, nonce=None)
        time = f"2026-08-12T19:27:00.{number:03d}007Z"
        told = {"symbol": "BTC/USD", "bid": quote.bid, "bid_qty": quote.bid_amount, "ask": quote.ask}
        told |= {"ask_qty": quote.ask_amount, "last": 60_000.75, "volume": 5.5, "vwap": 60_000.25, "low": 59_000.5}
        told |= {"high": 61_000.5, "change": 1.5, "change_pct": 0.1, "timestamp": time}
        ticker = Ticker(
            0, quote.timestamp_us, 60_000.75, quote.bid, quote.bid_amount, quote.ask, quote.ask_amount, None, 61_000.5,
            59_000.5, 60_000.25, 5.5, None,
        )  # fmt: skip
        frame = {"channel": "ticker", "type": "update", "data": [told]}
        writer.say("ticker bbo:BTC/USD", frame, bidask=quote)
        writer.say("ticker:BTC/USD", frame, ticker=ticker)
        candle = _candle(number)
        begin = f"2026-08-12T19:{27 + number // 10:02d}:00.000000000Z"
        row = {"symbol": "BTC/USD", "open": candle.open, "high": candle.high, "low": candle.low, "close": candle.close}
        row |= {"trades": 5, "volume": candle.volume, "vwap": 60_000.5, "interval_begin": begin, "interval": 1}
        writer.say(
            "ohlc:BTC/USD", {"channel": "ohlc", "type": "update", "timestamp": time, "data": [row]}, ohlcv=candle
        )
    pair = {"altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD", "pair_decimals": 1}
    pair |= {
        "lot_decimals": 8,
        "status": "online",
        "fees": [],
        "fees_maker": [],
        "ordermin": "0.0001",
        "costmin": "0.5",
    }
    assets = {"XXBT": {"altname": "XBT", "decimals": 10}, "ZUSD": {"altname": "USD", "decimals": 4}}
    bodies: dict[str, object] = {
        "/0/public/AssetPairs": {"XXBTZUSD": pair | {"tick_size": "0.1"}},
        "/0/public/Assets": assets,
    }

    def rest(path: str, _: Mapping[str, str]) -> bytes | None:
        return json.dumps({"error": [], "result": bodies[path]}).encode() if path in bodies else None

    return Script("BTC/USD", Speech(_kraken_streams, _kraken_answers), rest, writer.frames, writer.expected)


def _kraken_streams(asked: Any) -> list[str]:
    if asked["method"] != "subscribe":
        return []
    channel = asked["params"]["channel"] + (" bbo" if asked["params"].get("event_trigger") == "bbo" else "")
    return [f"{channel}:{symbol}" for symbol in asked["params"]["symbol"]]


def _kraken_answers(asked: Any) -> list[object]:
    if asked["method"] == "ping":
        return [{"method": "pong", "req_id": asked.get("req_id")}]
    result = {"channel": asked["params"]["channel"], "snapshot": True}
    return [
        {"method": "subscribe", "result": {**result, "symbol": symbol}, "success": True, "req_id": asked["req_id"]}
        for symbol in asked["params"]["symbol"]
    ]


SCRIPTS: dict[str, Callable[..., Script]] = {
    "binance": binance,
    "binanceusdm": binanceusdm,
    "bybit": bybit,
    "kraken": kraken,
    "okx": okx,
}
"""ccxt's id of the exchange → what it says: as many frames of each channel as asked for."""
