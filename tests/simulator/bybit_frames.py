"""Bybit v5's frames and REST answers as text, from market events. Pure.

Shapes: bybit-exchange.github.io/docs/v5/websocket/public/{orderbook,trade,ticker} and …/v5/market/instrument, read 2026-11.
Prices and amounts are strings.
"""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from simulator.book import Change
from simulator.fixed import decimal, rescaled
from simulator.market import Ticker, Trade
from simulator.product import Product
from simulator.window import Window


def market_id(product: Product) -> str:
    return product.base + product.quote


def _price(product: Product, value: int) -> str:
    return decimal(value, product.price_decimals)


def _amount(product: Product, value: int) -> str:
    return decimal(value, product.amount_decimals) if value else "0"


def _levels(product: Product, levels: Iterable[tuple[int, int]]) -> str:
    return ",".join(f'["{_price(product, price)}","{_amount(product, amount)}"]' for price, amount in levels)


def _data(topic: str, kind: str, data: str, now_ns: int, more: str = "") -> bytes:
    return f'{{"topic":"{topic}","ts":{now_ns // 1_000_000},"type":"{kind}","data":{data}{more}}}'.encode()


def book(
    product: Product,
    depth: int,
    window: Window,
    changes: Sequence[Change] | None,
    numbers: tuple[int, int],
    now_ns: int,
) -> bytes:
    """A delta with ``changes``, or the snapshot of the window where they are None. ``numbers``: u of the topic, seq."""
    if changes is None:
        kind, bids, asks = "snapshot", list(window.bid.items()), list(window.ask.items())
    else:
        kind = "delta"
        bids, asks = ([(c.price, c.amount) for c in changes if c.side == side] for side in ("bid", "ask"))
    name, (update, sequence) = market_id(product), numbers
    data = (
        f'{{"s":"{name}","b":[{_levels(product, bids)}],"a":[{_levels(product, asks)}],"u":{update},"seq":{sequence}}}'
    )
    return _data(f"orderbook.{depth}.{name}", kind, data, now_ns, f',"cts":{now_ns // 1_000_000}')


def trades(product: Product, events: Sequence[Trade], now_ns: int) -> bytes:
    """Every frame is called a snapshot."""
    name = market_id(product)
    listed = ",".join(
        f'{{"i":"{event.id}","T":{event.time_ns // 1_000_000},"p":"{_price(product, event.price)}"'
        f',"v":"{_amount(product, event.amount)}","S":"{event.side.capitalize()}","s":"{name}","BT":false,"RPI":false'
        f',"seq":{event.id}}}'
        for event in events
    )
    return _data(f"publicTrade.{name}", "snapshot", f"[{listed}]", now_ns)


def rest_trades(product: Product, events: Iterable[Trade]) -> bytes:
    """The answer of ``/v5/market/recent-trade``."""
    listed = [
        {
            "execId": str(event.id),
            "symbol": market_id(product),
            "price": _price(product, event.price),
            "size": _amount(product, event.amount),
            "side": event.side.capitalize(),
            "time": str(event.time_ns // 1_000_000),
            "isBlockTrade": False,
            "isRPITrade": False,
            "seq": str(event.id),
        }
        for event in events
    ]
    result = {"category": "spot", "list": listed}
    return msgspec.json.encode({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}})


def ticker(product: Product, event: Ticker, now_ns: int) -> bytes:
    """Without bid and ask: a spot ticker has none. Every frame is a whole one."""
    name, quote_decimals = market_id(product), product.price_decimals + product.amount_decimals
    fields = {
        "symbol": name,
        "lastPrice": _price(product, event.last),
        "highPrice24h": _price(product, event.high),
        "lowPrice24h": _price(product, event.low),
        "prevPrice24h": _price(product, event.open),
        "volume24h": _amount(product, event.volume),
        "turnover24h": decimal(rescaled(event.quote_volume, quote_decimals, 8), 8),
        "price24hPcnt": f"{(event.last - event.open) / event.open:.4f}",
        "usdIndexPrice": _price(product, event.last),
    }
    data = msgspec.json.encode(fields).decode()
    return _data(f"tickers.{name}", "snapshot", data, now_ns, f',"cs":{event.last_trade_id}')


def answer(op: str, connection_id: str, request_id: str | None, *, ret_msg: str, success: bool = True) -> bytes:
    """To a request: acknowledgement, pong or refusal."""
    fields: dict[str, object] = {"success": success, "ret_msg": ret_msg, "conn_id": connection_id}
    return msgspec.json.encode({**fields, "req_id": request_id or "", "op": op})


def instruments(category: str, products: Iterable[Product], now_ns: int, delisted: Collection[str] = ()) -> bytes:
    """The answer of ``/v5/market/instruments-info``."""
    listed = [
        {
            "symbol": market_id(product),
            "baseCoin": product.base,
            "quoteCoin": product.quote,
            "innovation": "0",
            "status": "Closed" if product.symbol in delisted else "Trading",
            "marginTrading": "utaOnly",
            "lotSizeFilter": {
                "basePrecision": decimal(1, product.amount_decimals),
                "quotePrecision": "0.00000001",
                "minOrderQty": "0.000048",
                "maxOrderQty": "83",
                "minOrderAmt": "5",
                "maxOrderAmt": "8000000",
            },
            "priceFilter": {"tickSize": decimal(1, product.price_decimals)},
        }
        for product in products
    ]
    result = {"category": category, "list": listed, "nextPageCursor": ""}
    return msgspec.json.encode(
        {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": now_ns // 1_000_000}
    )
