"""Bitstamp: live_trades, and diff_order_book on the book that REST tells; both are ordered by their microtimestamp.

www.bitstamp.net/websocket/v2: "Live ticker", "Live full order book" (2026-11).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from daedalus.records import Trade
from support.independent.said import PlainBook, Said

SIDES = ("buy", "sell")
"""Of the taker, by `type`."""


def said(frames: Iterable[bytes], snapshots: Mapping[str, bytes], symbols: Mapping[str, str], laid_after: int) -> Said:
    """`snapshots`: by Bitstamp's name of the market, `symbols`: that → unified symbol. `laid_after`: the snapshot of a
    market comes after so many of its changes.
    """
    found = Said()
    books: dict[str, PlainBook] = {}
    early: dict[str, list[dict[str, Any]]] = defaultdict(list)
    nonces: dict[str, int] = {}

    def change(market: str, data: Mapping[str, Any]) -> bool:
        """False: the book has it already."""
        time_us = int(data["microtimestamp"])
        if time_us <= nonces.get(market, 0):
            return False
        books[market].put(data["bids"], data["asks"])
        nonces[market] = time_us
        return True

    for payload in frames:
        frame = json.loads(payload)
        market, data = frame["channel"].rpartition("_")[2], frame["data"]
        symbol = symbols[market]
        if frame["event"] == "trade":
            price, amount = float(data["price_str"]), float(data["amount_str"])
            trade = Trade(0, int(data["microtimestamp"]), str(data["id"]), price, amount, SIDES[data["type"]])  # type: ignore[arg-type]  # a Literal
            found.trade[symbol].append(trade)
        elif frame["event"] == "data" and market not in books:
            early[market].append(data)
            if len(early[market]) == laid_after:
                books[market] = PlainBook()
                for newer in (json.loads(snapshots[market]), *early[market]):
                    change(market, newer)
                found.orderbook[symbol].append(books[market].state(nonces[market], nonces[market]))
        elif frame["event"] == "data" and change(market, data):
            found.orderbook[symbol].append(books[market].state(nonces[market], nonces[market]))
    return found
