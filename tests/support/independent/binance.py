"""Binance spot and USDⓈ-M futures: trade, bookTicker, diff depth, with the REST snapshot in its place among the frames.

developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and
…/derivatives/usds-margined-futures/websocket-market-streams/How-to-manage-a-local-order-book-correctly (2026-11).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from daedalus.records import BidAsk, Trade
from support.independent.said import PlainBook, Said


def said(frames: Iterable[tuple[str, bytes]], symbol: str, *, futures: bool) -> Said:
    """`frames`: stream and payload; the snapshot's stream is ''."""
    found = Said()
    book, nonce, early = PlainBook(), 0, list[dict[str, Any]]()

    def follows(change: dict[str, Any]) -> bool:
        """False: the book has it already."""
        if futures:
            assert change["u"] < nonce or change["pu"] == nonce or change["U"] <= nonce <= change["u"]
            return bool(change["u"] >= nonce)
        assert change["U"] <= nonce + 1
        return bool(change["u"] > nonce)

    for stream, payload in frames:
        if stream.endswith("@trade"):
            frame = json.loads(payload)
            side = "sell" if frame["m"] else "buy"
            price, amount = float(frame["p"]), float(frame["q"])
            found.trade[symbol].append(Trade(0, frame["T"] * 1_000, str(frame["t"]), price, amount, side))  # type: ignore[arg-type]  # a Literal
        elif stream.endswith("@bookTicker"):
            frame = json.loads(payload)
            time_us = frame["E"] * 1_000 if futures else None  # spot tells none
            bid, bid_amount, ask, ask_amount = (float(frame[key]) for key in ("b", "B", "a", "A"))
            found.bidask[symbol].append(BidAsk(0, time_us, frame["u"], bid, bid_amount, ask, ask_amount))
        elif not stream:
            frame = json.loads(payload)
            book.put(frame["bids"], frame["asks"])
            nonce, time_ms = frame["lastUpdateId"], frame.get("T")
            for change in filter(follows, early):
                book.put(change["b"], change["a"])
                nonce, time_ms = change["u"], change["E"]
            found.orderbook[symbol].append(book.state(None if time_ms is None else time_ms * 1_000, nonce))
        elif "@depth" in stream:
            frame = json.loads(payload)
            if not nonce:
                early.append(frame)
            elif follows(frame):
                book.put(frame["b"], frame["a"])
                nonce = frame["u"]
                found.orderbook[symbol].append(book.state(frame["E"] * 1_000, nonce))
    return found
