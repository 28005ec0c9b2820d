"""A seed's example: which exchange, how many collectors, and what happens to them when. Pure: a seed is a plan."""

from __future__ import annotations

import random
from typing import Literal, NamedTuple

from support.feeds import CHANNELS, FeedName

FEEDS: tuple[tuple[str, FeedName], ...] = (
    ("coinbase", "native"), ("kraken", "ccxt"), ("binance", "native"), ("okx", "ccxt"), ("bybit", "ccxt"),
    ("coinbase", "ccxt"), ("binance", "ccxt"),
)  # fmt: skip
"""By the seed in turn, so that a few seeds have them all."""
SPAN_SECONDS = 1.5
"""In which everything begins."""
SILENCE_SECONDS = 1.5
MOST_REPLICAS = 3
FULL_SHARE = 0.25
"""Of the seeds have a stream that refuses what is published."""

Kind = Literal[
    "burst", "close", "reset", "freeze", "garbage", "sequence_gap", "refuse",
    "scale_up", "stop", "kill", "broker_kill", "broker_freeze", "stream_full",
]  # fmt: skip
_WEIGHTS: dict[Kind, int] = {
    "burst": 5, "close": 3, "reset": 2, "freeze": 3, "garbage": 2, "sequence_gap": 3, "refuse": 1,
    "scale_up": 3, "stop": 2, "kill": 3, "broker_kill": 3, "broker_freeze": 2,
}  # fmt: skip


class Event(NamedTuple):
    """`seconds`: how long it lasts, where it lasts; `channel` and `frames` where they mean something."""

    at_seconds: float
    kind: Kind
    seconds: float
    channel: str
    frames: int


class Plan(NamedTuple):
    seed: int
    exchange: str
    feed: FeedName
    symbols: int
    replicas: int
    redundancy: int
    queue_records: int
    spill_mb: int
    linger_ms: int
    events: tuple[Event, ...]

    @property
    def alone(self) -> bool:
        """One collector from beginning to end."""
        return self.replicas == 1 and not {event.kind for event in self.events} & {"scale_up", "stop", "kill"}


def plan_of(seed: int) -> Plan:
    chance = random.Random(seed)
    exchange, feed = FEEDS[seed % len(FEEDS)]
    replicas = chance.choice((1, 1, 2, 3))
    return Plan(
        seed=seed,
        exchange=exchange,
        feed=feed,
        symbols=chance.choice((1, 2, 3)),
        replicas=replicas,
        redundancy=chance.choice((1, 1, min(2, replicas))),
        queue_records=chance.choice((30, 100, 50_000)),
        spill_mb=chance.choice((0, 0, 1)),
        linger_ms=chance.choice((0, 50, 200)),
        events=tuple(sorted([*(_event(chance) for _ in range(chance.randint(2, 6))), *_full(seed)])),
    )


def _full(seed: int) -> list[Event]:
    """By a chance of its own, so that the other events of a seed are what they were."""
    chance = random.Random(f"full {seed}")
    at_seconds, seconds = round(chance.uniform(0, SPAN_SECONDS), 3), chance.choice((0.2, 0.8))
    return [Event(at_seconds, "stream_full", seconds, "trade", 0)] if chance.random() < FULL_SHARE else []


def _event(chance: random.Random) -> Event:
    kind: Kind = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    return Event(
        at_seconds=round(chance.uniform(0, SPAN_SECONDS), 3),
        kind=kind,
        seconds=chance.choice((0.2, 0.6, SILENCE_SECONDS + 1.5)) if kind == "freeze" else chance.choice((0.2, 0.8)),
        channel=chance.choice(CHANNELS),
        frames=chance.choice((5, 50, 200)),
    )
