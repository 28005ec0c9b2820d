"""What a frame costs in the handlers alone: native against ccxt with the tap, and against cryptofeed, on the same frames.

Frames are fed one after the other, so this is the cost of flat out; a live frame costs many times that (`collector`).
cryptofeed runs as a process in an environment of its own (benchmarks/requirements.txt), with Binance's combined streams,
which is how it subscribes; Daedalus gets the same frames without their envelope, which is how it does.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.report import Note, Row, row
from daedalus.records import Record
from daedalus_collector.feed import Pair
from support.frames import RECORDINGS, recorded, simulated
from support.handlers import URLS, Handler, ThroughCcxt, ThroughNative

DEPTH = 20
PEER = Path(__file__).with_name("cryptofeed_handler.py")
PEER_PYTHON = Path(__file__).parents[1] / ".venv-bench" / "bin" / "python"


class _Nowhere:
    def record(self, pair: Pair, record: Record) -> None: ...
    def interrupted(self, pairs: object, from_ns: int, cause: str, detail: str) -> None: ...


def measure(directory: Path, quick: bool, note: Note) -> list[Row]:  # noqa: FBT001  # the signature of a suite
    rounds = 1 if quick else 5
    asyncio.run(_against_ccxt(note, rounds))
    return asyncio.run(_against_cryptofeed(directory, note, rounds))


async def _against_ccxt(note: Note, rounds: int) -> None:
    for name, exchange, frames, snapshot in await _loads(note):
        cost: dict[str, list[float]] = {"native": [], "ccxt": []}
        for _ in range(rounds):
            for side, make in (("native", ThroughNative), ("ccxt", ThroughCcxt)):
                handler: Handler = make(exchange, _Nowhere(), DEPTH)
                await _lay(handler, snapshot)
                cost[side].append(_timed(handler, frames))
                if isinstance(handler, ThroughCcxt):
                    await handler.exchange.close()
        native, ccxt = median(cost["native"]), median(cost["ccxt"])
        flat_out = f"{1e6 / native:,.0f} frames/s" if native else ""
        note(f"handlers, {name}: native {native:.2f} µs ({flat_out}), ccxt {ccxt:.2f} µs, 1/{ccxt / native:.1f}")


async def _against_cryptofeed(directory: Path, note: Note, rounds: int) -> list[Row]:
    if not RECORDINGS["binance"].exists() or not PEER_PYTHON.exists():
        note(f"cryptofeed was not measured: expected {RECORDINGS['binance']} and {PEER_PYTHON}")
        return []
    frames = list(recorded("binance"))
    at = next(number for number, (stream, _) in enumerate(frames) if not stream)
    early = [frame for frame in frames[:at] if "@depth" in frame[0]]
    rows = {}
    for name, streams in (("trade", ("@trade",)), ("diff depth", ("@depth",)), ("both", ("@trade", "@depth"))):
        later = [frame for frame in frames[at + 1 :] if any(stream in frame[0] for stream in streams)]
        file = directory / "cryptofeed.txt"
        file.write_bytes(b"\n".join([frames[at][1], *(_combined(*frame) for frame in (*early, *later))]))
        cost: dict[str, list[float]] = {"native": [], "cryptofeed": []}
        for _ in range(rounds):
            native = ThroughNative("binance", _Nowhere(), DEPTH)
            await _lay(native, [payload for _, payload in (*early, frames[at])])
            cost["native"].append(_timed(native, [payload for _, payload in later]))
            cost["cryptofeed"].append(_peer(file))
        native_cost, peer_cost = median(cost["native"]), median(cost["cryptofeed"])
        note(
            f"handlers, recorded binance {name}: native {native_cost:.2f} µs, cryptofeed {peer_cost:.2f} µs, 1/{peer_cost / native_cost:.1f}"
        )
        rows[name] = row("collector.native_vs_cryptofeed", native_cost, peer_cost, "µs CPU per frame, handlers alone")
    return [rows["both"]]


def _combined(stream: str, payload: bytes) -> bytes:
    """As cryptofeed is sent it; it takes aggregated trades, whose frames are of the same size and fields."""
    payload = payload.replace(b'"e":"trade"', b'"e":"aggTrade"').replace(b'"t":', b'"a":')
    return b'{"stream":"%s","data":%s}' % (stream.encode(), payload)


def _peer(file: Path) -> float:
    done = subprocess.run(
        [PEER_PYTHON, PEER, file], check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""}
    )
    return float(done.stdout)


async def _lay(handler: Handler, before: Sequence[bytes]) -> None:
    """What comes before the frames that are timed: changes, and a snapshot as the last."""
    for early in before[:-1]:
        handler.take(early)
    if before:
        await handler.lay(before[-1])


def _timed(handler: Handler, frames: Sequence[bytes]) -> float:
    gc.collect()
    gc.freeze()
    take, began = handler.take, time.process_time_ns()
    for frame in frames:
        take(frame)
    return (time.process_time_ns() - began) / len(frames) / 1e3


async def _loads(note: Note) -> list[tuple[str, str, list[bytes], list[bytes]]]:
    """(what it is, exchange, frames, what comes before them)."""
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
