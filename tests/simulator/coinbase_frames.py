"""Coinbase Advanced Trade's frames and REST answers as text, from market events. Pure.

Shapes: docs.cdp.coinbase.com, "Advanced Trade WebSocket channels" and "List public products", read 2026-11; field order and
number formats as in frames of 2026-08. ``sequence_num`` differs for every connection, so events are made once and the
envelope for each.
"""

from collections.abc import Iterable, Sequence

import msgspec

from simulator.book import Book, Change
from simulator.fixed import decimal, rfc3339
from simulator.market import Ticker, Trade
from simulator.product import Product

WIRE_SIDES = {"bid": "bid", "ask": "offer"}
# The snapshot's levels have no event time of their own.
NO_TIME = "1970-01-01T00:00:00Z"


def product_id(product: Product) -> str:
    return f"{product.base}-{product.quote}"


def envelope(channel: str, events: str, sequence: int, now_ns: int) -> bytes:
    time = rfc3339(now_ns, 9)
    return f'{{"channel":"{channel}","timestamp":"{time}","sequence_num":{sequence},"events":[{events}]}}'.encode()


def trades_event(product: Product, trades: Sequence[Trade], kind: str) -> str:
    """``trades`` oldest first; the wire has the newest first."""
    return f'{{"type":"{kind}","trades":[{_listed(product, trades)}]}}'


def trades_body(product: Product, trades: Sequence[Trade]) -> bytes:
    """The REST answer, of the same form."""
    return f'{{"trades":[{_listed(product, trades)}],"best_bid":"","best_ask":""}}'.encode()


def _listed(product: Product, trades: Sequence[Trade]) -> str:
    name = product_id(product)
    return ",".join(
        f'{{"trade_id":"{trade.id}","product_id":"{name}","price":"{decimal(trade.price, product.price_decimals)}"'
        f',"size":"{decimal(trade.amount, product.amount_decimals)}","time":"{rfc3339(trade.time_ns, 6)}"'
        f',"side":"{trade.side.upper()}"}}'
        for trade in reversed(trades)
    )


def _levels(product: Product, changes: Iterable[Change], time: str) -> str:
    return ",".join(
        f'{{"side":"{WIRE_SIDES[change.side]}","event_time":"{time}"'
        f',"price_level":"{decimal(change.price, product.price_decimals)}"'
        f',"new_quantity":"{decimal(change.amount, product.amount_decimals) if change.amount else "0"}"}}'
        for change in changes
    )


def update_event(product: Product, changes: Sequence[Change], now_ns: int) -> str:
    listed = _levels(product, changes, rfc3339(now_ns, 6))
    return f'{{"type":"update","product_id":"{product_id(product)}","updates":[{listed}]}}'


def snapshot_event(product: Product, book: Book) -> str:
    """The whole book: level2 has no depth limit."""
    changes = (
        Change(side.name, price, amount) for side in (book.bid, book.ask) for price, amount in side.levels(len(side))
    )
    listed = _levels(product, changes, NO_TIME)
    return f'{{"type":"snapshot","product_id":"{product_id(product)}","updates":[{listed}]}}'


def ticker_event(product: Product, ticker: Ticker, kind: str, *, batch: bool) -> str:
    """``ticker_batch`` has no best bid and ask."""

    def price(value: int) -> str:
        return decimal(value, product.price_decimals)

    def amount(value: int) -> str:
        return decimal(value, product.amount_decimals)

    best = (
        ""
        if batch
        else f',"best_bid":"{price(ticker.bid)}","best_bid_quantity":"{amount(ticker.bid_amount)}"'
        f',"best_ask":"{price(ticker.ask)}","best_ask_quantity":"{amount(ticker.ask_amount)}"'
    )
    return (
        f'{{"type":"{kind}","tickers":[{{"type":"ticker","product_id":"{product_id(product)}"'
        f',"price":"{price(ticker.last)}","volume_24_h":"{amount(ticker.volume)}"'
        f',"low_24_h":"{price(ticker.low)}","high_24_h":"{price(ticker.high)}"'
        f',"low_52_w":"{price(ticker.low // 2)}","high_52_w":"{price(ticker.high * 2)}"'
        f',"price_percent_chg_24_h":"{(ticker.last - ticker.open) * 100 / ticker.open:.14f}"{best}}}]}}'
    )


def heartbeat_event(counter: int, now_ns: int) -> str:
    time = rfc3339(now_ns, 9)
    return f'{{"current_time":"{time[:10]} {time[11:-1]} +0000 UTC m=+{counter}.0","heartbeat_counter":{counter}}}'


def error(message: str) -> bytes:
    return msgspec.json.encode({"type": "error", "message": message})


def products_body(products: Iterable[Product]) -> bytes:
    listed = [_product(product) for product in products]
    return msgspec.json.encode({"products": listed, "num_products": len(listed)})


def _product(product: Product) -> dict[str, object]:
    step = decimal(1, product.price_decimals)
    return {
        "product_id": product_id(product),
        "price": decimal(product.start_price, product.price_decimals),
        "base_increment": decimal(1, product.amount_decimals),
        "quote_increment": step,
        "price_increment": step,
        "quote_min_size": "1",
        "quote_max_size": "150000000",
        "base_min_size": decimal(1, product.amount_decimals),
        "base_max_size": "3400",
        "base_name": product.base,
        "quote_name": "US Dollar",
        "is_disabled": False,
        "status": "online",
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "trading_disabled": False,
        "auction_mode": False,
        "product_type": "SPOT",
        "quote_currency_id": product.quote,
        "base_currency_id": product.base,
        "alias": "",
        "alias_to": [],
        "base_display_symbol": product.base,
        "quote_display_symbol": product.quote,
        "view_only": False,
        "display_name": product_id(product),
        "product_venue": "CBE",
    }


def currencies_body(products: Iterable[Product]) -> bytes:
    quotes = sorted({product.quote for product in products})
    return msgspec.json.encode({"data": [{"id": code, "name": code, "min_size": "0.01"} for code in quotes]})


def crypto_body(products: Iterable[Product]) -> bytes:
    bases = sorted({product.base for product in products})
    return msgspec.json.encode({"data": [{"asset_id": f"asset-{code}", "code": code, "name": code} for code in bases]})


def rates_body(products: Iterable[Product]) -> bytes:
    return msgspec.json.encode({"data": {"currency": "USD", "rates": {product.base: "1" for product in products}}})
