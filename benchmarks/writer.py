"""The writer, from JetStream into ready/, against the one that the description has (`seed_writer`).

Both read the same messages from the same nats-server and write the same columns of the same rows. Rounds alternate; a
figure is the median. What a figure says, and what it leaves out, is docs/benchmarks.md.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple, Self

from benchmarks import sides
from benchmarks.load import CHANNELS, RATE, SYMBOLS, Load, coming_hour
from benchmarks.publish import fill, pace
from benchmarks.report import Note, Row, row
from benchmarks.sides import Life, Ours, Peer, Run, run_ours, run_peer
from local.nats_server import NatsServer

HOUR_RECORDS = RATE * 3600
HOUR_SECONDS = HOUR_RECORDS / 1e6
"""Seconds for an hour of records, per µs that one costs."""
_MB = 1_000_000


class Sizes(NamedTuple):
    """How much is measured."""

    rounds: int
    hour: int
    """Records of a tenth of the symbols in the course of an hour: their files are as large as they get."""
    flat_out: int
    """Records of all partitions that wait in the stream."""
    peer_flat_out: int
    """Of them, what the peer's reads: it is slower."""
    peer_paced: int
    """Records from which the peer's bytes at pace are taken: it begins new files all the time, so it needs no hour."""
    per_channel: int
    warm_up_seconds: float
    window_seconds: float
    growth: tuple[int, ...]
    """Symbols on each of 3 exchanges, three channels each."""


