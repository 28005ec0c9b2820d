"""OKX v5: trades, tickers, books. Each frame of a book carries a checksum of its 25 best levels: the exchange's own word
on whether the book is kept right, and so on the reading here.

www.okx.com/docs-v5/en: "WS / Trades channel", "WS / Tickers channel", "WS / Order book channel", "Checksum" (2026-11).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import chain, zip_longest
from zlib import crc32

from daedalus.records import Ticker, Trade
from support.independent.said import PlainBook, Said

CHECKED = 25


class CheckedBook(PlainBook):
    """Keeps the levels as printed, too: the checksum is of the texts."""

    def __init__(self) -> None:
        super().__init__()
        self.printed: dict[tuple[str, float], tuple[str, str]] = {}

    def take(self, frame: Mapping[str, list[list[str]]]) -> None:
        self.put(frame["bids"], frame["asks"])
        for side in ("bids", "asks"):
            for price, amount, *_ in frame[side]:
                self.printed[side, float(price)] = price, amount

    @property
    def checksum(self) -> int:
        """Signed, of bid:amount:ask:amount:bid:…"""
        best_bids, best_asks = self.bids.prices[: -CHECKED - 1 : -1], self.asks.prices[:CHECKED]
        bids = [self.printed["bids", price] for price in best_bids]
        asks = [self.printed["asks", price] for price in best_asks]
        levels = chain.from_iterable(zip_longest(bids, asks, fillvalue=()))
        unsigned = crc32(":".join(chain.from_iterable(levels)).encode())
        return unsigned - (1 << 32) if unsigned >= 1 << 31 else unsigned


def said(frames: Iterable[bytes], symbols: Mapping[str, str]) -> Said:
    """`symbols`: OKX's name → unified symbol."""
    found, books = Said(), dict[str, CheckedBook]()
    for payload in frames:
        frame = json.loads(payload)
        if "data" not in frame:
            continue
        symbol, channel = symbols[frame["arg"]["instId"]], frame["arg"]["channel"]
        for data in frame["data"]:
            time_us = int(data["ts"]) * 1_000
            if channel == "trades":
                price, amount = float(data["px"]), float(data["sz"])
                found.trade[symbol].append(Trade(0, time_us, data["tradeId"], price, amount, data["side"]))
            elif channel == "tickers":
                found.ticker[symbol].append(_ticker(data, time_us))
            else:
                if frame["action"] == "snapshot":
                    books[symbol] = CheckedBook()
                books[symbol].take(data)
                assert books[symbol].checksum == data["checksum"]
                found.orderbook[symbol].append(books[symbol].state(time_us, None))
    return found


def _ticker(data: Mapping[str, str], time_us: int) -> Ticker:
    """Volumes of derivatives are contracts, and `volCcy24h` there is no sum of money."""
    return Ticker(
        received_ns=0,
        timestamp_us=time_us,
        last=float(data["last"]),
        bid=float(data["bidPx"]),
        bid_amount=float(data["bidSz"]),
        ask=float(data["askPx"]),
        ask_amount=float(data["askSz"]),
        open=float(data["open24h"]),
        high=float(data["high24h"]),
        low=float(data["low24h"]),
        vwap=None,
        base_volume=float(data["vol24h"]),
        quote_volume=float(data["volCcy24h"]) if data["instType"] == "SPOT" else None,
    )
