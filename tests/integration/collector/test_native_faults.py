"""What goes wrong on a native feed's connection: it recovers, and what may be missing is written down, once, with bounds."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Literal

from aiohttp import web

from daedalus.config import Ingestion
from daedalus.records import Trade
from simulator import Fault, Rates, Simulator
from support.eventually import eventually
from support.feeds import settings, subscribed
from support.native_feeds import SYMBOLS, RunningFeed, running

LIVELY = Rates(trades=40, tickers=20, books=40)
CHANNELS = ("trade", "ticker", "orderbook")


def counts(run: RunningFeed, exchange: str) -> dict[tuple[str, str], int]:
    return {
        (channel, symbol): len(run.recorded.records(channel, symbol))
        for channel in CHANNELS
        for symbol in SYMBOLS[exchange]
    }


async def flows(run: RunningFeed, exchange: str) -> None:
    """Wait until every symbol and channel has new records."""
    before = counts(run, exchange)
    await eventually(
        lambda: all(count > before[pair] + 2 for pair, count in counts(run, exchange).items()),
        "every pair has new data",
    )


def check_gaps(run: RunningFeed, exchange: str, fault_ns: int, cause: str) -> None:
    """Each pair has one gap, from its connection's last data before the fault to its own first record after it."""
    for symbol in SYMBOLS[exchange]:
        gaps = run.recorded.gaps(symbol)
        assert sorted(gap.channel for gap in gaps) == sorted(CHANNELS), gaps
        for gap in gaps:
            assert gap.cause == cause
            received = [record.received_ns for record in run.recorded.records(gap.channel, symbol)]
            assert [moment for moment in received if gap.from_ns < moment < gap.to_ns] == []
            assert gap.to_ns in received, "it ends at the first good record"
            assert gap.from_ns >= max(moment for moment in received if moment < gap.to_ns)
            assert fault_ns - 1_000_000_000 < gap.from_ns < fault_ns + 500_000_000
            assert gap.to_ns > fault_ns


def check_trades(run: RunningFeed, exchange: str) -> None:
    for symbol in SYMBOLS[exchange]:
        ids = [record.id for record in run.recorded.records("trade", symbol) if isinstance(record, Trade)]
        assert len(ids) == len(set(ids)), "a trade that the exchange sends again is recorded once"


@contextlib.asynccontextmanager
async def both(silence_seconds: float = 60.0) -> AsyncIterator[tuple[Simulator, dict[str, RunningFeed]]]:
    """Both simulated exchanges with their native feeds, data flowing."""
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
            await flows(run, exchange)
        yield simulator, runs


async def gaps_written(run: RunningFeed, exchange: str) -> None:
    await eventually(
        lambda: all(len(run.recorded.gaps(symbol)) >= len(CHANNELS) for symbol in SYMBOLS[exchange]),
        "every pair has its gap",
    )


async def test_every_pair_has_one_gap_with_its_bounds() -> None:
    """Lost or silent: dialled anew. Unreadable: kept, for what it held shows in the sequences. No trade twice."""
    await asyncio.gather(
        one_gap_each("close", "connection_lost", dials=2),
        one_gap_each("reset", "connection_lost", dials=2),
        one_gap_each("freeze", "connection_silent", dials=2),
        one_gap_each("garbage", "bad_frame", dials=1),
    )


async def one_gap_each(fault: Literal["close", "reset", "freeze", "garbage"], cause: str, *, dials: int) -> None:
    async with both(silence_seconds=1.0) as (simulator, runs):
        fault_ns = time.time_ns()
        for exchange in runs:
            assert simulator.fault(Fault(exchange, fault)) == 1
        for exchange, run in runs.items():
            await gaps_written(run, exchange)
            await flows(run, exchange)
        await simulator.pause()
        for exchange, run in runs.items():
            check_gaps(run, exchange, fault_ns, cause)
            check_trades(run, exchange)
            assert run.feed.problems() == {}
            assert run.feed.subscriptions()["active"] == 6
            assert simulator.counts().connections[exchange].accepted == dials
            assert run.metrics.reconnects == dials - 1


