"""What says nothing is noticed by its own cadence, and what the exchange forbids is left: with the cadence's constants cut
to tenths, while `silence_seconds` stays at its 60.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, Literal, cast, get_args

import msgspec
import pytest
from aiohttp import ClientWebSocketResponse

from daedalus.config import Exchange
from daedalus_collector.ccxt_feed import CcxtFeed
from daedalus_collector.feed import Pair
from daedalus_collector.native import FEEDS
from simulator import Fault, Rates, Simulator
from simulator.kraken import Kraken
from support import feeds
from support.eventually import eventually
from support.feeds import SYMBOLS, Running, settings
from support.mute_relay import MuteRelay

LIVELY = Rates(trades=20, tickers=10, books=20)
CHANNELS = ("trade", "ticker", "orderbook")
LEARN_SECONDS = 1.0

Kind = Literal["ccxt", "native"]
BOTH: tuple[tuple[str, Kind], ...] = ("kraken", "ccxt"), ("binance", "native")
"""One of each kind; on one connection each."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (
        ("cadence.LOOK_SECONDS", 0.4),
        ("cadence.FLOOR_SECONDS", 1.0),
        ("cadence.LEARN_SECONDS", LEARN_SECONDS),
        ("cadence.PAIR_FLOOR_SECONDS", 1.0),
        ("cadence.PAIR_LEARN_SECONDS", LEARN_SECONDS),
        ("connections.WATCH_SECONDS", 0.2),
        ("native.feed.WATCH_SECONDS", 0.2),
        ("native.rest.UNHEARD_SECONDS", 0.5),
        ("connections.CLOSE_SECONDS", 1.0),
        ("native.connection.CLOSE_SECONDS", 1.0),
    ):
        monkeypatch.setattr(f"daedalus_collector.{name}", seconds)


def pairs(exchange: str) -> list[Pair]:
    return [Pair(channel, symbol) for channel in CHANNELS for symbol in SYMBOLS[exchange]]


async def flows(run: Running[Any], wanted: list[Pair]) -> None:
    """Wait until each of them has new records."""
    before = {pair: len(run.recorded.records(*pair)) for pair in wanted}
    await eventually(
        lambda: all(len(run.recorded.records(*pair)) > before[pair] + 2 for pair in wanted), "every pair has new data"
    )


async def every_pair_has_one_gap(run: Running[Any], exchange: str, since_ns: int) -> None:
    """Of silence, from the last data on; and data flow again."""
    await eventually(
        lambda: all(len(run.recorded.gaps(symbol)) == len(CHANNELS) for symbol in SYMBOLS[exchange]),
        f"the gaps of {exchange} are told",
    )
    await flows(run, pairs(exchange))
    for symbol in SYMBOLS[exchange]:
        for gap in run.recorded.gaps(symbol):
            assert gap.cause == "connection_silent"
            assert since_ns - 500_000_000 < gap.from_ns < since_ns + 500_000_000
            received = [record.received_ns for record in run.recorded.records(gap.channel, symbol)]
            assert [moment for moment in received if gap.from_ns < moment < gap.to_ns] == []
    assert run.metrics.errors["silent_connection"] == run.metrics.reconnects == 1


def running(exchange: str, kind: Kind, asked: Exchange) -> contextlib.AbstractAsyncContextManager[Running[Any]]:
    if kind == "ccxt":
        return feeds.running(exchange, asked)
    return feeds.running_feed(
        exchange,
        asked,
        None,
        lambda ingestion, recorder, metrics: FEEDS[exchange](exchange, asked, ingestion, {}, recorder, metrics),
    )


@contextlib.asynccontextmanager
async def through_a_relay(
    exchange: str, kind: Kind, rates: Rates, channels: Iterable[str]
) -> AsyncIterator[tuple[Simulator, Running[Any], MuteRelay]]:
    """A simulated exchange and one feed of it."""
    async with Simulator([exchange], symbols={exchange: SYMBOLS[exchange]}, rates=rates, levels=20) as simulator:
        relay = MuteRelay(simulator.port)
        asked = settings(simulator, SYMBOLS[exchange], channels=channels)
        async with (
            relay.listening() as url,
            running(exchange, kind, msgspec.structs.replace(asked, endpoint=url)) as run,
        ):
            yield simulator, run, relay


