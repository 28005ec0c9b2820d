"""What goes wrong on a connection: the feed recovers, and what may be missing is written down, once, with its bounds."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Literal

import msgspec
import pytest

from daedalus.config import Ingestion
from daedalus.records import Trade
from simulator import Fault, Rates, Simulator
from support.eventually import eventually
from support.feeds import SYMBOLS, RunningFeed, running, settings, subscribed

LIVELY = Rates(trades=40, tickers=20, books=40)
CHANNELS = ("trade", "ticker", "orderbook")


def _counts(run: RunningFeed, exchange: str) -> dict[tuple[str, str], int]:
    return {
        (channel, symbol): len(run.recorded.records(channel, symbol))
        for channel in CHANNELS
        for symbol in SYMBOLS[exchange]
    }


async def _flows(run: RunningFeed, exchange: str) -> None:
    """Wait until every symbol and channel has new records."""
    before = _counts(run, exchange)
    await eventually(
        lambda: all(count > before[pair] + 2 for pair, count in _counts(run, exchange).items()),
        "every pair has new data",
    )


def _check_gaps(run: RunningFeed, exchange: str, fault_ns: int, cause: str) -> None:
    """Each pair has one gap, from its connection's last data before the fault to its own first record after it."""
    for symbol in SYMBOLS[exchange]:
        gaps = run.recorded.gaps(symbol)
        assert sorted(gap.channel for gap in gaps) == sorted(CHANNELS), gaps
        for gap in gaps:
            assert gap.cause == cause
            received = [record.received_ns for record in run.recorded.records(gap.channel, symbol)]
            inside = [moment for moment in received if gap.from_ns < moment < gap.to_ns]
            assert inside == [], "nothing was recorded within the gap"
            assert gap.to_ns in received, "it ends at the first good record"
            assert gap.from_ns >= max(moment for moment in received if moment < gap.to_ns), "and begins no earlier than"
            assert fault_ns - 1_000_000_000 < gap.from_ns < fault_ns + 500_000_000
            assert gap.to_ns > fault_ns


def _check_trades(run: RunningFeed, exchange: str) -> None:
    for symbol in SYMBOLS[exchange]:
        ids = [record.id for record in run.recorded.records("trade", symbol) if isinstance(record, Trade)]
        assert len(ids) == len(set(ids)), "a trade that the exchange sends again is recorded once"


@contextlib.asynccontextmanager
async def _all(silence_seconds: float = 60.0) -> AsyncIterator[tuple[Simulator, dict[str, RunningFeed]]]:
    """Every simulated exchange with its feed, data flowing."""
    async with (
        Simulator(list(SYMBOLS), symbols=SYMBOLS, rates=LIVELY, levels=50) as simulator,
        contextlib.AsyncExitStack() as feeds,
    ):
        runs = {
            exchange: await feeds.enter_async_context(
                running(exchange, settings(simulator, symbols, silence_seconds=silence_seconds))
            )
            for exchange, symbols in SYMBOLS.items()
        }
        for exchange, run in runs.items():
            await subscribed(simulator, exchange)
            await _flows(run, exchange)
        yield simulator, runs


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("close", "connection_lost"),
        ("reset", "connection_lost"),
        ("freeze", "connection_silent"),
        ("garbage", "bad_frame"),
    ],
)
async def test_every_pair_has_one_gap_with_its_bounds(fault: Literal["close"], cause: str) -> None:
    """A lost, silent or unreadable connection: dialled anew, one gap for each symbol and channel, no trade twice."""
    async with _all(silence_seconds=1.0) as (simulator, runs):
        fault_ns = time.time_ns()
        for exchange in runs:
            assert simulator.fault(Fault(exchange, fault)) > 0
        for exchange, run in runs.items():
            await eventually(
                lambda run=run, exchange=exchange: all(  # type: ignore[misc]
                    len(run.recorded.gaps(symbol)) >= len(CHANNELS) for symbol in SYMBOLS[exchange]
                ),
                "every pair has its gap",
            )
            await _flows(run, exchange)
        await simulator.pause()
        for exchange, run in runs.items():
            _check_gaps(run, exchange, fault_ns, cause)
            _check_trades(run, exchange)
            assert run.feed.problems() == {}


