"""The simulator: one port, one clock for all markets, the public Python API. The protocols are the exchanges' business."""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Self

from aiohttp import web
from msgspec import Struct

from simulator.binance import Binance
from simulator.bybit import Bybit
from simulator.clock import Clock
from simulator.coinbase import Coinbase
from simulator.connection import CLOSE_SECONDS
from simulator.control import routes
from simulator.counts import Count, Counts
from simulator.exchange import Exchange, symbols_of
from simulator.faults import Fault, strike
from simulator.kraken import Kraken
from simulator.market import Market
from simulator.okx import Okx
from simulator.pacing import Rates, Schedule, Source
from simulator.product import products
from simulator.recording import RecordedFrame
from simulator.replay import ReplayedBinance, Speed
from simulator.sockets import Clients, Sockets
from simulator.subscriptions import Subscriptions

EXCHANGES = ("binance", "bybit", "coinbase", "kraken", "okx")
SIMPLE: dict[str, Callable[[Market, Subscriptions], Exchange]] = {
    "bybit": Bybit, "coinbase": Coinbase, "kraken": Kraken, "okx": Okx,
}  # fmt: skip
# The clock looks every so often; what is due by then goes out in one turn of the loop.
TICK_SECONDS = 0.005
BEAT_SECONDS = 0.25
# So that a rate beyond what this machine can do leaves the loop some air.
MOST_PER_TICK = 2_000
# Kraken's narrow windows stay silent at some updates of the book, Binance's book is quiet for 300 ms after a snapshot.
BURST_PATIENCE_SECONDS = 10.0
BURST_CHUNK = 64


class Report(Struct, frozen=True):
    """``counts`` and ``subscriptions``: exchange -> channel -> unified symbol(s)."""

    counts: dict[str, dict[str, dict[str, Count]]]
    connections: dict[str, Clients]
    subscriptions: dict[str, dict[str, Sequence[str]]]
    paused: bool
    replay_done: bool