@contextlib.asynccontextmanager
async def lively(exchange: str, kind: Kind) -> AsyncIterator[tuple[Simulator, Running[Any], MuteRelay]]:
    """With much going on, for as long as it takes to learn."""
    async with through_a_relay(exchange, kind, LIVELY, CHANNELS) as (simulator, run, relay):
        await flows(run, pairs(exchange))
        await asyncio.sleep(LEARN_SECONDS + 0.5)
        yield simulator, run, relay


Strike = Literal["freeze", "kill the receive loop", "vanish"]


@pytest.mark.usefixtures("quick")
async def test_a_busy_connection_that_delivers_nothing_is_noticed_by_its_own_cadence() -> None:
    """It answers pings, or its receive loop is dead, or it is half-open: dialled anew long before silence_seconds."""
    await asyncio.gather(*(_noticed(*feed, strike) for feed in BOTH for strike in get_args(Strike)))


async def _noticed(exchange: str, kind: Kind, strike: Strike) -> None:
    async with lively(exchange, kind) as (simulator, run, relay):
        since_ns = time.time_ns()
        if strike == "vanish":
            relay.strike()
        elif strike == "freeze":
            assert simulator.fault(Fault(exchange, "freeze")) == 1
        else:
            _kill_receive_loop(run.feed)
        await every_pair_has_one_gap(run, exchange, since_ns)
        assert simulator.counts().connections[exchange].accepted == 2


def _kill_receive_loop(feed: Any) -> None:
    """ccxt's ends without a word when the task that receives is cancelled; a native one when its socket is not read."""
    if isinstance(feed, CcxtFeed):
        connections = [client.connection for client in feed.exchange.clients.values()]
        receiving = [
            task
            for task in asyncio.all_tasks()
            if getattr(task.get_coro(), "__qualname__", "") == ClientWebSocketResponse.receive.__qualname__
            and cast("Any", task.get_coro()).cr_frame.f_locals["self"] in connections
        ]
        assert len(receiving) == 1
        receiving[0].cancel()
        return
    for connection in feed._connections:
        connection._websocket._transport.pause_reading()


