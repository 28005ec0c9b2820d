from __future__ import annotations

import time
from collections import Counter

from prometheus_client import CollectorRegistry

from daedalus.records import Trade
from daedalus_collector.checks import outbox_check, silence_check, subscriptions_check
from daedalus_collector.metrics import Metrics
from daedalus_collector.outbox import Outbox, OutboxLimits


class FakeFeed:
    def __init__(self, problems: dict[str, str], starting: int) -> None:
        self.market_ids: dict[str, str] = {}
        self._problems, self._starting = problems, starting

    def problems(self) -> dict[str, str]:
        return self._problems

    def subscriptions(self) -> Counter[str]:
        return Counter(starting=self._starting, active=3)

    def connections(self) -> int:
        return 1

    async def run(self) -> None: ...
    def drain(self) -> None: ...
    async def close(self) -> None: ...


def test_the_outbox_is_a_problem_from_80_percent_on() -> None:
    """Told with what waits, the threshold and what to do."""
    limits = OutboxLimits(batch_records=10, batch_bytes=10_000, linger_ns=1, records=10, bytes=1_000_000)
    outbox = Outbox("kraken", "one", "b0", limits)
    check, line = outbox_check(outbox), outbox.line("trade", "BTC/USD")
    for _ in range(7):
        outbox.add(line, Trade(0, None, None, 1.0, 1.0, None))
    assert check() is None
    outbox.add(line, Trade(0, None, None, 1.0, 1.0, None))
    assert (check() or "").startswith("the outbox is 80 % full (threshold 80 %): 8 records")


def test_every_subscription_is_active_or_told() -> None:
    """The first five problems with their reasons, the rest as a number; waiting for first data is a problem too."""
    assert subscriptions_check(FakeFeed({}, 0))() is None
    assert subscriptions_check(FakeFeed({}, 2))() == "2 symbols and channels wait for their first data"
    many = {f"trade C{number}/USD": "refused" for number in range(7)}
    told = subscriptions_check(FakeFeed(many, 0))() or ""
    assert told.startswith("trade C0/USD: refused; ")
    assert told.endswith("and 2 more")


def test_silence_is_a_problem() -> None:
    """No data at all, or none for longer than silence_seconds, over all channels."""
    metrics = Metrics(CollectorRegistry(), "kraken")
    check = silence_check(metrics, 60)
    assert check() == "no data received yet"
    metrics.last_data_ns["trade"] = time.time_ns() - 100 * 10**9
    assert (check() or "").startswith("no data for 100 s")
    metrics.last_data_ns["ticker"] = time.time_ns()
    assert check() is None


def test_frames_are_no_data_where_they_are_parsed_too() -> None:
    """Heartbeats are frames; where nothing is parsed, frames are all there is to see."""
    for channels, problem in ((("raw", "trade"), "no data received yet"), (("raw",), None)):
        metrics = Metrics(CollectorRegistry(), "kraken")
        metrics.received.update(dict.fromkeys(channels, 0))
        metrics.last_data_ns["raw"] = time.time_ns()
        assert silence_check(metrics, 60)() == problem