async def test_a_jump_of_coinbases_sequence_is_a_gap_of_the_connection() -> None:
    """Every message counts there, so nobody knows what was in the missing one: dialled anew, one gap for each pair."""
    async with (
        Simulator(["coinbase"], symbols={"coinbase": SYMBOLS["coinbase"]}, rates=LIVELY, levels=50) as simulator,
        running("coinbase", settings(simulator, SYMBOLS["coinbase"])) as run,
    ):
        await subscribed(simulator, "coinbase")
        await flows(run, "coinbase")
        fault_ns = time.time_ns()
        assert simulator.fault(Fault("coinbase", "sequence_gap", channel="ticker")) == 1
        await gaps_written(run, "coinbase")
        await flows(run, "coinbase")
        await simulator.pause()
        check_gaps(run, "coinbase", fault_ns, "sequence_gap")
        check_trades(run, "coinbase")
        assert (run.metrics.reconnects, run.metrics.errors["sequence_gap"]) == (1, 1)


async def test_a_jump_of_a_books_sequence_is_a_gap_of_that_book() -> None:
    """Binance numbers its diffs: the book that lost one is built anew, the trades and the other book go on untouched."""
    async with (
        Simulator(["binance"], symbols={"binance": SYMBOLS["binance"]}, rates=LIVELY, levels=50) as simulator,
        running("binance", settings(simulator, SYMBOLS["binance"])) as run,
    ):
        await subscribed(simulator, "binance")
        await flows(run, "binance")
        fault_ns = time.time_ns()
        assert simulator.fault(Fault("binance", "sequence_gap")) == 1
        await eventually(
            lambda: any(run.recorded.gaps(symbol) for symbol in SYMBOLS["binance"]), "the book's gap is written"
        )
        await flows(run, "binance")
        ((gap, symbol),) = [(gap, symbol) for symbol in SYMBOLS["binance"] for gap in run.recorded.gaps(symbol)]
        received = [record.received_ns for record in run.recorded.records("orderbook", symbol)]
        assert (gap.channel, gap.cause) == ("orderbook", "sequence_gap")
        assert gap.from_ns == max(moment for moment in received if moment < gap.to_ns), "the last good state"
        assert gap.to_ns in received
        assert fault_ns - 1_000_000_000 < gap.from_ns < gap.to_ns
        assert (run.metrics.reconnects, run.metrics.errors["sequence_gap"]) == (0, 1)
        assert run.feed.problems() == {}


async def test_an_error_frame_stops_nothing() -> None:
    """It is counted; nothing was lost, so there is no gap."""
    async with both() as (simulator, runs):
        for exchange in runs:
            simulator.fault(Fault(exchange, "error"))
        for exchange, run in runs.items():
            await flows(run, exchange)
        await simulator.pause()
        for exchange, run in runs.items():
            for pair in counts(run, exchange):
                sent = simulator.count(exchange, *pair).records
                await eventually(
                    lambda run=run, pair=pair, sent=sent: len(run.recorded.records(*pair)) == sent,  # type: ignore[misc]
                    f"everything sent on {pair} of {exchange} is recorded",
                )
            assert all(run.recorded.gaps(symbol) == [] for symbol in SYMBOLS[exchange])
            assert (run.metrics.reconnects, run.metrics.errors["exchange_error"]) == (0, 1)


async def test_a_door_that_closes_at_once_is_not_hammered() -> None:
    """An exchange that accepts and closes is dialled at most once a second, however short the configured delay."""
    async with (
        Simulator(["coinbase"], symbols={"coinbase": SYMBOLS["coinbase"]}, rates=LIVELY, levels=50) as simulator,
        running("coinbase", settings(simulator, SYMBOLS["coinbase"]), Ingestion(reconnect_delay=0.01)) as run,
    ):
        accepted: list[float] = []
        end = time.monotonic() + 3.5
        while time.monotonic() < end:
            if simulator.counts().connections["coinbase"].accepted > len(accepted):
                accepted.append(time.monotonic())
                simulator.fault(Fault("coinbase", "close"))
            await asyncio.sleep(0.01)
        assert 3 <= len(accepted) <= 5
        assert min(later - earlier for earlier, later in pairwise(accepted)) >= 0.95
        assert run.feed.subscriptions()["given_up"] == 0


