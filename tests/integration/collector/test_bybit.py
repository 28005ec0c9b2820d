"""Bybit through ccxt, where the exchange is stricter than ccxt takes it for."""

from __future__ import annotations

import pytest

from daedalus_collector.bybit import Numbers
from daedalus_collector.feed import Pair
from simulator import Rates
from support.eventually import eventually
from support.feeds import CHANNELS, Simulated, simulated

BUSY = Rates(trades=20, tickers=10, books=60)
SYMBOL = "BTC/USDT"


async def test_an_error_on_a_quiet_market_takes_nothing_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """ccxt subscribes again what stands, Bybit refuses such a request: it is well all the same, and records what comes."""
    monkeypatch.setattr("daedalus_collector.subscription.START_SECONDS", 0.5)
    async with simulated(Rates(0, 0, 0), exchanges={"ccxt": ["bybit"]}) as (one,):
        await one.subscribed()
        await eventually(lambda: one.counts(["orderbook"])[Pair("orderbook", SYMBOL)] == 1, "the snapshot is there")
        one.strike("error")
        await eventually(lambda: bool(one.run.metrics.errors["ExchangeError"]), "the error is told")
        await eventually(lambda: one.run.feed.subscriptions()["active"] == 6, "everything is active")
        for channel in CHANNELS:
            await one.simulator.burst(one.exchange, channel, 20)
        await eventually(lambda: not one.missing(), "everything sent is recorded")
        await eventually(lambda: one.run.feed.problems() == {}, "there is no problem")
        assert one.run.feed.subscriptions()["active"] == 6


async def lost(one: Simulated, gaps: int) -> None:
    """Drop a frame of a book, and see it told."""
    one.strike("sequence_gap")
    await eventually(
        lambda: sum(len(one.run.recorded.gaps(symbol)) for symbol in one.symbols) == gaps, "its gap is written"
    )
    await one.flows()


async def test_a_book_is_built_anew_as_often_as_it_loses_an_update() -> None:
    """Each time a gap of that book alone, on the same connection; afterwards it is what the exchange has."""
    async with simulated(BUSY, exchanges={"ccxt": ["bybit"]}) as (one,):
        await one.flows()
        for number in range(1, 4):
            await lost(one, number)
        gaps = [gap for symbol in one.symbols for gap in one.run.recorded.gaps(symbol)]
        assert {(gap.channel, gap.cause) for gap in gaps} == {("orderbook", "sequence_gap")}
        assert (one.clients.accepted, one.run.metrics.errors) == (1, {"InvalidNonce": 3})


async def test_a_check_that_is_wrong_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers with holes: after its second snapshot a book is recorded unchecked, with one gap and no more."""
    judge = Numbers.judge

    def doubled(self: Numbers, book: str, number: int, *, snapshot: bool) -> str:
        return judge(self, book, 2 * number, snapshot=snapshot)

    monkeypatch.setattr(Numbers, "judge", doubled)
    async with simulated(BUSY, exchanges={"ccxt": ["bybit"]}) as (one,):
        await eventually(
            lambda: all(len(one.run.recorded.records("orderbook", symbol)) > 30 for symbol in one.symbols), "books flow"
        )
        assert [len(one.run.recorded.gaps(symbol)) for symbol in one.symbols] == [1, 1]
