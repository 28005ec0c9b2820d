"""OKX v5's frames and REST answers as text, from market events. Pure.

Shapes: www.okx.com/docs-v5/en (order-book-trading-market-data-ws-*), as quoted in ccxt 4.5.90's pro/okx.py, and frames
recorded in 2022-05. Numbers are strings.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from simulator.book import Change
from simulator.fixed import decimal, rescaled
from simulator.market import Ticker, Trade
from simulator.product import Product
from simulator.window import Window

LISTED_MS = "1548133413000"


def market_id(product: Product) -> str:
    return f"{product.base}-{product.quote}"


def _text(value: int, decimals: int) -> str:
    """Without zeros at the end: ``31500``, ``0.01``."""
    text = decimal(value, decimals)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _price(product: Product, value: int) -> str:
    return _text(value, product.price_decimals)


def _amount(product: Product, value: int) -> str:
    return _text(value, product.amount_decimals)


def _levels(product: Product, levels: Iterable[tuple[int, int]]) -> str:
    """Price, amount, a deprecated field, the number of orders."""
    return ",".join(
        f'["{_price(product, price)}","{_amount(product, amount)}","0","{1 if amount else 0}"]'
        for price, amount in levels
    )


def _data(channel: str, product: Product, data: str, action: str = "") -> bytes:
    kind = f',"action":"{action}"' if action else ""
    return f'{{"arg":{{"channel":"{channel}","instId":"{market_id(product)}"}}{kind},"data":[{data}]}}'.encode()


def book(
    product: Product, window: Window, changes: Sequence[Change] | None, sequence: tuple[int, int], now_ns: int
) -> bytes:
    """An update with ``changes``, or the snapshot of the window where they are None. ``sequence``: prevSeqId, seqId."""
    if changes is None:
        action, bids, asks = "snapshot", list(window.bid.items()), list(window.ask.items())
    else:
        action = "update"
        bids, asks = ([(c.price, c.amount) for c in changes if c.side == side] for side in ("bid", "ask"))
    previous, now = sequence
    # The checksum is 0 in every frame of today's (docs.rs/crate/tickvault/0.1.1, venue/okx.rs: measured).
    data = (
        f'{{"asks":[{_levels(product, asks)}],"bids":[{_levels(product, bids)}],"ts":"{now_ns // 1_000_000}"'
        f',"checksum":0,"prevSeqId":{previous},"seqId":{now}}}'
    )
    return _data("books", product, data, action)


def trade(product: Product, event: Trade) -> bytes:
    data = (
        f'{{"instId":"{market_id(product)}","tradeId":"{event.id}","px":"{_price(product, event.price)}"'
        f',"sz":"{_amount(product, event.amount)}","side":"{event.side}","ts":"{event.time_ns // 1_000_000}"'
        f',"count":"1","source":"0"}}'
    )
    return _data("trades", product, data)


def rest_trades(product: Product, events: Iterable[Trade]) -> bytes:
    """The answer of ``/api/v5/market/trades``."""
    data = [
        {
            "instId": market_id(product),
            "side": event.side,
            "sz": _amount(product, event.amount),
            "px": _price(product, event.price),
            "source": "0",
            "tradeId": str(event.id),
            "ts": str(event.time_ns // 1_000_000),
        }
        for event in events
    ]
    return msgspec.json.encode({"code": "0", "msg": "", "data": data})


def ticker(product: Product, event: Ticker, now_ns: int) -> bytes:
    quote_decimals = product.price_decimals + product.amount_decimals
    fields = {
        "instType": "SPOT",
        "instId": market_id(product),
        "last": _price(product, event.last),
        "lastSz": _amount(product, event.last_amount),
        "askPx": _price(product, event.ask),
        "askSz": _amount(product, event.ask_amount),
        "bidPx": _price(product, event.bid),
        "bidSz": _amount(product, event.bid_amount),
        "open24h": _price(product, event.open),
        "high24h": _price(product, event.high),
        "low24h": _price(product, event.low),
        "sodUtc0": _price(product, event.open),
        "sodUtc8": _price(product, event.open),
        "volCcy24h": decimal(rescaled(event.quote_volume, quote_decimals, 8), 8),
        "vol24h": _amount(product, event.volume),
        "ts": str(now_ns // 1_000_000),
    }
    return _data("tickers", product, msgspec.json.encode(fields).decode())


def acknowledgement(event: str, argument: Mapping[str, str], connection_id: str) -> bytes:
    return msgspec.json.encode({"event": event, "arg": argument, "connId": connection_id})


def error(code: str, message: str, connection_id: str) -> bytes:
    return msgspec.json.encode({"event": "error", "code": code, "msg": message, "connId": connection_id})


def instruments(products: Iterable[Product], delisted: Collection[str] = ()) -> bytes:
    """The answer of ``/api/v5/public/instruments``."""
    data = [
        {
            "instType": "SPOT",
            "instId": market_id(product),
            "baseCcy": product.base,
            "quoteCcy": product.quote,
            "settleCcy": "",
            "uly": "",
            "instFamily": "",
            "category": "1",
            "ctVal": "",
            "ctMult": "",
            "ctValCcy": "",
            "ctType": "",
            "optType": "",
            "stk": "",
            "alias": "",
            "expTime": "",
            "listTime": LISTED_MS,
            "lever": "10",
            "tickSz": decimal(1, product.price_decimals),
            "lotSz": decimal(1, product.amount_decimals),
            "minSz": "0.00001",
            "maxLmtSz": "9999999999",
            "maxMktSz": "1000000",
            "state": "suspend" if product.symbol in delisted else "live",
        }
        for product in products
    ]
    return msgspec.json.encode({"code": "0", "msg": "", "data": data})
