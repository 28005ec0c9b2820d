"""Kraken v2's frames and REST answers as text, from market events. Pure.

Shapes: docs.kraken.com/api/docs/websocket-v2, read 2026-11; the checksum is that of …/guides/spot-ws-book-v2, which the
same digits reproduce for recorded frames. Prices and quantities are JSON numbers.
"""

import zlib
from collections.abc import Collection, Iterable, Sequence

import msgspec

from simulator.book import Change
from simulator.fixed import decimal, rfc3339
from simulator.market import Ticker, Trade
from simulator.product import Product
from simulator.window import Window

# Kraken's own names of old assets; the others have one name.
ASSETS = {"BTC": ("XXBT", "XBT"), "ETH": ("XETH", "ETH"), "USD": ("ZUSD", "USD")}
CHECKSUM_LEVELS = 10


def checksum(window: Window) -> int:
    """CRC32 of the ten best asks, then bids: the digits of price and quantity without point and leading zeros."""
    best = [*window.ask.items()][:CHECKSUM_LEVELS] + [*window.bid.items()][:CHECKSUM_LEVELS]
    return zlib.crc32("".join(f"{price}{amount}" for price, amount in best).encode())


def _number(value: int, decimals: int) -> str:
    text = decimal(value, decimals).rstrip("0")
    return text + "0" if text.endswith(".") else text


def _quantity(product: Product, value: int) -> str:
    return _number(value, product.amount_decimals)


def _price(product: Product, value: int) -> str:
    return _number(value, product.price_decimals)


def _levels(product: Product, levels: Iterable[tuple[int, int]]) -> str:
    return ",".join(
        f'{{"price":{_price(product, price)},"qty":{_quantity(product, amount)}}}' for price, amount in levels
    )


def book(product: Product, window: Window, changes: Sequence[Change] | None, now_ns: int) -> bytes:
    """An update with ``changes``, or the snapshot of the window where they are None."""
    if changes is None:
        kind, bids, asks = "snapshot", list(window.bid.items()), list(window.ask.items())
    else:
        kind = "update"
        bids, asks = ([(c.price, c.amount) for c in changes if c.side == side] for side in ("bid", "ask"))
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{product.symbol}"'
        f',"bids":[{_levels(product, bids)}],"asks":[{_levels(product, asks)}]'
        f',"checksum":{checksum(window)},"timestamp":"{rfc3339(now_ns, 6)}"}}]}}'
    ).encode()


def trades(product: Product, events: Sequence[Trade], kind: str) -> bytes:
    listed = ",".join(
        f'{{"symbol":"{product.symbol}","side":"{trade.side}","price":{_price(product, trade.price)}'
        f',"qty":{_quantity(product, trade.amount)},"ord_type":"market","trade_id":{trade.id}'
        f',"timestamp":"{rfc3339(trade.time_ns, 6)}"}}'
        for trade in events
    )
    return f'{{"channel":"trade","type":"{kind}","data":[{listed}]}}'.encode()


def ticker(product: Product, event: Ticker, kind: str, now_ns: int) -> bytes:
    return (
        f'{{"channel":"ticker","type":"{kind}","data":[{{"symbol":"{product.symbol}"'
        f',"bid":{_price(product, event.bid)},"bid_qty":{_quantity(product, event.bid_amount)}'
        f',"ask":{_price(product, event.ask)},"ask_qty":{_quantity(product, event.ask_amount)}'
        f',"last":{_price(product, event.last)},"volume":{_quantity(product, event.volume)}'
        f',"vwap":{_price(product, event.quote_volume // event.volume)}'
        f',"low":{_price(product, event.low)},"high":{_price(product, event.high)}'
        f',"change":{_price(product, event.last - event.open)}'
        f',"change_pct":{(event.last - event.open) * 100 / event.open:.2f},"timestamp":"{rfc3339(now_ns, 6)}"}}]}}'
    ).encode()


def status(connection_id: int) -> bytes:
    online = {"api_version": "v2", "connection_id": connection_id, "system": "online", "version": "2.0.10"}
    return msgspec.json.encode({"channel": "status", "type": "update", "data": [online]})


def _answer(fields: dict[str, object], request_id: int | None, now_ns: int) -> bytes:
    if request_id is not None:
        fields["req_id"] = request_id
    time = rfc3339(now_ns, 6)
    return msgspec.json.encode({**fields, "time_in": time, "time_out": time})


def acknowledgement(method: str, result: dict[str, object], request_id: int | None, now_ns: int) -> bytes:
    return _answer({"method": method, "result": result, "success": True}, request_id, now_ns)


def pong(request_id: int | None, now_ns: int) -> bytes:
    return _answer({"method": "pong"}, request_id, now_ns)


def error(message: str, method: str, request_id: int | None, now_ns: int) -> bytes:
    return _answer({"error": message, "method": method, "success": False}, request_id, now_ns)


def pair_id(product: Product) -> str:
    """The key of a pair in REST answers."""
    base, base_name = ASSETS.get(product.base, (product.base, product.base))
    quote, quote_name = ASSETS.get(product.quote, (product.quote, product.quote))
    return base + quote if product.base in ASSETS else base_name + quote_name


def trades_body(product: Product, events: Sequence[Trade], since_ns: int) -> bytes:
    rows = [
        [
            _price(product, event.price),
            _quantity(product, event.amount),
            event.time_ns / 1e9,
            event.side[0],
            "m",
            "",
            event.id,
        ]
        for event in events
    ]
    last = str(events[-1].time_ns if events else since_ns)
    return msgspec.json.encode({"error": [], "result": {pair_id(product): rows, "last": last}})


def asset_pairs(products: Iterable[Product], delisted: Collection[str] = ()) -> bytes:
    pairs: dict[str, object] = {}
    for product in products:
        base, base_name = ASSETS.get(product.base, (product.base, product.base))
        quote, quote_name = ASSETS.get(product.quote, (product.quote, product.quote))
        pairs[pair_id(product)] = {
            "altname": base_name + quote_name,
            "wsname": f"{base_name}/{quote_name}",
            "aclass_base": "currency",
            "base": base,
            "aclass_quote": "currency",
            "quote": quote,
            "lot": "unit",
            "pair_decimals": product.price_decimals,
            "lot_decimals": product.amount_decimals,
            "lot_multiplier": 1,
            "leverage_buy": [],
            "leverage_sell": [],
            "fees": [[0, 0.26]],
            "fees_maker": [[0, 0.16]],
            "ordermin": "0.0001",
            "costmin": "0.5",
            "tick_size": decimal(1, product.price_decimals),
            "status": "cancel_only" if product.symbol in delisted else "online",
        }
    return msgspec.json.encode({"error": [], "result": pairs})


def assets(products: Iterable[Product]) -> bytes:
    result: dict[str, object] = {}
    for code in sorted({code for product in products for code in (product.base, product.quote)}):
        name, alternative = ASSETS.get(code, (code, code))
        decimals = 4 if code == "USD" else 10
        result[name] = {"aclass": "currency", "altname": alternative, "decimals": decimals, "display_decimals": 5,
                        "status": "enabled"}  # fmt: skip
    return msgspec.json.encode({"error": [], "result": result})