FULL = Sizes(3, HOUR_RECORDS // 10 * 98 // 100, 1_200_000, 400_000, 180_000, 150_000, 10, 40, (1, 11, 50, 222))
QUICK = Sizes(1, HOUR_RECORDS // 10 // 10, 100_000, 60_000, 30_000, 0, 3, 6, ())


class Bench:
    """One run of the suite: a directory, its servers, and what has been found so far."""

    def __init__(self, directory: Path, sizes: Sizes, note: Note) -> None:
        self.directory = directory
        self.sizes = sizes
        self.note = note
        self._servers: list[NatsServer] = []
        with self._server() as server:
            self._ours_idle, self._peer_idle = (self._idle(server, side) for side in (Ours, Peer))
        note(
            f"starts and stops, subtracted below: ours {sum(self._ours_idle):.2f}, peer {sum(self._peer_idle):.2f} s CPU"
        )

    def _idle(self, server: Server, side: type[Ours | Peer]) -> Life:
        lives = [sides.idle_life(server.nats, self.directory, side) for _ in range(self.sizes.rounds)]
        return Life(median(life.start for life in lives), median(life.stop for life in lives))

    def _server(self) -> Server:
        server = Server(self.directory / f"nats-{len(self._servers)}")
        self._servers.append(server.nats)
        return server

    def filled(self, load: Load, records: int) -> Server:
        """A server with that much to read."""
        server = self._server()
        server.speed = asyncio.run(fill(server.nats.url, load, records))
        server.records = load.records
        return server

    def paced(self) -> dict[str, list[tuple[float, int]]]:
        """Side → (µs of CPU per record in the steady state, peak RSS) of each round at the reference load."""
        found: dict[str, list[tuple[float, int]]] = {"ours": [], "peer": []}
        for number in range(self.sizes.rounds):
            for side in (Ours, Peer):
                with self._server() as server:
                    one = asyncio.run(self._pace(server.nats, side))
                found[side.name].append(one)
                self.note(f"paced, round {number + 1}: {side.name} {one[0]:.1f} µs, RSS {one[1] / _MB:.0f} MB")
        return found

    async def _pace(self, server: NatsServer, side: type[Ours | Peer]) -> tuple[float, int]:
        load, stop = reference_load(), asyncio.Event()
        publishing = asyncio.create_task(pace(server.url, load, stop))
        await asyncio.sleep(0.5)  # the streams are there
        writer: Ours | Peer = await asyncio.to_thread(lambda: side(server, self.directory))
        try:
            await asyncio.sleep(self.sizes.warm_up_seconds)
            cpu_seconds, records = writer.process.cpu_seconds(), load.records
            await asyncio.sleep(self.sizes.window_seconds)
            cpu_seconds, records = writer.process.cpu_seconds() - cpu_seconds, load.records - records
            assert writer.process.running, writer.process.log.read_text()[-2000:]
        finally:
            writer.process.kill()
            stop.set()
            await publishing
        return cpu_seconds / records * 1e6, writer.process.peak_rss_bytes

    def ours(self, server: Server, *, at_pace: bool = False) -> Run:
        return run_ours(server.nats, self.directory, server.records, self._ours_idle, server.speed, at_pace=at_pace)

    def peer(self, server: Server, records: int, *arguments: str) -> Run:
        return run_peer(server.nats, self.directory, records, self._peer_idle, *arguments)


class Server:
    """A nats-server for the length of a block; its store goes with it."""

    def __init__(self, directory: Path) -> None:
        self.nats = NatsServer(directory, sync_interval="2m")  # reading is measured, not fsync
        self.nats.start()
        self.speed = 1.0
        """How much faster than in its own time its load was published."""
        self.records = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.nats.kill()
        sides.remove(self.nats.directory)


def reference_load(*, symbols: int = SYMBOLS, channels: tuple[str, ...] = CHANNELS, rate: float = RATE) -> Load:
    return Load(coming_hour(time.time_ns()), symbols=symbols, channels=channels, rate=rate)


def measure(directory: Path, quick: bool, note: Note) -> list[Row]:  # noqa: FBT001  # the signature of a suite
    bench = Bench(directory, QUICK if quick else FULL, note)
    if quick:
        note(
            "one short round each: files are a tenth of their size, so ours pays more for commits than it does in an hour"
        )
    hour = _hour(bench)
    commit = median(run.commit_microseconds for run in hour)
    note(f"commits: {commit:.2f} µs per record with {hour[0].records // hour[0].files:,} rows in a file")
    flat = _flat_out(bench, commit)
    weighed = flat.peer_at_pace
    _channels(bench)
    growth = _growth(bench, commit)
    paced = bench.paced()
    ours = median(one[0] for one in paced["ours"]) + commit
    note(f"ours at the reference load: {ours * RATE / 1e4:.2f} % of one core, commits included")
    return [
        row("writer.cpu_reference", ours, median(one[0] for one in paced["peer"]), "µs CPU per record"),
        row("writer.cpu_flat_out", flat.ours, flat.peer, "µs CPU per record"),
        row(
            "writer.rss",
            max(one / _MB for one in [*(run.rss_bytes for run in hour), *(one[1] for one in paced["ours"])]),
            median(one[1] for one in paced["peer"]) / _MB,
            "MB peak at the reference load",
        ),
        row("writer.rss_catch_up", flat.ours_rss_bytes / _MB, flat.peer_rss_bytes / _MB, "MB peak, catching up"),
        row("writer.bytes", hour[0].bytes, weighed.bytes, "bytes on disk per record"),
        row("writer.written", hour[0].written_per_record, weighed.written_per_record, "bytes written per record"),
        row(
            "writer.written_per_byte", hour[0].written_per_byte, weighed.written_per_byte, "bytes written per byte kept"
        ),
        row("writer.catch_up", flat.ours * HOUR_SECONDS, flat.peer * HOUR_SECONDS, "s CPU for an hour offline"),
        *growth,
    ]


def _hour(bench: Bench) -> list[Run]:
    """Ours writes a whole hour of a tenth of the symbols, spooled in the pieces of its pace."""
    sizes, runs = bench.sizes, []
    load = reference_load(symbols=SYMBOLS // 10, rate=RATE / 10)
    with bench.filled(load, sizes.hour) as server:
        for number in range(sizes.rounds):
            runs.append(bench.ours(server, at_pace=True))
            bench.note(f"an hour, {load.partitions} partitions, round {number + 1}, ours: {_told(runs[-1])}")
    return runs


class FlatOut(NamedTuple):
    """What waits in the stream, as fast as it goes."""

    ours: float
    """µs of CPU per record."""
    peer: float
    ours_rss_bytes: int
    peer_rss_bytes: int
    peer_at_pace: Run
    """To be weighed."""


def _flat_out(bench: Bench, commit: float) -> FlatOut:
    """`commit`: what the files of a whole hour cost ours per record, instead of those of the run."""
    sizes, note = bench.sizes, bench.note
    ours, peer = [], []
    with bench.filled(reference_load(), sizes.flat_out) as server:
        note(f"{sizes.flat_out:,} records are in the stream, published {server.speed:.0f} times as fast as they came")
        for number in range(sizes.rounds):
            ours.append(bench.ours(server))
            note(f"flat out, round {number + 1}, ours: {_told(ours[-1])}")
            peer.append(bench.peer(server, sizes.peer_flat_out))
            note(f"flat out, round {number + 1}, peer: {_told(peer[-1])}")
        reading = bench.peer(server, sizes.peer_flat_out, "--discard")
        note(f"of the peer's, reading messages into dicts is {reading.microseconds:.1f} µs")
        weighed = bench.peer(server, sizes.peer_paced, "--clock", "simulated")
        note(f"at pace in simulated time, peer: {_told(weighed)}")
        assert sides.columns(bench.directory / "ours" / "data") == sides.columns(bench.directory / "peer" / "data")
        if sizes is FULL:
            more = bench.peer(server, sizes.peer_paced, "--clock", "simulated", "--open-writers", "1000")
            note(f"the same with MAX_OPEN_WRITERS 1000: {_told(more)}")
    read = median(run.microseconds - run.commit_microseconds for run in ours)
    return FlatOut(
        read + commit,
        median(run.microseconds for run in peer),
        max(run.rss_bytes for run in ours),
        max(run.rss_bytes for run in peer),
        weighed,
    )


def _channels(bench: Bench) -> None:
    records = bench.sizes.per_channel
    for channel in ("trade", "ticker", "orderbook") if records else ():
        with bench.filled(reference_load(channels=(channel,)), records) as server:
            ours, peer = bench.ours(server), bench.peer(server, records)
        bench.note(f"{channel} flat out: ours {_told(ours)}; peer {_told(peer)}")


def _growth(bench: Bench, commit: float) -> list[Row]:
    """The same records a second in more and more partitions. Ours: reading, `commit`, and what beginning and ending a file
    costs, spread over the rows of its hour. The peer's: at pace, because it pays by the flush.
    """
    rows, records = [], bench.sizes.per_channel
    for symbols in bench.sizes.growth:
        load = reference_load(symbols=symbols)
        with bench.filled(load, records) as server:
            run, peer = bench.ours(server), bench.peer(server, records, "--clock", "simulated")
        per_file = max(0.0, run.commit_cpu_seconds - commit * run.records / 1e6) / run.files
        read, files = run.microseconds - run.commit_microseconds, per_file * load.partitions / HOUR_RECORDS * 1e6
        bench.note(
            f"{load.partitions} partitions: ours reads for {read:.1f} µs per record and needs {per_file * 1e3:.1f} ms for "
            f"a file, RSS {run.rss_bytes / _MB:.0f} MB; peer {_told(peer)}"
        )
        name = f"writer.cpu_{load.partitions}_partitions"
        rows.append(row(name, read + commit + files, peer.microseconds, "µs CPU per record"))
    return rows


def _told(run: Run) -> str:
    commits = f" ({run.commit_microseconds:.1f} of it for commits)" if run.commit_microseconds else ""
    return (
        f"{run.microseconds:.1f} µs CPU{commits} and {run.bytes:.1f} bytes per record in {run.files} files, "
        f"{run.records / run.cpu_seconds:,.0f} records per s CPU, RSS {run.rss_bytes / _MB:.0f} MB, "
        f"wrote {run.written_per_byte:.1f} bytes per byte kept, wall {run.wall_seconds:.0f} s"
    )
