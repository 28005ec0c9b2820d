"""Any interleaving of frames, closes, stalls, scale-ups and broker outages: records and gap records account for every
frame that the exchange sent.

`DAEDALUS_EXAMPLES` says how many seeds, `DAEDALUS_SEED` which is the first: a seed that failed is lived through alone with
`DAEDALUS_SEED=<seed> DAEDALUS_EXAMPLES=1`, and then written into `FAILED`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from pathlib import Path

import msgspec
import nats
import pytest
from nats.aio.msg import Msg

from daedalus.config import Ccxt, Channels, Config, Exchange, ExchangeOptions, Ingestion, Nats, Storage
from daedalus.naming import carried_subject, shard_stream
from daedalus_collector.feed import Pair
from daedalus_collector.sharing import Carried
from simulator import Fault, Rates, Simulator
from support.accounting import Account, Window
from support.eventually import eventually
from support.feeds import CHANNELS
from support.interleavings import MOST_REPLICAS, SILENCE_SECONDS, Event, Plan, plan_of
from support.ledger import Ledger
from support.nats import NatsServer
from support.recorded import batches
from support.replicas import Replica, in_process

FAILED: tuple[int, ...] = (215, 293)
"""Seeds that once showed a mistake; they come first. A change of the plan gives them another meaning."""
EXAMPLES = 5
"""With those that failed: all exchanges, through all feeds."""
AT_ONCE = 4
LEASE_SECONDS = 2
RATES = Rates(trades=15, tickers=15, books=15)
BASES = ("BTC", "ETH", "SOL")
RECOVERY_SECONDS = 4.0
"""Of a connection: a second before the dial, back-off, snapshots at Binance's pace. Silence is found in two looks."""
TAKEOVER_SECONDS = LEASE_SECONDS + 3.0
DIALS = {"close", "reset", "garbage", "refuse", "sequence_gap", "scale_up", "stop", "kill"}
"""After these something is subscribed."""
PATIENCE_SECONDS = 30.0
SETTLE_SECONDS = 0.3
LOOK_SECONDS = 0.005


def seeds() -> list[int]:
    first, count = int(os.environ.get("DAEDALUS_SEED", "0")), int(os.environ.get("DAEDALUS_EXAMPLES", str(EXAMPLES)))
    return [*(FAILED if "DAEDALUS_SEED" not in os.environ else ()), *range(first, first + count)]


def groups() -> list[list[int]]:
    """An example waits most of its time, so some are lived through at once."""
    every = seeds()
    return [every[at : at + AT_ONCE] for at in range(0, len(every), AT_ONCE)]


def configured(plan: Plan, directory: Path, server: NatsServer, endpoint: str, symbols: list[str]) -> Config:
    exchange = Exchange(
        endpoint=endpoint,
        channels=Channels(orderbook=symbols, trade=symbols, ticker=symbols),
        options=ExchangeOptions(subscription_stagger_ms=5),
        max_orderbook_depth=10,
        feed=plan.feed,
        redundancy=plan.redundancy,
        silence_seconds=SILENCE_SECONDS,
    )
    return Config(
        ccxt=Ccxt(exchanges={plan.exchange: exchange}),
        ingestion=Ingestion(
            batch_linger_milliseconds=plan.linger_ms,
            queue_maxsize=plan.queue_records,
            outbox_spill_mb=plan.spill_mb,
            reconnect_delay=0.1,
        ),
        nats=Nats(url=server.url, lease_seconds=LEASE_SECONDS),
        storage=Storage(root=str(directory)),
    )


