"""What goes wrong on a connection: the feed recovers, and what may be missing is written down, once, with its bounds.

Every case runs all simulated exchanges at once, through ccxt and through the native feeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from itertools import pairwise

import msgspec
import pytest

from daedalus.config import Ingestion
from daedalus.records import Gap, Trade
from simulator import Fault, Rates, Simulator
from simulator.counts import Count
from simulator.faults import Kind
from support.eventually import eventually
from support.feeds import (
    CHANNELS,
    SYMBOLS,
    FeedName,
    Simulated,
    running,
    settings,
    simulated,
)

LIVELY = Rates(trades=20, tickers=15, books=20)


async def all_flow(ones: list[Simulated], channels: tuple[str, ...] = CHANNELS) -> None:
    for one in ones:
        await one.subscribed(channels)
    await asyncio.gather(*(one.flows(channels) for one in ones))


def check_gap(one: Simulated, symbol: str, gap: Gap, fault_ns: int, cause: str) -> None:
    """From the last data before the fault, its own or another pair's, to its own first record after it."""
    assert gap.cause == cause, str(one)
    received = [record.received_ns for record in one.run.recorded.records(gap.channel, symbol)]
    assert [moment for moment in received if gap.from_ns < moment < gap.to_ns] == [], f"nothing within, of {one}"
    assert gap.to_ns in received, f"it ends at the first good record, of {one}"
    assert gap.from_ns >= max(moment for moment in received if moment < gap.to_ns), f"and begins no earlier, of {one}"
    data = {record.received_ns for pair in one.counts() for record in one.run.recorded.records(*pair)}
    assert gap.from_ns in data, f"and no later than what came before, of {one}"
    assert gap.to_ns > fault_ns


def check_gaps(one: Simulated, fault_ns: int, cause: str) -> None:
    """Each pair has one."""
    for symbol in one.symbols:
        gaps = one.run.recorded.gaps(symbol)
        assert sorted(gap.channel for gap in gaps) == sorted(CHANNELS), (str(one), gaps)
        for gap in gaps:
            check_gap(one, symbol, gap, fault_ns, cause)


def check_trades(one: Simulated) -> None:
    for symbol in one.symbols:
        ids = [record.id for record in one.run.recorded.records("trade", symbol) if isinstance(record, Trade)]
        assert len(ids) == len(set(ids)), f"a trade that {one.exchange} sends again is recorded once"


def check_well(one: Simulated) -> None:
    assert one.run.feed.problems() == {}, str(one)
    assert one.run.feed.subscriptions()["active"] == len(one.counts()), str(one)


async def gaps_written(one: Simulated) -> None:
    await eventually(
        lambda: all(len(one.run.recorded.gaps(symbol)) >= len(CHANNELS) for symbol in one.symbols),
        f"every pair of {one} has its gap",
    )


@pytest.mark.parametrize(
    ("broken", "worse"),
    [
        (("close", "connection_lost"), ("freeze", "connection_silent")),
        (("reset", "connection_lost"), ("garbage", "bad_frame")),
    ],
)
async def test_every_pair_has_one_gap_with_its_bounds(broken: tuple[Kind, str], worse: tuple[Kind, str]) -> None:
    """Lost, or silent though it answers pings: each connection is dialled anew. Unreadable: at the most once."""
    await asyncio.gather(one_gap_each(*broken), one_gap_each(*worse))


async def one_gap_each(fault: Kind, cause: str) -> None:
    async with simulated(LIVELY, silence_seconds=2.0 if fault == "freeze" else 60.0) as ones:
        await all_flow(ones)
        before = {one: one.clients.accepted for one in ones}
        fault_ns = time.time_ns()
        struck = {one: one.strike(fault) for one in ones}
        await asyncio.gather(*(gaps_written(one) for one in ones))
        await asyncio.gather(*(one.flows() for one in ones))
        for one in ones:
            await one.simulator.pause()
            check_gaps(one, fault_ns, cause)
            check_trades(one)
            check_well(one)
            dialled = one.clients.accepted - before[one]
            least = 0 if fault == "garbage" else struck[one]
            most = 2 * struck[one] if fault == "freeze" else struck[one]  # a busy machine finds the new one silent, too
            assert least <= dialled <= most, (fault, str(one))
            assert one.run.metrics.reconnects == dialled


