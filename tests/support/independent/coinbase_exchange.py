"""Coinbase Exchange: matches, ticker, level2. `side` of a match is the maker's, so the taker's is the other.

docs.cdp.coinbase.com/exchange/websocket-feed/channels (2026-11).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable

from daedalus.records import Ticker, Trade
from support.independent.said import PlainBook, Said, microseconds

TAKER = {"buy": "sell", "sell": "buy"}


def said(frames: Iterable[bytes]) -> Said:
    found = Said()
    books: dict[str, PlainBook] = defaultdict(PlainBook)
    for payload in frames:
        frame = json.loads(payload)
        symbol = frame.get("product_id", "").replace("-", "/")
        if frame["type"] in ("match", "last_match"):
            price, amount = float(frame["price"]), float(frame["size"])
            trade = Trade(0, microseconds(frame["time"]), str(frame["trade_id"]), price, amount, TAKER[frame["side"]])  # type: ignore[arg-type]  # a Literal
            found.trade[symbol].append(trade)
        elif frame["type"] == "ticker":
            found.ticker[symbol].append(
                Ticker(
                    received_ns=0,
                    timestamp_us=microseconds(frame["time"]),
                    last=float(frame["price"]),
                    bid=float(frame["best_bid"]),
                    bid_amount=None,  # best_bid_size came later than this recording
                    ask=float(frame["best_ask"]),
                    ask_amount=None,
                    open=float(frame["open_24h"]),
                    high=float(frame["high_24h"]),
                    low=float(frame["low_24h"]),
                    vwap=None,
                    base_volume=float(frame["volume_24h"]),
                    quote_volume=None,
                )
            )
        elif frame["type"] == "snapshot":
            book = books[symbol] = PlainBook()
            book.put(frame["bids"], frame["asks"])
            found.orderbook[symbol].append(book.state(None, None))
        elif frame["type"] == "l2update":
            book = books[symbol]
            for side, price, amount in frame["changes"]:
                (book.bids if side == "buy" else book.asks).put(float(price), float(amount))
            found.orderbook[symbol].append(book.state(microseconds(frame["time"]), None))
    return found