class Example:
    """A plan that is lived through."""

    def __init__(
        self, plan: Plan, config: Config, simulator: Simulator, server: NatsServer, symbols: list[str]
    ) -> None:
        self.windows: list[Window] = []
        self.lag_ns = 0
        self._plan, self._config, self._simulator, self._server = plan, config, simulator, server
        self._symbols = set(symbols)
        self._replicas: dict[str, Replica] = {}
        self._broker = asyncio.Lock()
        self._carried: set[str] = set()

    async def live(self) -> None:
        """Start, suffer, heal, drain."""
        watching = asyncio.create_task(self._watch())
        client = await nats.connect(self._server.url, reconnect_time_wait=0.2, max_reconnect_attempts=-1)
        await client.subscribe(carried_subject(self._plan.exchange), cb=self._heard)
        for _ in range(self._plan.replicas):
            self._start()
        await self._well("started")
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for event in self._plan.events:
                await asyncio.sleep(began + event.at_seconds - time.monotonic())
                tasks.create_task(self._happen(event))
        await self._well("recovered")
        await asyncio.sleep(SETTLE_SECONDS)
        await self._simulator.pause()
        await asyncio.sleep(SETTLE_SECONDS)
        await asyncio.gather(*(replica.stop() for replica in self._replicas.values()))
        await client.close()
        watching.cancel()

    async def kill(self) -> None:
        await asyncio.gather(*(replica.kill() for replica in self._replicas.values() if not replica.task.done()))

    # -- what happens

    async def _happen(self, event: Event) -> None:
        from_ns, recovery_seconds = time.time_ns(), RECOVERY_SECONDS
        match event.kind:
            case "burst":
                await self._burst(event)
                return
            case "scale_up":
                self._start()
                return
            case "stop":
                await self._stop()
                return
            case "kill":
                recovery_seconds = TAKEOVER_SECONDS
                await self._kill(event.seconds)
            case "broker_kill" | "broker_freeze" | "stream_full":
                recovery_seconds = TAKEOVER_SECONDS
                await self._outage(event)
            case "refuse":
                self._strike("refuse", seconds=event.seconds)
                self._strike("close")
                await asyncio.sleep(event.seconds)
            case "sequence_gap":
                self._strike("sequence_gap", channel=event.channel)
            case "freeze":
                dials = bool(DIALS & {other.kind for other in self._plan.events})
                self._strike("freeze", seconds=event.seconds + dials)
                await asyncio.sleep(event.seconds)
                if dials:
                    self._strike("close")  # it may have swallowed the answer to a subscription, which no TCP does
            case _:
                self._strike(event.kind)
        self.windows.append(Window(from_ns, time.time_ns() + int(recovery_seconds * 1e9)))

    def _strike(self, kind: str, **more: object) -> None:
        self._simulator.fault(msgspec.convert({"exchange": self._plan.exchange, "fault": kind, **more}, Fault))

    async def _burst(self, event: Event) -> None:
        try:
            async with asyncio.timeout(1.0):
                await self._simulator.burst(self._plan.exchange, event.channel, event.frames)
        except (TimeoutError, ValueError):
            return  # a quiet book, or nobody there

    def _living(self) -> list[Replica]:
        return [replica for replica in self._replicas.values() if not replica.stopping]

    def _start(self) -> None:
        free = [name for name in ("one", "two", "three")[:MOST_REPLICAS] if name not in self._replicas]
        if free:
            self._replicas[free[0]] = Replica(free[0], self._config, self._plan.exchange)

    async def _stop(self) -> None:
        living = self._living()
        if len(living) > 1:
            await living[0].stop()
            del self._replicas[living[0].name]

    async def _watch(self) -> None:
        """Whatever is in this loop waits as long as this does."""
        while True:
            asked_ns = time.time_ns()
            await asyncio.sleep(LOOK_SECONDS)
            self.lag_ns = max(self.lag_ns, time.time_ns() - asked_ns - int(LOOK_SECONDS * 1e9))

    async def _kill(self, seconds: float) -> None:
        """The last one is started again."""
        living = self._living()
        if not living:
            return
        del self._replicas[living[0].name]
        await living[0].kill()
        if len(living) == 1:
            await asyncio.sleep(seconds)
            self._start()

    async def _outage(self, event: Event) -> None:
        async with self._broker:
            if event.kind == "broker_freeze":
                os.kill(self._server.pid, signal.SIGSTOP)
                await asyncio.sleep(event.seconds)
                os.kill(self._server.pid, signal.SIGCONT)
            elif event.kind == "stream_full":
                await self._refuse(event.seconds)
            else:
                self._server.kill()
                await asyncio.sleep(event.seconds)
                await asyncio.to_thread(self._server.start)

    async def _refuse(self, seconds: float) -> None:
        """The stream is full: whatever is published is refused."""
        client = await nats.connect(self._server.url)
        js, stream = client.jetstream(), shard_stream(0)
        found = await js.stream_info(stream)
        await js.update_stream(found.config.evolve(max_bytes=max(1, found.state.bytes)))
        await asyncio.sleep(seconds)
        await js.update_stream(found.config)
        await client.close()

    # -- is it well again

    async def _heard(self, message: Msg) -> None:
        self._carried |= set(msgspec.json.decode(message.data, type=Carried).symbols)

    async def _well(self, what: str) -> None:
        """Every symbol is carried, and no replica knows of a problem."""
        self._carried.clear()
        try:
            await eventually(
                lambda: self._carried >= self._symbols and not any(self._problems().values()), what, PATIENCE_SECONDS
            )
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._problems()}, carried {self._carried}") from None

    def _problems(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, replica in self._replicas.items():
            if replica.task.done() and not replica.stopping:
                replica.task.result()
            replica.service.health.beat()
            found[name] = replica.service.health.problems()
        return found


async def problems(seed: int, directory: Path) -> str:
    """What does not add up of a seed, or ''."""
    plan = plan_of(seed)
    server = NatsServer(directory / "nats", sync_interval="1m")
    await asyncio.to_thread(server.start)
    quote = "USD" if plan.exchange in {"coinbase", "kraken"} else "USDT"
    symbols = [f"{base}/{quote}" for base in BASES[: plan.symbols]]
    of_exchange = {plan.exchange: symbols}
    try:
        async with Simulator([plan.exchange], symbols=of_exchange, rates=RATES, levels=30, seed=seed) as simulator:
            ledger = Ledger(simulator, plan.exchange)
            config = configured(plan, directory, server, simulator.url, symbols)
            example = Example(plan, config, simulator, server, symbols)
            try:
                await example.live()
            except Exception as error:
                raise AssertionError(f"seed {seed}, {plan}") from error
            finally:
                await example.kill()
        account = Account(ledger, await batches(server.url), example.lag_ns, alone=plan.alone)
    finally:
        server.stop()
    assert (
        set(account.records)
        == set(ledger.sent)
        == {Pair(channel, symbol) for channel in CHANNELS for symbol in symbols}
    )
    found = list(account.problems(example.windows))
    if not found:
        return ""
    told = "\n".join(found[:20])
    return f"seed {seed}, {plan}\n{len(found)} problems, a frame took {account.delay_ns / 1e6:.0f} ms\n{told}\n"


@pytest.mark.parametrize("some", groups(), ids=lambda some: "-".join(map(str, some)))
async def test_records_and_gaps_account_for_every_frame(some: list[int], tmp_path: Path) -> None:
    """Each event is recorded once or was sent within a gap of its pair, no gap is longer than its fault and the recovery,
    and nothing is recorded that was not sent."""
    with in_process():
        found = await asyncio.gather(
            *(problems(seed, tmp_path / str(number)) for number, seed in enumerate(some)), return_exceptions=True
        )
    gc.unfreeze()  # feeds freeze their markets, and these are gone
    if errors := [error for error in found if isinstance(error, Exception)]:
        raise ExceptionGroup("examples ended early", errors)
    told = "".join(map(str, found))
    assert not told, told
