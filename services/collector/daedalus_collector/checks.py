"""The readiness checks: each says its problem, its threshold and what to do, or None."""

from __future__ import annotations

import time

from daedalus.health import Check
from daedalus_collector.feed import Feed
from daedalus_collector.lanes import Lanes
from daedalus_collector.metrics import Metrics
from daedalus_collector.outbox import Outbox

FULL_PERCENT = 80
SHOWN = 5


def outbox_check(outbox: Outbox) -> Check:
    def check() -> str | None:
        used = max(outbox.records * 100 // outbox.limits.records, outbox.bytes * 100 // outbox.limits.bytes)
        if used < FULL_PERCENT:
            return None
        return (
            f"the outbox is {used} % full (threshold {FULL_PERCENT} %): {outbox.records} records, {outbox.bytes} bytes "
            "wait for JetStream; look at the NATS server and its disk, or raise ingestion.queue_maxsize"
        )

    return check


def subscriptions_check(feed: Feed) -> Check:
    def check() -> str | None:
        problems = feed.problems()
        if problems:
            shown = "; ".join(f"{name}: {why}" for name, why in list(problems.items())[:SHOWN])
            more = len(problems) - SHOWN
            return f"{shown}{f'; and {more} more' if more > 0 else ''}"
        starting = feed.subscriptions()["starting"]
        return f"{starting} symbols and channels wait for their first data" if starting else None

    return check


def silence_check(metrics: Metrics, silence_seconds: float, lanes: Lanes | None = None) -> Check:
    """`metrics`: of one exchange. Where there are more replicas than symbols, one has nothing to record."""

    def check() -> str | None:
        if lanes is not None and not lanes.wanted:
            return None
        parsed = any(
            channel != "raw" for channel in metrics.received
        )  # then frames say nothing: heartbeats are some, too
        times = (last_ns for channel, last_ns in metrics.last_data_ns.items() if channel != "raw" or not parsed)
        last_ns = max(times, default=None)
        if last_ns is None:
            return "no data received yet"
        silent = (time.time_ns() - last_ns) / 1e9
        if silent <= silence_seconds:
            return None
        return (
            f"no data for {silent:.0f} s (threshold: silence_seconds {silence_seconds:.0f}); is the exchange reachable?"
        )

    return check
