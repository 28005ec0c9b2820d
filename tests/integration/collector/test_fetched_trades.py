"""What a feed of ccxt fetches over REST."""

from __future__ import annotations

import msgspec
import pytest

from daedalus.records import Trade
from daedalus_collector.feeds import Fetching
from daedalus_collector.native.rest import RestError
from simulator import Rates, Simulator
from support.eventually import eventually
from support.feeds import running, settings

SYMBOL = "BTC/USDT"


async def test_a_feed_fetches_trades_as_records() -> None:
    """Marked as fetched, and otherwise as they were streamed; what goes wrong is one kind of error, and counted."""
    async with (
        Simulator(["okx"], rates=Rates(trades=100)) as simulator,
        running("okx", settings(simulator, [SYMBOL], channels=["trade"])) as run,
    ):
        assert isinstance(run.feed, Fetching)
        await run.feed.loaded.wait()
        with pytest.raises(RestError, match="BadSymbol"):
            await run.feed.trades("NONE/USDT", None)
        assert run.metrics.errors["BadSymbol"] == 1
        await eventually(lambda: len(run.recorded.records("trade", SYMBOL)) > 20, "trades", 20)
        streamed = list(run.recorded.records("trade", SYMBOL))
        told = await run.feed.trades(SYMBOL, None)
        assert {trade.source for trade in told} == {"backfill"}
        kept = {trade.id: trade for trade in streamed if isinstance(trade, Trade)}
        both = [trade for trade in told if trade.id in kept]
        assert len(both) > 10
        for trade in both:
            assert msgspec.structs.replace(trade, received_ns=kept[trade.id].received_ns, source=None) == kept[trade.id]
        since_ms = (both[5].timestamp_us or 0) // 1_000
        later = await run.feed.trades(SYMBOL, since_ms)
        assert all((trade.timestamp_us or 0) >= since_ms * 1_000 for trade in later)
        run.feed.exchange.has["fetchTrades"] = False  # type: ignore[attr-defined]  # ccxt's
        with pytest.raises(RestError, match="fetches no trades"):
            await run.feed.trades(SYMBOL, None)
