"""One subscription on a call that fails as ccxt's do; with real, short waits."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ccxt.base.errors import (
    AuthenticationError,
    BadRequest,
    BadSymbol,
    ExchangeError,
    NetworkError,
    NotSupported,
    PermissionDenied,
)

from daedalus.config import Ingestion
from daedalus_collector.pace import Pace
from daedalus_collector.plan import WatchCall
from daedalus_collector.subscription import Subscription
from support.eventually import eventually

INGESTION = Ingestion(reconnect_delay=0.01)


class Calls:
    """A watch call that does what a list says, one after the other, then returns at once for ever."""

    def __init__(self, *outcomes: BaseException | Callable[[], Any]) -> None:
        self.outcomes = list(outcomes)
        self.times: list[float] = []

    async def __call__(self, _symbols: list[str]) -> None:
        self.times.append(time.monotonic())
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, BaseException):
            raise outcome
        if outcome is not None:
            await outcome()


def made(
    calls: Calls, ingestion: Ingestion = INGESTION, pace: Pace | None = None, symbols: tuple[str, ...] = ("BTC/USD",)
) -> tuple[Subscription, Counter[str]]:
    errors: Counter[str] = Counter()
    call = WatchCall("trade", symbols, calls)

    def count(error: BaseException) -> None:
        errors[type(error).__name__] += 1

    return Subscription("kraken", call, ingestion, pace or Pace(0.0, 5), count), errors


@pytest.mark.parametrize("error", [BadSymbol("no such"), AuthenticationError("no key")])
async def test_a_permanent_error_ends_the_subscription(error: Exception) -> None:
    """Once, with its reason; nothing is tried again."""
    calls = Calls(error)
    subscription, errors = made(calls)
    await asyncio.wait_for(subscription.keep(), 5)
    assert subscription.state == "refused"
    assert str(error) in (subscription.problem or "")
    assert errors == {type(error).__name__: 1}
    assert len(calls.times) == 1


@pytest.mark.parametrize(
    "errors",
    [[BadSymbol("x")], [BadRequest("x")], [NotSupported("x")], [PermissionDenied("x")], [ExchangeError("x")] * 3],
)
async def test_a_bulk_call_that_is_refused_is_to_be_split(errors: list[Exception]) -> None:
    """One symbol may be to blame, and the others shall not pay; ccxt forgets what it takes for subscribed."""
    client = SimpleNamespace(url="wss://x", connected_ns=1, subscriptions={"trade::BTC/USD": True})
    calls = Calls(*errors)
    subscription, _ = made(calls, symbols=("BTC/USD", "ETH/USD", "XRP/USD"))
    subscription.watched(client, ["trade::BTC/USD"])  # type: ignore[arg-type]
    await asyncio.wait_for(subscription.keep(), 5)
    assert subscription.state == "split"
    assert client.subscriptions == {}
    assert [half.symbols for half in subscription.call.halves()] == [("BTC/USD",), ("ETH/USD", "XRP/USD")]
    assert len(calls.times) == len(errors)


async def test_a_bulk_call_that_was_good_is_not_split_for_an_error_that_says_nothing() -> None:
    """An exchange in trouble refuses everything, and each call of a few may cost a connection of its own."""
    calls = Calls(lambda: asyncio.sleep(0), *[ExchangeError("x")] * 4)
    subscription, errors = made(calls, symbols=("BTC/USD", "ETH/USD"))
    task = asyncio.create_task(subscription.keep())
    await eventually(lambda: errors["ExchangeError"] == 4 and subscription.state == "active", "it recovers")
    task.cancel()


async def test_other_errors_are_tried_again() -> None:
    """Network, exchange, and what ccxt itself stumbles over; then it is active and has no problem."""
    calls = Calls(NetworkError("gone"), ExchangeError("no"), KeyError("ccxt"), asyncio.CancelledError())
    subscription, errors = made(calls)
    task = asyncio.create_task(subscription.keep())
    await eventually(lambda: subscription.state == "active", "it recovers")
    assert subscription.problem is None
    assert errors == {"NetworkError": 1, "ExchangeError": 1, "KeyError": 1, "CancelledError": 1}
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled(), "our own cancellation ends it"


async def test_a_refused_subscription_is_asked_for_again() -> None:
    """ccxt takes it for one that stands, and would never send it again: its hashes are forgotten."""
    client = SimpleNamespace(url="wss://x", connected_ns=1, subscriptions={"trade::BTC/USD": True, "other": True})
    calls = Calls(ExchangeError("refused"))
    subscription, _ = made(calls)
    subscription.watched(client, ["trade::BTC/USD"])  # type: ignore[arg-type]
    task = asyncio.create_task(subscription.keep())
    await eventually(lambda: subscription.state == "active", "it recovers")
    assert client.subscriptions == {"other": True}
    task.cancel()


async def test_a_loss_that_no_call_noticed_is_a_failure_too() -> None:
    """ccxt would dial again silently and at once with the next call."""
    client = SimpleNamespace(url="wss://x", connected_ns=1, subscriptions={})
    subscription, errors = made(Calls())
    subscription.watched(client, [])  # type: ignore[arg-type]
    task = asyncio.create_task(subscription.keep())
    await eventually(lambda: subscription.state == "active", "it is active")
    subscription.lost(SimpleNamespace(url="wss://x"), "another connection")  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    assert errors == {}
    subscription.lost(client, "code 1006")  # type: ignore[arg-type]
    await eventually(lambda: errors["NetworkError"] == 1, "the loss counts")
    await eventually(lambda: subscription.state == "active", "it recovers")
    task.cancel()


async def test_a_quiet_market_is_active_once_it_is_subscribed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call waits for the first trade, which may take hours."""
    monkeypatch.setattr("daedalus_collector.subscription.START_SECONDS", 0.05)
    client = SimpleNamespace(url="wss://x", connected_ns=1, subscriptions={})
    subscription, _ = made(Calls(asyncio.Event().wait))
    subscription.watched(client, [])  # type: ignore[arg-type]
    task = asyncio.create_task(subscription.keep())
    await eventually(lambda: subscription.state == "active", "it is active")
    task.cancel()
    await asyncio.wait({task})


async def test_nothing_starts_while_the_exchange_wants_to_be_left_alone() -> None:
    """However short the delay of the subscription itself."""
    pace, calls = Pace(0.0, 5), Calls()
    held_at = time.monotonic()
    pace.hold(0.3)
    pace.hold(0.1)
    subscription, _ = made(calls, pace=pace)
    task = asyncio.create_task(subscription.keep())
    await eventually(lambda: bool(calls.times), "it starts")
    assert calls.times[0] - held_at >= 0.3
    task.cancel()


async def test_starts_are_paced() -> None:
    """So many at a time, so far apart."""
    at_once: list[int] = []
    running = 0

    async def slow() -> None:
        nonlocal running
        running += 1
        at_once.append(running)
        await asyncio.sleep(0.1)
        running -= 1

    pace = Pace(0.02, 2)
    all_calls = [Calls(slow) for _ in range(5)]
    subscriptions = [made(calls, pace=pace)[0] for calls in all_calls]
    tasks = [asyncio.create_task(subscription.keep()) for subscription in subscriptions]
    await eventually(lambda: all(subscription.state == "active" for subscription in subscriptions), "all started")
    starts = sorted(calls.times[0] for calls in all_calls)
    assert max(at_once) == 2
    assert starts[1] - starts[0] >= 0.019
    assert starts[4] - starts[0] >= 0.2
    for task in tasks:
        task.cancel()