async def test_a_jump_of_the_sequence_is_a_gap_of_what_is_numbered() -> None:
    """A book that lost a frame is built anew and all else goes on untouched; Coinbase numbers what a connection sends, and
    nobody knows what was in the missing message.
    """
    async with simulated(LIVELY) as ones:
        await all_flow(ones)
        dialled = {one: one.clients.accepted for one in ones}
        fault_ns = time.time_ns()
        await asyncio.gather(*(sequence_broken(one) for one in ones))
        await asyncio.gather(*(one.flows() for one in ones))
        for one in ones:
            await one.simulator.pause()
            check_well(one)
            again = one.clients.accepted - dialled[one]
            if one.exchange == "coinbase":
                check_gaps(one, fault_ns, "sequence_gap")
                check_trades(one)
                assert one.run.metrics.reconnects == again == 1
                continue
            ((gap, symbol),) = [(gap, symbol) for symbol in one.symbols for gap in one.run.recorded.gaps(symbol)]
            assert gap.channel == "orderbook", str(one)
            check_gap(one, symbol, gap, fault_ns, "sequence_gap")
            assert one.run.metrics.reconnects == again == 0, str(one)
            for other in set(one.symbols) - {symbol}:
                sent = one.simulator.count(one.exchange, "orderbook", other).records
                await eventually(
                    lambda one=one, other=other, sent=sent: len(one.run.recorded.records("orderbook", other)) == sent,  # type: ignore[misc]
                    f"every state of the other book is recorded: {one}",
                )


async def sequence_broken(one: Simulated) -> None:
    """Drop frames until one is missed: Kraken's next one may say what it said, or its level may leave the window."""
    for _ in range(20):
        if await dropped_frame_is_missed(one):
            return
    raise AssertionError(f"{one} did not notice")


async def dropped_frame_is_missed(one: Simulated) -> bool:
    """Whether there is a gap before ten more states of each book are recorded."""
    channel = "ticker" if one.exchange == "coinbase" else "orderbook"

    def counted(channel: str) -> list[Count]:
        return [one.simulator.count(one.exchange, channel, symbol) for symbol in one.symbols]

    def dropped() -> int:
        return sum(count.dropped_frames for count in counted(channel))

    def told() -> bool:
        return any(one.run.recorded.gaps(symbol) for symbol in one.symbols)

    before = dropped()
    one.strike("sequence_gap", channel=channel)
    await eventually(lambda: dropped() > before, f"a frame of {one} is dropped")
    sent = [count.records for count in counted("orderbook")]

    def goes_on() -> bool:
        recorded = [len(one.run.recorded.records("orderbook", symbol)) for symbol in one.symbols]
        return all(now > then + 10 for now, then in zip(recorded, sent, strict=True))

    await eventually(lambda: told() or goes_on(), f"{one} notices, or goes on")
    return told()


async def test_an_error_frame_stops_nothing() -> None:
    """It is counted. Nothing was lost, so there is no gap; ccxt's receive loop would end there and leave the socket unread.

    Of Kraken's ccxt tells only those that answer a request.
    """
    async with simulated(LIVELY) as ones:
        await all_flow(ones)
        for one in ones:
            one.strike("error")
        await asyncio.gather(*(one.flows() for one in ones))
        await asyncio.gather(*(all_well(one) for one in ones))
        for one in ones:
            await one.simulator.pause()
            await eventually(lambda one=one: not one.missing(), f"everything sent is recorded of {one}")  # type: ignore[misc]
            assert all(one.run.recorded.gaps(symbol) == [] for symbol in one.symbols), str(one)
            assert one.run.metrics.reconnects == 0
            assert bool(one.run.metrics.errors) == (one.exchange != "kraken"), str(one)


async def all_well(one: Simulated) -> None:
    await eventually(
        lambda: one.run.feed.problems() == {} and one.run.feed.subscriptions()["active"] == len(one.counts()),
        f"{one} is well",
    )