class Simulator:
    """Use as ``async with Simulator() as simulator``; ``simulator.url`` is then the base for ``addresses.rewritten``.

    ``symbols`` (exchange -> unified symbols) takes the place of ``markets`` (how many each exchange has). ``levels`` is
    the depth of each book. With ``replay`` Binance plays the recording instead of its generated market.
    """

    def __init__(
        self,
        exchanges: Sequence[str] = EXCHANGES,
        *,
        markets: int = 3,
        symbols: Mapping[str, Sequence[str]] | None = None,
        rates: Rates | None = None,
        levels: int = 100,
        seed: int = 1,
        early_deltas: bool = False,
        paused: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        replay: Iterable[RecordedFrame] | None = None,
        speed: Speed = "recorded",
        start_when: AbstractSet[str] = frozenset(),
    ) -> None:
        if unknown := [name for name in exchanges if name not in EXCHANGES]:
            raise ValueError(f"exchanges: expected some of {', '.join(EXCHANGES)}, was {unknown[0]!r}")
        if stray := set(symbols or {}) - set(exchanges):
            raise ValueError(f"symbols: expected exchanges that are simulated, was {min(stray)!r}")
        if replay is not None and "binance" not in exchanges:
            raise ValueError("replay: plays on binance, which is not among the exchanges")
        self.host, self.port = host, port
        self.replay_done = asyncio.Event()
        self._clock = Clock(paused=paused)
        self._speed = speed
        self._counts = Counts()
        self._schedule = Schedule(rates or Rates(), random.Random(f"{seed}:schedule"))
        self._exchanges: dict[str, Exchange] = {}
        self._markets: dict[str, Market] = {}
        self._replayed: ReplayedBinance | None = None
        for name in exchanges:
            market = Market(products(name, markets, (symbols or {}).get(name)), seed=seed, levels=levels)
            self._markets[name] = market
            self._exchanges[name] = self._exchange(name, market, early_deltas=early_deltas)
        if replay is not None:
            binance = self._exchanges["binance"]
            assert isinstance(binance, Binance)
            self._exchanges["binance"] = self._replayed = ReplayedBinance(binance, replay, start_when)
        self._sockets = Sockets(self._exchanges, self._counts)
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None

    def _exchange(self, name: str, market: Market, *, early_deltas: bool) -> Exchange:
        def on_first(wire_channel: str, symbol: str) -> None:
            channel = self._exchanges[name].channels[wire_channel]
            self._schedule.add(Source(name, channel, symbol), self._clock.now())

        subscriptions = Subscriptions(on_first)
        if name == "binance":
            return Binance(market, subscriptions, self._counts, early_deltas=early_deltas)
        return SIMPLE[name](market, subscriptions)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    # -- life

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.add_routes(routes(self))
        application.router.add_route("GET", "/{host}", self._sockets.serve)
        application.router.add_route("GET", "/{host}/{path:.*}", self._sockets.serve)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=CLOSE_SECONDS)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        self.port = self._runner.addresses[0][1]
        clocks = [self._pace(), self._beat()]
        if self._replayed is not None:
            clocks.append(self._replay(self._replayed))
        self._tasks = [asyncio.create_task(clock) for clock in clocks]
        for task in self._tasks:
            task.add_done_callback(_report_failure)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._sockets.close()
        if self._runner is not None:
            await self._runner.cleanup()
        for error in ended:
            if isinstance(error, Exception):
                raise error

    # -- what a test or a demo does

    def counts(self) -> Report:
        """What was written so far. Exact for a client that read everything, once ``pause`` or ``flush`` returned."""
        subscriptions = {name: symbols_of(exchange) for name, exchange in self._exchanges.items()}
        counts = self._counts.report(tuple(self._exchanges))
        return Report(counts, self._sockets.clients(), subscriptions, self._clock.paused, self.replay_done.is_set())

    def count(self, exchange: str, channel: str, symbol: str) -> Count:
        return self._counts.report((exchange,))[exchange].get(channel, {}).get(symbol, Count())

    def book(self, exchange: str, symbol: str) -> tuple[Sequence[float], Sequence[float]]:
        """The prices of all bids and asks now, best first."""
        market = self._markets[exchange]
        book, decimals = market.book(symbol), market.products[symbol].price_decimals
        bids, asks = ([price / 10**decimals for price, _ in side.levels(len(side))] for side in (book.bid, book.ask))
        return bids, asks

    def list(self, exchange: str, symbol: str, *, listed: bool = True) -> None:
        """Let the exchange tell that a symbol is traded, or not any more."""
        change = self._markets[exchange].delisted.discard if listed else self._markets[exchange].delisted.add
        change(symbol)

    def last_trade_id(self, exchange: str, symbol: str) -> int:
        """Of what happened on the market, written or not."""
        return self._markets[exchange].history(symbol)[-1].id

    def renumber(self, exchange: str) -> None:
        """Let REST tell other ids of trades than the stream from now on. OKX and Bybit."""
        self._markets[exchange].rest_ids_from = 10**9

    async def pause(self) -> None:
        """Stop what happens on the markets and write out what is queued. Pings and heartbeats go on."""
        self._clock.pause()
        await self.flush()

    def resume(self) -> None:
        """Go on where ``pause`` stopped."""
        self._clock.resume()

    async def flush(self) -> None:
        """Wait until everything queued was written. TimeoutError when a client does not read for 10 s."""
        await self._sockets.flush()

    async def burst(self, exchange: str, channel: str, frames: int, symbol: str | None = None) -> None:
        """Let exactly ``frames`` events of a channel happen as fast as the sockets take them, paused or not: each is one
        frame to every connection subscribed. Without ``symbol``, in turn on all that are subscribed. Returns when they
        were written."""
        market = self._exchanges[exchange]
        symbols = [symbol] if symbol else list(symbols_of(market).get(channel, ()))
        if not symbols:
            raise ValueError(f"burst: nobody is subscribed to {channel} of {exchange}")
        turn, deadline = itertools.cycle(symbols), time.monotonic() + BURST_PATIENCE_SECONDS
        fired = 0
        for now_symbol in turn:
            if fired >= frames:
                break
            if market.quiet(channel, now_symbol, time.time_ns()):
                await asyncio.sleep(TICK_SECONDS)
            elif market.fire(channel, now_symbol, time.time_ns()):
                fired, deadline = fired + 1, time.monotonic() + BURST_PATIENCE_SECONDS
            if fired % BURST_CHUNK == 0:
                await self._sockets.roomy()
            if time.monotonic() > deadline:
                raise TimeoutError(f"burst: {channel} of {exchange} stayed quiet after {fired} of {frames} frames")
        await self.flush()

    def fault(self, fault: Fault) -> int:
        """Let it go wrong, see ``Fault``. Returns how many connections it struck."""
        if fault.exchange not in self._exchanges:
            raise ValueError(f"exchange: expected one of {', '.join(self._exchanges)}, was {fault.exchange!r}")
        struck = self._sockets.of(fault.exchange)
        exchange, door = self._exchanges[fault.exchange], self._sockets.doors[fault.exchange]
        strike(fault, exchange, struck, door, time.monotonic(), time.time_ns())
        return len(struck)

    # -- what runs

    async def _pace(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            await self._clock.running()
            now, now_ns = self._clock.now(), time.time_ns()
            for _ in range(MOST_PER_TICK):
                entry = self._schedule.take(now)
                if entry is None:
                    break
                due, source = entry
                exchange, events = self._exchanges[source.exchange], 0
                if not exchange.quiet(source.channel, source.symbol, now_ns):
                    events = exchange.fire(source.channel, source.symbol, now_ns)
                self._schedule.again(due, source, events, now)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            for exchange in self._exchanges.values():
                exchange.beat(time.time_ns())

    async def _replay(self, replayed: ReplayedBinance) -> None:
        await replayed.run(self._speed, self._clock, self._sockets)
        self.replay_done.set()


def _report_failure(task: asyncio.Task[None]) -> None:
    """At once, not when the simulator ends: a clock that stands looks like a quiet market."""
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": "a clock of the simulator failed", "exception": error, "task": task}
        asyncio.get_running_loop().call_exception_handler(context)
