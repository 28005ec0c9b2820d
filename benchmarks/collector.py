"""The collector, from a simulated exchange to JetStream: its native feeds against ccxt's, and ours with ccxt against a bare
loop over `watch_*` (`ccxt_loop`), all as processes. And what a frame costs in the handlers alone, on the same frames.

A live frame comes by itself: 50 symbols, trades, tickers and books of depth 20, about 1,000 frames a second. Rounds
alternate; a figure is the median.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import yaml

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # the simulator, and the handlers that its tests drive

from benchmarks.process import Measured
from benchmarks.report import Note, Row, row
from daedalus.records import Record
from daedalus_collector.feed import Pair
from local.nats_server import NatsServer, free_port
from simulator.product import products
from support.frames import RECORDINGS, recorded, simulated
from support.handlers import URLS, Handler, ThroughCcxt, ThroughNative

ROOT = Path(__file__).parents[1]
SYMBOLS = 50
DEPTH = 20
RATES = {"coinbase": (12.0, 4.0, 8.0), "binance": (8.0, 4.0, 8.0)}
"""Trades, tickers, books for each symbol and second: about 1,000 frames a second of all (Coinbase packs trades together)."""
LEVELS = 500
TICK_SECONDS = 0.001
"""Of the simulator: at its own 5 ms frames come five at a time, and the waking of the process is shared among them."""
_MB = 1_000_000


class Sizes(NamedTuple):
    rounds: int
    warm_up_seconds: float
    window_seconds: float
    exchanges: tuple[str, ...]


FULL = Sizes(3, 12, 20, ("coinbase", "binance"))
QUICK = Sizes(1, 6, 5, ("coinbase",))


class Live(NamedTuple):
    """One process in its steady state."""

    microseconds: float
    """CPU per frame that it was sent."""
    rss_bytes: int
    frames_per_second: float


def measure(directory: Path, quick: bool, note: Note) -> list[Row]:  # noqa: FBT001  # the signature of a suite
    sizes = QUICK if quick else FULL
    asyncio.run(_handlers(note, rounds=1 if quick else 3))
    rows = []
    for exchange in sizes.exchanges:
        found: dict[str, list[Live]] = {"native": [], "ccxt": [], "bare": []}
        with _simulator(exchange, directory) as endpoint:
            for number in range(sizes.rounds):
                for side, runs in found.items():
                    with _nats(directory / f"{exchange}-{number}-{side}") as nats:
                        runs.append(_live(side, exchange, endpoint, nats, directory, sizes))
                    note(
                        f"{exchange}, round {number + 1}, {side}: {runs[-1].microseconds:.0f} µs CPU per frame at "
                        f"{runs[-1].frames_per_second:.0f} frames/s, RSS {runs[-1].rss_bytes / _MB:.0f} MB"
                    )
        cost = {side: median(run.microseconds for run in runs) for side, runs in found.items()}
        rss = {side: median(run.rss_bytes for run in runs) / _MB for side, runs in found.items()}
        if exchange == sizes.exchanges[0]:
            rows = [
                row("collector.native_vs_ccxt", cost["native"], cost["ccxt"], "µs CPU per live frame"),
                row("collector.live_frame", cost["ccxt"], cost["bare"], "µs CPU per live frame"),
                row("collector.rss_ccxt", rss["ccxt"], rss["bare"], "MB with 50 symbols"),
                row("collector.rss_native", rss["native"], rss["bare"], "MB with 50 symbols"),
            ]
        note(f"{exchange}: native is 1/{cost['ccxt'] / cost['native']:.1f} of ccxt with the tap")
    return rows


# -- processes


@contextmanager
def _simulator(exchange: str, directory: Path) -> Iterator[str]:
    port, (trades, tickers, books) = free_port(), RATES[exchange]
    single = f"import asyncio, simulator.server as s, simulator.__main__ as m; s.TICK_SECONDS = {TICK_SECONDS}; asyncio.run(m.main())"
    command = [sys.executable, "-c", single, "--port", str(port), "--exchange", exchange]
    command += ["--markets", str(SYMBOLS), "--levels", str(LEVELS), "--trades-per-second", str(trades)]
    command += ["--tickers-per-second", str(tickers), "--books-per-second", str(books)]
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), before])
    process = Measured(command, directory)
    os.environ["PYTHONPATH"] = before
    try:
        deadline = time.monotonic() + 10
        while not _get(f"http://127.0.0.1:{port}/sim/healthz"):
            assert time.monotonic() < deadline, "the simulator did not start"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()


@contextmanager
def _nats(directory: Path) -> Iterator[str]:
    """Empty: a collector reads the end of what an earlier one left."""
    server = NatsServer(directory, sync_interval="2m")
    server.start()
    try:
        yield server.url
    finally:
        server.kill()


def _live(side: str, exchange: str, endpoint: str, nats: str, directory: Path, sizes: Sizes) -> Live:
    process = Measured(_command(side, exchange, endpoint, nats, directory), directory)
    try:
        _wait_subscribed(endpoint, exchange, process)
        time.sleep(sizes.warm_up_seconds)
        cpu, frames, began = process.cpu_seconds(), _frames(endpoint, exchange), time.monotonic()
        time.sleep(sizes.window_seconds)
        cpu, frames = process.cpu_seconds() - cpu, _frames(endpoint, exchange) - frames
        rss = process.peak_rss_bytes
        assert process.running, process.log.read_text()[-2000:]
        return Live(cpu / frames * 1e6, rss, frames / (time.monotonic() - began))
    finally:
        process.kill()
        time.sleep(1)  # the simulator sees the connections end


def _command(side: str, exchange: str, endpoint: str, nats: str, directory: Path) -> Sequence[str]:
    symbols = _symbols(exchange)
    if side == "bare":
        return [sys.executable, "-m", "benchmarks.ccxt_loop", exchange, endpoint, str(DEPTH), *symbols]
    settings = {
        "feed": side,
        "endpoint": endpoint,
        "max_orderbook_depth": DEPTH,
        "channels": {"watchTicker": symbols, "watchTrades": symbols, "watchOrderBook": symbols},
    }
    config = directory / f"{side}.yaml"
    config.write_text(yaml.safe_dump({"ccxt": {"exchanges": {exchange: settings}}, "nats": {"url": nats}}))
    return [sys.executable, "-m", "daedalus_collector", "--config", str(config), "--exchange", exchange]


def _symbols(exchange: str) -> list[str]:
    return [product.symbol for product in products(exchange, SYMBOLS)]


def _wait_subscribed(endpoint: str, exchange: str, process: Measured) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.running:
        subscribed = json.loads(_get(f"{endpoint}/sim/counts"))["subscriptions"][exchange]
        if all(len(subscribed.get(channel, ())) == SYMBOLS for channel in ("trade", "ticker", "orderbook")):
            return
        time.sleep(0.2)
    raise RuntimeError(f"not subscribed: {process.log.read_text()[-2000:]}")


def _frames(endpoint: str, exchange: str) -> int:
    counts = json.loads(_get(f"{endpoint}/sim/counts"))["counts"][exchange]
    return sum(count["frames"] for symbols in counts.values() for count in symbols.values())


def _get(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return str(response.read().decode())
    except OSError:
        return ""


# -- handlers alone


class _Nowhere:
    def record(self, pair: Pair, record: Record) -> None: ...
    def interrupted(self, pairs: object, from_ns: int, cause: str, detail: str) -> None: ...


async def _handlers(note: Note, rounds: int) -> None:
    for name, exchange, frames, snapshot in await _loads(note):
        cost: dict[str, list[float]] = {"native": [], "ccxt": []}
        for _ in range(rounds):
            for side, make in (("native", ThroughNative), ("ccxt", ThroughCcxt)):
                handler: Handler = make(exchange, _Nowhere(), DEPTH)
                for early in snapshot[:-1]:
                    handler.take(early)
                if snapshot:
                    await handler.lay(snapshot[-1])
                cost[side].append(_timed(handler, frames))
                if isinstance(handler, ThroughCcxt):
                    await handler.exchange.close()
        native, ccxt = min(cost["native"]), min(cost["ccxt"])
        note(f"handlers alone, {name}: native {native:.2f} µs, ccxt with the tap {ccxt:.2f} µs, 1/{ccxt / native:.1f}")


def _timed(handler: Handler, frames: Sequence[bytes]) -> float:
    gc.collect()
    gc.freeze()
    take, began = handler.take, time.process_time_ns()
    for frame in frames:
        take(frame)
    return (time.process_time_ns() - began) / len(frames) / 1e3


async def _loads(note: Note) -> list[tuple[str, str, list[bytes], list[bytes]]]:
    """(what it is, exchange, frames, what comes before them: changes, and a snapshot as the last)."""
    loads: list[tuple[str, str, list[bytes], list[bytes]]] = []
    for exchange, path in RECORDINGS.items():
        if not path.exists():
            note(f"no recorded frames at {path}: set DAEDALUS_FRAMES")
            continue
        frames = list(recorded(exchange))
        at = next(number for number, (stream, _) in enumerate(frames) if not stream)
        trades = [payload for stream, payload in frames if stream.endswith("@trade")]
        early = [payload for stream, payload in frames[:at] if "@depth" in stream]
        loads.append((f"{exchange} trade", exchange, trades, []))
        later = [payload for stream, payload in frames[at:] if "@depth" in stream]
        loads.append((f"{exchange} diff depth", exchange, later, [*early, frames[at][1]]))
    subscribe = [
        {"type": "subscribe", "channel": channel, "product_ids": ["BTC-USD"]}
        for channel in ("market_trades", "ticker", "level2")
    ]
    channels = ("trade", "ticker", "orderbook")
    for channel, message in zip(channels, subscribe, strict=True):
        made = await simulated("coinbase", "BTC/USD", URLS["coinbase"], [message], [channel], 2_000)
        loads.append((f"coinbase {message['channel']}", "coinbase", made, []))
    return loads