async def test_a_jump_of_the_books_sequence_is_a_gap_of_that_book() -> None:
    """Binance numbers its diffs: the book that lost one is built anew, the trades and the other book go on untouched."""
    async with (
        Simulator(["binance"], symbols={"binance": SYMBOLS["binance"]}, rates=LIVELY, levels=50) as simulator,
        running("binance", settings(simulator, SYMBOLS["binance"])) as run,
    ):
        await subscribed(simulator, "binance")
        await _flows(run, "binance")
        assert simulator.fault(Fault("binance", "sequence_gap")) > 0
        await eventually(
            lambda: sum(len(run.recorded.gaps(symbol)) for symbol in SYMBOLS["binance"]) >= 1,
            "the book's gap is written",
        )
        await _flows(run, "binance")
        gaps = [gap for symbol in SYMBOLS["binance"] for gap in run.recorded.gaps(symbol)]
        assert [(gap.channel, gap.cause) for gap in gaps] == [("orderbook", "sequence_gap")]
        assert run.metrics.reconnects == 0


async def test_an_error_frame_stops_nothing() -> None:
    """ccxt's receive loop would end there and leave the socket unread; nothing was lost, so there is no gap."""
    async with _all() as (simulator, runs):
        for exchange in runs:
            simulator.fault(Fault(exchange, "error"))
        for exchange, run in runs.items():
            await _flows(run, exchange)
        await simulator.pause()
        for exchange, run in runs.items():
            for pair in _counts(run, exchange):
                sent = simulator.count(exchange, *pair).records
                await eventually(
                    lambda run=run, pair=pair, sent=sent: len(run.recorded.records(*pair)) == sent,  # type: ignore[misc]
                    f"everything sent on {pair} of {exchange} is recorded",
                )
            assert all(run.recorded.gaps(symbol) == [] for symbol in SYMBOLS[exchange])
            assert run.metrics.reconnects == 0


async def test_garbage_on_a_connection_without_books_keeps_it() -> None:
    """Trades do not build on each other: a gap, but no new connection."""
    exchange = settings
    async with (
        Simulator(["binance"], symbols={"binance": SYMBOLS["binance"]}, rates=LIVELY, levels=50) as simulator,
        running("binance", exchange(simulator, SYMBOLS["binance"], channels=["trade"])) as run,
    ):
        await subscribed(simulator, "binance", ["trade"])
        await eventually(
            lambda: all(run.recorded.records("trade", symbol) for symbol in SYMBOLS["binance"]), "trades flow"
        )
        simulator.fault(Fault("binance", "garbage"))
        await eventually(lambda: all(run.recorded.gaps(symbol) for symbol in SYMBOLS["binance"]), "gaps are written")
        assert simulator.counts().connections["binance"].accepted == 1
        assert run.metrics.errors["bad_frame"] == 1


async def test_a_door_that_closes_at_once_is_not_hammered() -> None:
    """An exchange that accepts and closes is dialled at most once a second, however short the configured delay."""
    async with (
        Simulator(["kraken"], symbols={"kraken": SYMBOLS["kraken"]}, rates=LIVELY, levels=50) as simulator,
        running("kraken", settings(simulator, SYMBOLS["kraken"]), Ingestion(reconnect_delay=0.01)) as run,
    ):
        accepted: list[float] = []
        end = time.monotonic() + 3.5
        while time.monotonic() < end:
            if simulator.counts().connections["kraken"].accepted > len(accepted):
                accepted.append(time.monotonic())
                simulator.fault(Fault("kraken", "close"))
            await asyncio.sleep(0.01)
        assert 2 <= len(accepted) <= 4
        assert min(later - earlier for earlier, later in pairwise(accepted)) >= 0.95
        assert run.feed.subscriptions()["given_up"] == 0


