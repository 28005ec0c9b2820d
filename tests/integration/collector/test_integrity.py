"""Books that went wrong on an unbroken connection."""

from __future__ import annotations

import asyncio
from struct import unpack

import pytest

from daedalus.records import OrderBook
from daedalus_collector import checked_books
from simulator import Fault, Rates, Simulator
from support.eventually import eventually
from support.feeds import SYMBOLS, RunningFeed, running, settings, subscribed

FAULTS = 4
"""More than books: one that gave way after its first would not be noticed again."""
BUSY = Rates(trades=20, tickers=1, books=60)


def _books(run: RunningFeed, symbol: str) -> list[OrderBook]:
    return [book for book in run.recorded.records("orderbook", symbol) if isinstance(book, OrderBook)]


async def _broken(simulator: Simulator, run: RunningFeed, errors: int) -> None:
    """Drop frames until one is missed: the next one may say what it said, or its level may leave the window."""
    async with asyncio.timeout(20):
        while run.metrics.errors["ChecksumError"] < errors:
            assert simulator.fault(Fault("kraken", "sequence_gap")) == 1
            await asyncio.sleep(0.3)


async def test_a_book_that_differs_from_its_checksum_is_built_anew() -> None:
    """Kraken's book lost a frame: a gap of that book alone, a new snapshot on the same connection; as often as it happens."""
    async with (
        Simulator(["kraken"], symbols={"kraken": SYMBOLS["kraken"]}, rates=BUSY, levels=50) as simulator,
        running("kraken", settings(simulator, SYMBOLS["kraken"], channels=("trade", "orderbook"))) as run,
    ):
        await subscribed(simulator, "kraken", ("trade", "orderbook"))
        await eventually(lambda: all(len(_books(run, symbol)) > 30 for symbol in SYMBOLS["kraken"]), "books flow")
        assert not run.metrics.errors
        for number in range(1, FAULTS + 1):
            await _broken(simulator, run, number)
            before = {symbol: len(_books(run, symbol)) for symbol in SYMBOLS["kraken"]}
            await eventually(
                lambda before=before: all(len(_books(run, symbol)) > seen + 10 for symbol, seen in before.items()),  # type: ignore[misc]
                "every book goes on",
            )
        await simulator.pause()
        await asyncio.sleep(0.2)
        gaps = [gap for symbol in SYMBOLS["kraken"] for gap in run.recorded.gaps(symbol)]
        assert [(gap.channel, gap.cause) for gap in gaps] == [("orderbook", "sequence_gap")] * run.metrics.errors[
            "ChecksumError"
        ]
        assert simulator.counts().connections["kraken"].accepted == 1
        for symbol in SYMBOLS["kraken"]:
            last, told = _books(run, symbol)[-1], simulator.book("kraken", symbol)
            assert list(unpack(f"<{len(last.bid_prices) // 8}d", last.bid_prices)) == told[0][:10]
            assert list(unpack(f"<{len(last.ask_prices) // 8}d", last.ask_prices)) == told[1][:10]


async def test_a_check_that_is_wrong_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Already the snapshots differ: the books are recorded all the same, without gaps."""
    monkeypatch.setattr(checked_books, "book_checksum", lambda *_: 1)
    async with (
        Simulator(["kraken"], symbols={"kraken": SYMBOLS["kraken"]}, rates=BUSY, levels=50) as simulator,
        running("kraken", settings(simulator, SYMBOLS["kraken"], channels=("orderbook",))) as run,
    ):
        await eventually(lambda: all(len(_books(run, symbol)) > 30 for symbol in SYMBOLS["kraken"]), "books flow")
        assert not any(run.recorded.gaps(symbol) for symbol in SYMBOLS["kraken"])
