"""The collector, from a simulated exchange to JetStream: its native feeds against ccxt's, and ours with ccxt against a bare
loop over `watch_*` (`ccxt_loop`), all as processes.

A live frame comes by itself: 50 symbols, trades, tickers and books of depth 20, about 1,000 frames a second. Rounds
alternate; a figure is the median.
"""

from __future__ import annotations

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

from benchmarks import latency
from benchmarks.process import Measured
from benchmarks.report import Note, Row, row
from local.nats_server import NatsServer, free_port
from simulator.product import products

ROOT = Path(__file__).parents[1]
SYMBOLS = 50
MARKETS = 1_700
"""That the exchange lists."""
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


FULL = Sizes(3, 12, 20, ("coinbase",))
QUICK = Sizes(1, 6, 5, ("coinbase",))


class Live(NamedTuple):
    """One process in its steady state."""

    microseconds: float
    """CPU per frame that it was sent."""
    rss_bytes: int
    frames_per_second: float
    latency: latency.Latency | None
    """From the socket to JetStream; the bare loop stores nothing."""


def measure(directory: Path, quick: bool, note: Note) -> list[Row]:  # noqa: FBT001  # the signature of a suite
    sizes = QUICK if quick else FULL
    rows: list[Row] = []
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
        stored = [run.latency for side in ("native", "ccxt") for run in found[side] if run.latency is not None]
        with _nats(directory / f"{exchange}-single") as nats:
            single, single_cpu = latency.of_single_messages(nats)
        p50, p99 = median(one.p50 for one in stored), median(one.p99 for one in stored)
        note(
            f"{exchange}: from the socket to JetStream {p50:.0f} ms, p99 {p99:.0f} ms (a record lingers up to 500 ms for others); "
            f"each record published by itself {single.p50:.1f} ms, p99 {single.p99:.1f} ms, and {single_cpu:.0f} µs CPU for that alone"
        )
        if exchange == sizes.exchanges[0]:
            rows = [
                row("collector.native_vs_ccxt", cost["native"], cost["ccxt"], "µs CPU per live frame"),
                row("collector.live_frame", cost["ccxt"], cost["bare"], "µs CPU per live frame"),
                row("collector.rss_ccxt", rss["ccxt"], rss["bare"], "MB with 50 symbols"),
                row("collector.rss_native", rss["native"], rss["bare"], "MB with 50 symbols"),
                row("collector.ack_latency_p99", p99, single.p99, "ms from socket to JetStream"),
            ]
        note(f"{exchange}: native is 1/{cost['ccxt'] / cost['native']:.1f} of ccxt with the tap")
    return rows


# -- processes


@contextmanager
def _simulator(exchange: str, directory: Path) -> Iterator[str]:
    port, (trades, tickers, books) = free_port(), RATES[exchange]
    single = f"import asyncio, simulator.server as s, simulator.__main__ as m; s.TICK_SECONDS = {TICK_SECONDS}; asyncio.run(m.main())"
    command = [sys.executable, "-c", single, "--port", str(port), "--exchange", exchange]
    command += ["--markets", str(MARKETS), "--levels", str(LEVELS), "--trades-per-second", str(trades)]
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
        seconds = time.monotonic() - began
        stored = latency.of_records(nats, time.time_ns() - int(seconds * 1e9)) if side != "bare" else None
        return Live(cpu / frames * 1e6, rss, frames / seconds, stored)
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