async def test_a_refused_exchange_is_tried_again_when_it_says() -> None:
    """503 on REST at the start: shown, and tried again. 429 with Retry-After on a dial: not before that."""
    async with Simulator(["coinbase"], symbols={"coinbase": SYMBOLS["coinbase"]}, rates=LIVELY, levels=50) as simulator:
        simulator.fault(Fault("coinbase", "refuse"))
        async with running("coinbase", settings(simulator, SYMBOLS["coinbase"])) as run:
            await eventually(lambda: "were not loaded" in run.feed.problems().get("markets", ""), "it is shown")
            simulator.fault(Fault("coinbase", "refuse", seconds=0))
            await flows(run, "coinbase")
            simulator.fault(Fault("coinbase", "refuse", retry_after=2))
            simulator.fault(Fault("coinbase", "close"))
            refused = simulator.counts().connections["coinbase"].refused
            await eventually(lambda: simulator.counts().connections["coinbase"].refused > refused, "a dial is refused")
            refused_at = time.monotonic()
            await eventually(lambda: "429" in str(run.feed.problems()), "the refusal is shown")
            assert run.feed.subscriptions()["waiting"] == 6
            simulator.fault(Fault("coinbase", "refuse", seconds=0))
            await eventually(lambda: simulator.counts().connections["coinbase"].accepted == 2, "it is dialled again")
            assert time.monotonic() - refused_at > 1.9
            await flows(run, "coinbase")
            assert run.feed.problems() == {}


async def test_attempts_are_limited_where_they_are_configured() -> None:
    """auto_reconnect: false gives a lost connection up, and says so."""
    async with (
        Simulator(["binance"], symbols={"binance": SYMBOLS["binance"]}, rates=LIVELY, levels=50) as simulator,
        running("binance", settings(simulator, SYMBOLS["binance"]), Ingestion(auto_reconnect=False)) as run,
    ):
        await flows(run, "binance")
        simulator.fault(Fault("binance", "close"))
        await eventually(lambda: run.feed.subscriptions()["given_up"] == 6, "it is given up")
        assert "given_up" in str(run.feed.problems())
        assert simulator.counts().connections["binance"].accepted == 1


async def test_a_snapshot_that_fails_is_asked_for_again() -> None:
    """REST refuses while the stream runs: shown as that book's problem, then built."""
    async with (
        Simulator(["binance"], symbols={"binance": SYMBOLS["binance"]}, rates=LIVELY, levels=50) as simulator,
        running("binance", settings(simulator, SYMBOLS["binance"])) as run,
    ):
        await flows(run, "binance")
        simulator.fault(Fault("binance", "refuse"))
        simulator.fault(Fault("binance", "sequence_gap"))
        await eventually(lambda: "expected 200, was 503" in str(run.feed.problems()), "the problem is shown")
        simulator.fault(Fault("binance", "refuse", seconds=0))
        await flows(run, "binance")
        assert run.feed.problems() == {}
        assert run.metrics.errors["snapshot"] >= 1
        assert sum(len(run.recorded.gaps(symbol)) for symbol in SYMBOLS["binance"]) == 1


async def test_a_peer_that_never_closes_is_cut_off() -> None:
    """It goes on sending and takes no part in the close handshake: `close` still returns, and hands nothing on."""
    trade = '{"e":"trade","E":1,"s":"BTCUSDT","t":%d,"p":"1.0","q":"1.0","T":1,"m":true,"M":true}'
    market = '{"symbols":[{"symbol":"BTCUSDT","baseAsset":"BTC","quoteAsset":"USDT"}]}'

    async def serve(request: web.Request) -> web.StreamResponse:
        if "exchangeInfo" in request.path:
            return web.Response(text=market)
        ws = web.WebSocketResponse(autoclose=False, autoping=False)
        await ws.prepare(request)
        with contextlib.suppress(ConnectionError):
            for number in range(1_000_000):
                await ws.send_str(trade % number)
                await asyncio.sleep(0.001)
        return ws

    application = web.Application()
    application.router.add_get("/{path:.*}", serve)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()

    class At:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async with running("binance", settings(At, ["BTC/USDT"], channels=["trade"])) as run:  # type: ignore[arg-type]  # only the address
        await eventually(lambda: len(run.recorded.records("trade", "BTC/USDT")) > 100, "trades flow")
        closing_at = time.monotonic()
    assert time.monotonic() - closing_at < 6
    recorded = len(run.recorded.records("trade", "BTC/USDT"))
    await asyncio.sleep(0.1)
    assert len(run.recorded.records("trade", "BTC/USDT")) == recorded
    await runner.cleanup()