async def test_a_refused_subscribe_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is subscribed gets an error: it is shown, and when it is over everything is recorded."""
    monkeypatch.setattr("daedalus_collector.subscription.START_SECONDS", 1.0)
    async with simulated(LIVELY, struck=Fault("", "refuse_subscribe"), silence_seconds=1.0) as ones:
        await asyncio.gather(*(eventually(lambda one=one: bool(one.run.metrics.errors), f"{one} is refused") for one in ones))  # type: ignore[misc]  # fmt: skip
        for one in ones:
            assert not any(one.counts().values())
            one.strike("refuse_subscribe", seconds=0)
        await asyncio.gather(*(one.flows() for one in ones))
        await asyncio.gather(*(all_well(one) for one in ones))


async def test_a_door_that_closes_at_once_is_not_hammered() -> None:
    """An exchange that accepts and closes is dialled at most once a second, however short the configured delay, and not
    given up.
    """
    ingestion = Ingestion(reconnect_delay=0.01)
    struck = Fault("", "accept_then_close")
    async with simulated(LIVELY, ingestion=ingestion, struck=struck, channels=["trade"]) as ones:
        dials: dict[Simulated, list[float]] = {one: [] for one in ones}
        async with asyncio.timeout(60):
            while any(len(moments) < 3 for moments in dials.values()):
                for one, moments in dials.items():
                    moments.extend([time.monotonic()] * (one.clients.accepted - len(moments)))
                await asyncio.sleep(0.01)
        for one, moments in dials.items():
            assert min(later - earlier for earlier, later in pairwise(moments)) >= 0.9, str(one)
            assert one.run.feed.subscriptions()["given_up"] == 0
            one.strike("accept_then_close", seconds=0)
        await all_flow(ones, ("trade",))


async def test_a_refused_exchange_is_tried_again_when_it_says() -> None:
    """503 on REST at the start: shown, and tried again. 429 with Retry-After on a dial: not again before that."""
    async with simulated(LIVELY, struck=Fault("", "refuse"), channels=["trade"]) as ones:
        for one in ones:
            await eventually(
                lambda one=one: "were not loaded" in one.run.feed.problems().get("markets", ""),  # type: ignore[misc]
                f"the refusal of {one} is shown",
            )
            one.strike("refuse", seconds=0)
        await all_flow(ones, ("trade",))
        refused = {one: one.clients.refused for one in ones}
        for one in ones:
            one.strike("refuse", retry_after=2)
            one.strike("close")
        await asyncio.gather(*(asked_again(one, refused[one]) for one in ones))
        await all_flow(ones, ("trade",))
        for one in ones:
            assert one.run.feed.problems() == {}


async def asked_again(one: Simulated, refused: int) -> None:
    await eventually(lambda: one.clients.refused > refused, f"a dial of {one} is refused")
    refused_at = time.monotonic()
    await eventually(lambda: bool(one.run.feed.problems()), "the refusal is shown")
    assert one.run.feed.subscriptions()["waiting"] == len(one.symbols)
    await eventually(lambda: one.clients.refused > refused + 1, f"{one} is dialled again")
    assert time.monotonic() - refused_at > 1.9, str(one)
    one.strike("refuse", seconds=0)


BINANCE: dict[FeedName, list[str]] = {"ccxt": ["binance"], "native": ["binance"]}


async def test_garbage_on_a_connection_without_books_keeps_it() -> None:
    """Trades do not build on each other: a gap, but no new connection."""
    async with simulated(LIVELY, exchanges=BINANCE, channels=["trade"]) as ones:
        await all_flow(ones, ("trade",))
        for one in ones:
            one.strike("garbage")
            await eventually(lambda one=one: all(one.run.recorded.gaps(s) for s in one.symbols), "gaps are written")  # type: ignore[misc]
            assert (one.clients.accepted, one.run.metrics.errors) == (1, {"bad_frame": 1}), str(one)


@pytest.mark.parametrize(
    "ingestion",
    [
        Ingestion(reconnect_delay=0.05, max_reconnect_attempts=1),
        Ingestion(reconnect_delay=0.05, auto_reconnect=False),
    ],
)
async def test_attempts_are_limited_where_they_are_configured(ingestion: Ingestion) -> None:
    """Beyond max_reconnect_attempts the pairs are given up, and shown; without auto_reconnect at the first loss."""
    async with simulated(LIVELY, exchanges=BINANCE, ingestion=ingestion, channels=["trade"]) as ones:
        await all_flow(ones, ("trade",))
        for one in ones:
            one.strike("close")
            one.strike("refuse")
        for one in ones:
            await eventually(lambda one=one: one.run.feed.subscriptions()["given_up"] == 2, f"{one} is given up")  # type: ignore[misc]
            assert any("given_up" in why for why in one.run.feed.problems().values())


async def test_a_snapshot_that_fails_is_asked_for_again() -> None:
    """Binance's REST refuses while the stream runs: shown as that book's problem, then built; the gap is one."""
    async with simulated(LIVELY, exchanges=BINANCE) as ones:
        await all_flow(ones)
        for one in ones:
            one.strike("refuse")
            one.strike("sequence_gap")
        for one in ones:
            await eventually(lambda one=one: "503" in str(one.run.feed.problems()), f"the problem of {one} is shown")  # type: ignore[misc]
            one.strike("refuse", seconds=0)
        await asyncio.gather(*(one.flows() for one in ones))
        for one in ones:
            check_well(one)
            assert sum(len(one.run.recorded.gaps(symbol)) for symbol in one.symbols) == 1, str(one)


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


@pytest.mark.parametrize("feed", ["ccxt", "native"])
async def test_closing_ends_in_time_though_the_exchange_goes_on(
    feed: FeedName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that keeps sending and never answers the Close frame does not hold the collector up."""
    monkeypatch.setattr("daedalus_collector.connections.CLOSE_SECONDS", 1.0)
    monkeypatch.setattr("daedalus_collector.native.connection.CLOSE_SECONDS", 1.0)
    async with Simulator(["binance"], symbols={"binance": SYMBOLS["binance"]}, rates=LIVELY, levels=50) as simulator:
        relay = DeafRelay(simulator.port)
        exchange = msgspec.structs.replace(
            settings(simulator, SYMBOLS["binance"], channels=["trade"]), endpoint=await relay.start()
        )
        async with asyncio.timeout(15), running("binance", exchange, feed=feed) as run:
            await eventually(lambda: bool(run.recorded.records("trade", "BTC/USDT")), "trades flow")
            relay.deaf = True
        recorded = len(run.recorded.records("trade", "BTC/USDT"))
        await asyncio.sleep(0.3)
        assert len(run.recorded.records("trade", "BTC/USDT")) == recorded, "nothing is recorded after the close"
