"""Patterns are resolved at the start, and again; a failure changes nothing."""

from __future__ import annotations

import asyncio

from daedalus.config import Channels, Exchange, Ingestion
from daedalus_collector.feed import Pair
from daedalus_collector.listing import Listing

SETTINGS = Exchange(channels=Channels(trade=["*/USD"], ticker=["*/GBP", "A/USD"]), symbols_refresh_seconds=1)


class Markets:
    """What the exchange lists, one answer after the other; the last one stays."""

    def __init__(self, *answers: list[str] | OSError) -> None:
        self.answers = list(answers)

    def __call__(self, _name: str, _settings: Exchange) -> list[str]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


def listing(*answers: list[str] | OSError, settings: Exchange = SETTINGS) -> Listing:
    return Listing("kraken", settings, Ingestion(reconnect_delay=0.001), Markets(*answers))


async def test_the_start_waits_for_the_markets() -> None:
    """A failure is told and tried again; a pattern that matches nothing is a told problem."""
    found = listing(OSError("down"), [], ["A/USD", "B/USD", "A/USD:USD"])
    settings = await found.first()
    assert settings.channels.trade == ["A/USD", "B/USD"]
    assert settings.channels.ticker == ["A/USD"]
    assert found.problem() == "no active market of kraken matches ticker */GBP: correct the configuration"


async def test_without_patterns_nobody_is_asked() -> None:
    """Names need no market list."""
    names = Exchange(channels=Channels(trade=["A/USD"]))
    found = listing(OSError("must not be asked"), settings=names)
    assert await found.first() is names
    assert found.problem() is None


async def test_what_is_listed_later_is_told() -> None:
    """New symbols come and old ones go; a load that fails changes nothing but is a problem."""
    changes: list[list[Pair]] = []
    found = listing(["A/USD"], OSError("down"), ["A/USD"], ["B/USD", "X/GBP"])
    await found.first()
    found._refresh_seconds = 0.001
    seen = asyncio.Event()

    async def on_change(pairs: list[Pair]) -> None:
        changes.append(pairs)
        seen.set()

    running = asyncio.create_task(found.run(on_change))
    await asyncio.wait_for(seen.wait(), 5)
    running.cancel()
    asked = [Pair("ticker", "A/USD"), Pair("ticker", "X/GBP"), Pair("trade", "B/USD")]
    assert sorted(changes[0]) == asked
    assert found.problem() is None
