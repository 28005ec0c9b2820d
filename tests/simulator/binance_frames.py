"""Binance spot's frames and REST answers as text, from market events. Pure.

Shapes: developers.binance.com/docs/binance-spot-api-docs/web-socket-streams, read 2026-11, and frames recorded in 2024-08.
Prices and amounts always have eight decimals there.
"""

from collections.abc import Iterable

import msgspec

from simulator.book import Book, Change
from simulator.fixed import decimal, rescaled
from simulator.market import BookUpdate, Ticker, Trade
from simulator.product import Product

DECIMALS = 8


def market_id(product: Product) -> str:
    return product.base + product.quote


def combined(stream: str, payload: bytes) -> bytes:
    """The envelope of a ``/stream`` connection."""
    return b'{"stream":"%b","data":%b}' % (stream.encode(), payload)


def _price(product: Product, value: int) -> str:
    return decimal(value, product.price_decimals) + "0" * (DECIMALS - product.price_decimals)


def _amount(product: Product, value: int) -> str:
    return decimal(value, product.amount_decimals) + "0" * (DECIMALS - product.amount_decimals)


def trade(product: Product, event: Trade, now_ns: int) -> bytes:
    return (
        f'{{"e":"trade","E":{now_ns // 1_000_000},"s":"{market_id(product)}","t":{event.id}'
        f',"p":"{_price(product, event.price)}","q":"{_amount(product, event.amount)}"'
        f',"T":{event.time_ns // 1_000_000},"m":{"true" if event.side == "sell" else "false"},"M":true}}'
    ).encode()


def rest_trades(product: Product, events: Iterable[Trade]) -> bytes:
    return msgspec.json.encode([
        {
            "id": event.id,
            "price": _price(product, event.price),
            "qty": _amount(product, event.amount),
            "quoteQty": "0.0",
            "time": event.time_ns // 1_000_000,
            "isBuyerMaker": event.side == "sell",
            "isBestMatch": True,
        }
        for event in events
    ])  # fmt: skip


def _levels(product: Product, changes: Iterable[Change], side: str) -> str:
    return ",".join(
        f'["{_price(product, change.price)}","{_amount(product, change.amount)}"]'
        for change in changes
        if change.side == side
    )


def depth_update(product: Product, update: BookUpdate, now_ns: int) -> bytes:
    return (
        f'{{"e":"depthUpdate","E":{now_ns // 1_000_000},"s":"{market_id(product)}"'
        f',"U":{update.first_id},"u":{update.last_id}'
        f',"b":[{_levels(product, update.changes, "bid")}],"a":[{_levels(product, update.changes, "ask")}]}}'
    ).encode()


def depth_snapshot(product: Product, book: Book, limit: int) -> bytes:
    bids, asks = (
        [[_price(product, price), _amount(product, amount)] for price, amount in side.levels(limit)]
        for side in (book.bid, book.ask)
    )
    return msgspec.json.encode({"lastUpdateId": book.update_id, "bids": bids, "asks": asks})


def ticker(product: Product, event: Ticker, now_ns: int) -> bytes:
    quote_volume = rescaled(event.quote_volume, product.price_decimals + product.amount_decimals, DECIMALS)
    change = event.last - event.open
    return (
        f'{{"e":"24hrTicker","E":{now_ns // 1_000_000},"s":"{market_id(product)}","p":"{_price(product, change)}"'
        f',"P":"{change * 100 / event.open:.3f}","w":"{_price(product, event.quote_volume // event.volume)}"'
        f',"x":"{_price(product, event.open)}","c":"{_price(product, event.last)}"'
        f',"Q":"{_amount(product, event.last_amount)}"'
        f',"b":"{_price(product, event.bid)}","B":"{_amount(product, event.bid_amount)}"'
        f',"a":"{_price(product, event.ask)}","A":"{_amount(product, event.ask_amount)}"'
        f',"o":"{_price(product, event.open)}","h":"{_price(product, event.high)}","l":"{_price(product, event.low)}"'
        f',"v":"{_amount(product, event.volume)}","q":"{decimal(quote_volume, DECIMALS)}"'
        f',"O":{event.open_ns // 1_000_000},"C":{now_ns // 1_000_000},"F":{event.first_trade_id}'
        f',"L":{event.last_trade_id},"n":{event.last_trade_id - event.first_trade_id + 1}}}'
    ).encode()


def mini_ticker(product: Product, event: Ticker, now_ns: int) -> bytes:
    quote_volume = rescaled(event.quote_volume, product.price_decimals + product.amount_decimals, DECIMALS)
    return (
        f'{{"e":"24hrMiniTicker","E":{now_ns // 1_000_000},"s":"{market_id(product)}"'
        f',"c":"{_price(product, event.last)}","o":"{_price(product, event.open)}"'
        f',"h":"{_price(product, event.high)}","l":"{_price(product, event.low)}"'
        f',"v":"{_amount(product, event.volume)}","q":"{decimal(quote_volume, DECIMALS)}"}}'
    ).encode()


def book_ticker(product: Product, event: Ticker, update_id: int) -> bytes:
    return (
        f'{{"u":{update_id},"s":"{market_id(product)}"'
        f',"b":"{_price(product, event.bid)}","B":"{_amount(product, event.bid_amount)}"'
        f',"a":"{_price(product, event.ask)}","A":"{_amount(product, event.ask_amount)}"}}'
    ).encode()


def error(message: str, request_id: object = None) -> bytes:
    return msgspec.json.encode({"error": {"code": 2, "msg": f"Invalid request: {message}"}, "id": request_id})


def exchange_info(products: Iterable[Product], now_ns: int) -> bytes:
    return msgspec.json.encode({
        "timezone": "UTC",
        "serverTime": now_ns // 1_000_000,
        "rateLimits": [],
        "exchangeFilters": [],
        "symbols": [_symbol(product) for product in products],
    })  # fmt: skip


def _symbol(product: Product) -> dict[str, object]:
    tick, lot = decimal(1, product.price_decimals), decimal(1, product.amount_decimals)
    return {
        "symbol": market_id(product),
        "status": "TRADING",
        "baseAsset": product.base,
        "baseAssetPrecision": DECIMALS,
        "quoteAsset": product.quote,
        "quotePrecision": DECIMALS,
        "quoteAssetPrecision": DECIMALS,
        "orderTypes": ["LIMIT", "MARKET"],
        "icebergAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "permissions": ["SPOT"],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "9000.00000000", "stepSize": lot},
        ],
    }