async def test_a_quiet_connection_whose_peer_vanished_is_noticed_by_its_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cadence tells: what nobody answers for two of them is dialled anew."""
    monkeypatch.setattr("daedalus_collector.ccxt_feed.KEEP_ALIVE_MS", 400)
    monkeypatch.setattr("daedalus_collector.native.connection.PING_SECONDS", 0.6)
    monkeypatch.setattr("daedalus_collector.native.connection.CLOSE_SECONDS", 1.0)
    monkeypatch.setattr("daedalus_collector.native.feed.WATCH_SECONDS", 0.2)
    await asyncio.gather(_pinged("binance", "ccxt"), _pinged("binance", "native"))


async def _pinged(exchange: str, kind: Kind) -> None:
    async with through_a_relay(exchange, kind, Rates(0, 0, 0), ["trade"]) as (simulator, run, relay):
        await feeds.subscribed(simulator, exchange, ["trade"])
        await asyncio.sleep(1.5)
        assert simulator.counts().connections[exchange].accepted == 1, "answered pings keep it"
        relay.strike()
        await eventually(lambda: simulator.counts().connections[exchange].accepted == 2, "it is dialled again")
        assert run.metrics.reconnects == 1


def _forget(simulator: Simulator, exchange: str, channel: str, symbol: str) -> None:
    """The exchange drops a subscription without a word."""
    subscriptions = simulator._exchanges[exchange].subscriptions
    for connection in subscriptions.subscribers(channel, symbol):
        subscriptions.remove(connection, channel, symbol)


@pytest.mark.usefixtures("quick")
async def test_a_pair_that_stops_while_others_go_on_is_subscribed_anew() -> None:
    """Natively nothing else notices; through ccxt it costs one dial."""
    await asyncio.gather(
        _renewed("binance", "trade", "trade"),
        _renewed("binance", "orderbook", "depth@100ms"),
        _renewed("coinbase", "trade", "market_trades"),
        _renewed("coinbase", "orderbook", "level2"),
        _dialled(),
    )


async def _renewed(exchange: str, channel: str, wire_channel: str) -> None:
    """One gap, from its own last record on, and no new connection."""
    async with lively(exchange, "native") as (simulator, run, _):
        stopped = Pair(channel, SYMBOLS[exchange][0])
        _forget(simulator, exchange, wire_channel, stopped.symbol)
        await eventually(lambda: len(run.recorded.gaps(stopped.symbol)) == 1, f"the gap of {exchange} is told")
        await flows(run, pairs(exchange))
        (gap,) = [gap for symbol in SYMBOLS[exchange] for gap in run.recorded.gaps(symbol)]
        received = [record.received_ns for record in run.recorded.records(*stopped)]
        assert (gap.channel, gap.cause) == (channel, "connection_silent")
        assert gap.from_ns == max(moment for moment in received if moment < gap.to_ns)
        assert gap.to_ns in received
        assert (run.metrics.errors["silent_pair"], run.metrics.reconnects) == (1, 0)
        await eventually(lambda: run.feed.problems() == {}, "nothing is wrong any more")
        assert run.feed.subscriptions()["active"] == len(pairs(exchange))


async def _dialled() -> None:
    """Each pair of the connection has one gap, the one that stopped the longest."""
    async with lively("kraken", "ccxt") as (simulator, run, _):
        since_ns = time.time_ns()
        _forget(simulator, "kraken", "trade", "BTC/USD")
        await eventually(
            lambda: all(len(run.recorded.gaps(symbol)) == len(CHANNELS) for symbol in SYMBOLS["kraken"]),
            "gaps are told",
        )
        await flows(run, pairs("kraken"))
        gaps = {Pair(gap.channel, symbol): gap for symbol in SYMBOLS["kraken"] for gap in run.recorded.gaps(symbol)}
        first = gaps.pop(Pair("trade", "BTC/USD"))
        assert first.from_ns < since_ns + 500_000_000 < min(gap.from_ns for gap in gaps.values())
        assert run.metrics.reconnects == 1


async def test_ccxt_waits_for_as_long_as_it_is_asked() -> None:
    """429 with Retry-After, of REST at the start and of a WebSocket later: nothing is tried before."""
    async with Simulator(["kraken"], symbols={"kraken": SYMBOLS["kraken"]}, rates=LIVELY, levels=20) as simulator:
        simulator.fault(Fault("kraken", "refuse", retry_after=2))
        async with feeds.running("kraken", settings(simulator, SYMBOLS["kraken"], channels=["trade"])) as run:
            asked = [Pair("trade", symbol) for symbol in SYMBOLS["kraken"]]
            await eventually(lambda: "429" in str(run.feed.problems()), "REST is refused")
            refused_at = time.monotonic()
            simulator.fault(Fault("kraken", "refuse", seconds=0))
            await eventually(lambda: run.feed.problems() == {}, "the markets are loaded")
            assert time.monotonic() - refused_at > 1.8
            await flows(run, asked)

            simulator.fault(Fault("kraken", "refuse", retry_after=2))
            door = simulator.counts().connections["kraken"].refused
            simulator.fault(Fault("kraken", "close"))
            await eventually(lambda: simulator.counts().connections["kraken"].refused > door, "a dial is refused")
            refused_at = time.monotonic()
            simulator.fault(Fault("kraken", "refuse", seconds=0))
            await eventually(lambda: simulator.counts().connections["kraken"].accepted == 2, "it is dialled again")
            assert time.monotonic() - refused_at > 1.8
            await flows(run, asked)


async def test_one_bad_symbol_does_not_stop_the_others_of_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exchange lists it and refuses every request with it: the bulk call is split until it is alone, and that is shown."""
    symbols = ("BTC/USD", "ETH/USD", "XRP/USD", "SOL/USD", "ADA/USD")
    refusal, why = Kraken._refusal, "Currency pair not supported XRP/USD"

    def refuse(kraken: Kraken, request: Any, now_ns: int) -> str:
        refused = request.method == "subscribe" and "XRP/USD" in request.params.symbol
        return why if refused else refusal(kraken, request, now_ns)

    monkeypatch.setattr(Kraken, "_refusal", refuse)
    async with (
        Simulator(["kraken"], symbols={"kraken": symbols}, rates=LIVELY, levels=20) as simulator,
        running("kraken", "ccxt", settings(simulator, symbols, channels=["trade", "ticker"])) as run,
    ):
        others = [symbol for symbol in symbols if symbol != "XRP/USD"]
        await flows(run, [Pair(channel, symbol) for channel in ("trade", "ticker") for symbol in others])
        await eventually(lambda: run.feed.subscriptions()["active"] == 8, "the others are active")
        assert run.feed.problems() == dict.fromkeys(("trade XRP/USD", "ticker XRP/USD"), f"refused, BadSymbol: {why}")
        assert run.feed.subscriptions()["refused"] == 2
        assert run.metrics.reconnects == 0