async def test_a_refused_exchange_is_tried_again() -> None:
    """503 on REST and WebSocket: the problem is shown, and it starts when the door opens."""
    async with Simulator(["kraken"], symbols={"kraken": SYMBOLS["kraken"]}, rates=LIVELY, levels=50) as simulator:
        simulator.fault(Fault("kraken", "refuse"))
        async with running("kraken", settings(simulator, SYMBOLS["kraken"])) as run:
            await eventually(
                lambda: "were not loaded" in run.feed.problems().get("markets", ""), "the problem is shown"
            )
            simulator.fault(Fault("kraken", "refuse", seconds=0))
            await subscribed(simulator, "kraken")
            await _flows(run, "kraken")
            assert run.feed.problems() == {}


async def test_attempts_are_limited_where_they_are_configured() -> None:
    """Beyond max_reconnect_attempts the subscription is given up, and shown; without auto_reconnect at the first loss."""
    for ingestion in (
        Ingestion(reconnect_delay=0.05, max_reconnect_attempts=1),
        Ingestion(reconnect_delay=0.05, auto_reconnect=False),
    ):
        async with (
            Simulator(["binance"], symbols={"binance": SYMBOLS["binance"]}, rates=LIVELY, levels=50) as simulator,
            running("binance", settings(simulator, SYMBOLS["binance"], channels=["trade"]), ingestion) as run,
        ):
            await subscribed(simulator, "binance", ["trade"])
            simulator.fault(Fault("binance", "close"))
            simulator.fault(Fault("binance", "refuse"))
            await eventually(lambda run=run: run.feed.subscriptions()["given_up"] == 2, "the subscription is given up")  # type: ignore[misc]
            assert any("given_up" in why for why in run.feed.problems().values())


async def test_an_unknown_symbol_stops_only_itself() -> None:
    """It is shown as a problem with a hint; the others are recorded."""
    async with (
        Simulator(["kraken"], symbols={"kraken": SYMBOLS["kraken"]}, rates=LIVELY, levels=50) as simulator,
        running("kraken", settings(simulator, [*SYMBOLS["kraken"], "BTX/USD"], channels=["trade"])) as run,
    ):
        await eventually(lambda: bool(run.recorded.records("trade", "BTC/USD")), "the others are recorded")
        assert "did you mean BTC/USD?" in run.feed.problems()["trade BTX/USD"]
        assert run.feed.subscriptions()["refused"] == 1


class DeafRelay:
    """Passes a port on; once it is deaf, nothing that a client says gets through, not even a Close frame."""

    def __init__(self, port: int) -> None:
        self.deaf = False
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._port)
        for source, target, hears in ((reader, upstream_writer, True), (upstream_reader, writer, False)):
            task = asyncio.create_task(self._pass_on(source, target, hears=hears))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, hears: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                if not (hears and self.deaf):
                    target.write(data)
                    await target.drain()
        target.close()


async def test_closing_ends_in_time_though_the_exchange_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that keeps sending and never answers the Close frame does not hold the collector up."""
    monkeypatch.setattr("daedalus_collector.connections.CLOSE_SECONDS", 1.0)
    async with Simulator(["binance"], symbols={"binance": SYMBOLS["binance"]}, rates=LIVELY, levels=50) as simulator:
        relay = DeafRelay(simulator.port)
        exchange = msgspec.structs.replace(
            settings(simulator, SYMBOLS["binance"], channels=["trade"]), endpoint=await relay.start()
        )
        async with running("binance", exchange) as run:
            await eventually(lambda: bool(run.recorded.records("trade", "BTC/USDT")), "trades flow")
            relay.deaf = True
            began = time.monotonic()
        assert 0.9 < time.monotonic() - began < 4
        recorded = len(run.recorded.records("trade", "BTC/USDT"))
        await asyncio.sleep(0.3)
        assert len(run.recorded.records("trade", "BTC/USDT")) == recorded, "nothing is recorded after the close"
