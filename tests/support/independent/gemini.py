"""Gemini's market data version 2: l2, which is the changes of the book and the trades.

docs.gemini.com/websocket-api, "Market Data Version 2": the first message of a market has the whole book and its last trades,
newest first (2026-11).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from daedalus.records import Trade
from support.independent.said import PlainBook, Said


def said(frames: Iterable[bytes], symbols: Mapping[str, str]) -> Said:
    """`symbols`: Gemini's name → unified symbol. A book has neither time nor sequence."""
    found = Said()
    books: dict[str, PlainBook] = defaultdict(PlainBook)
    for payload in frames:
        frame = json.loads(payload)
        if frame["type"] == "trade":
            found.trade[symbols[frame["symbol"]]].append(_trade(frame))
        elif frame["type"] == "l2_updates":
            symbol = symbols[frame["symbol"]]
            found.trade[symbol] += map(_trade, frame.get("trades", ()))
            book = books[symbol]
            for side, price, amount in frame["changes"]:
                (book.bids if side == "buy" else book.asks).put(float(price), float(amount))
            found.orderbook[symbol].append(book.state(None, None))
    return found


def _trade(data: Mapping[str, Any]) -> Trade:
    price, amount = float(data["price"]), float(data["quantity"])
    return Trade(0, data["timestamp"] * 1_000, str(data["event_id"]), price, amount, data["side"])
