"""Directories that change places."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from daedalus.catalog import Entry
from daedalus.config import Ingestion
from daedalus.naming import staged_name
from daedalus_writer.compact import replacement
from daedalus_writer.compact.merged_file import merge
from daedalus_writer.compact.replacement import ExchangeError, beside, build, check_exchange, discard, finish, replace
from support.batches import recorded
from support.sealed import Sealed


class Bench:
    """A directory with two segments to be merged and one of another hour, as without the partition column `hour`."""

    def __init__(self, root: Path, entries: list[Entry], entry: Entry) -> None:
        self.root = root
        self.entries, self.entry = entries, entry
        self.ready, self.room = root / "raw" / "ready", root / "raw" / "active" / "room"
        self.folder = (self.ready / entry.path).parent
        self.other = self.folder / "segment_20260917T12_00003.parquet"

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


MakeBench = Callable[[str], Bench]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The larger file is ready, the directory is not."""
    root = tmp_path_factory.mktemp("made")
    sealed = Sealed(root)
    for number in range(2):
        sealed.segment(sequences=(number + 1, number + 1), first_number=50 * number)
    room = root / "raw" / "active" / "room"
    room.mkdir(parents=True)
    bench = Bench(root, sealed.entries, merge(sealed.entries, sealed.ready, room, Ingestion(), "test"))
    bench.other.write_bytes(b"another hour")
    return bench


@pytest.fixture
def make_bench(made: Bench, tmp_path: Path) -> MakeBench:
    return lambda name: Bench(shutil.copytree(made.root, tmp_path / name), made.entries, made.entry)


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench("data")


AFTER = ["segment_20260917T11_00001-00002.parquet", "segment_20260917T12_00003.parquet"]
LATE = "segment_20260917T11_00004.parquet"


def test_replaced_in_one_step(bench: Bench) -> None:
    """Before the step all old files, after it the larger one; what is not merged stays, and so does the old directory."""
    before = bench.names()
    build(bench.entry, bench.room, bench.ready)
    assert bench.names() == before
    known = replace(bench.entry, bench.room, bench.ready)
    assert bench.names() == AFTER
    assert bench.other.read_bytes() == b"another hour"
    assert sorted(path.name for path in beside(bench.entry, bench.room).iterdir()) == before
    discard(bench.entry, bench.room, bench.ready, known)
    assert bench.names() == AFTER
    assert list(bench.room.iterdir()) == []


def test_directory_follows_until_the_step(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment that a writer publishes after the new directory was built is there at the step, not a moment later; one
    that retention deletes meanwhile does not come back."""
    at_the_step: list[str] = []
    monkeypatch.setattr(replacement, "passed", lambda step: at_the_step.extend(bench.names() * (step == "exchanged")))
    build(bench.entry, bench.room, bench.ready)
    (bench.folder / LATE).write_bytes(b"late")
    bench.other.unlink()
    replace(bench.entry, bench.room, bench.ready)
    assert at_the_step == bench.names() == [AFTER[0], LATE]


def test_what_comes_at_the_step_is_moved_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment whose rename meets the step lands in the old directory, and is there again when the step is done."""
    exchange = replacement.exchange

    def meets_a_writer(one: Path, other: Path) -> None:
        (other / LATE).write_bytes(b"late")
        exchange(one, other)

    monkeypatch.setattr(replacement, "exchange", meets_a_writer)
    build(bench.entry, bench.room, bench.ready)
    replace(bench.entry, bench.room, bench.ready)
    assert bench.names() == [AFTER[0], LATE, AFTER[1]]


class KilledError(Exception):
    """Stands for `kill -9`."""


class Scene:
    """A run that is killed after its commit, the next one that finishes it, and a writer that publishes once meanwhile."""

    def __init__(self, bench: Bench, killed: str, published: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench = bench
        self.published = False
        self._there = beside(bench.entry, bench.room)
        self._killed, self._publish_at = killed, published
        self._exchange = replacement.exchange
        self._exchanges = 0
        monkeypatch.setattr(replacement, "exchange", self._step)
        monkeypatch.setattr(replacement, "passed", self._passed)

    def run(self) -> None:
        bench = self.bench
        if self._killed == "before the build":
            return
        self._publish("before the build", bench.folder)
        if self._killed == "in the build":
            self._there.mkdir()
            (self._there / bench.other.name).hardlink_to(bench.other)
            return
        build(bench.entry, bench.room, bench.ready)
        self._publish("after the build", bench.folder)
        if self._killed != "after the build":
            with contextlib.suppress(KilledError):
                replace(bench.entry, bench.room, bench.ready)
        if self._killed == "uploaded":
            (bench.ready / bench.entry.path).unlink()  # as retention does

    def next_run(self, killed: str) -> None:
        self._killed = killed
        self._publish("before the next run", self.bench.folder)
        with contextlib.suppress(KilledError):
            known = finish(self.bench.entry, self.bench.room, self.bench.ready)
            self._publish("at the end", self._there)  # by a rename that began before the step
            discard(self.bench.entry, self.bench.room, self.bench.ready, known)

    def _publish(self, where: str, folder: Path) -> None:
        if where == self._publish_at and not self.published:
            self.published = True
            (folder / LATE).write_bytes(b"late")

    def _step(self, one: Path, other: Path) -> None:
        self._exchanges += 1
        self._publish(f"in exchange {self._exchanges}", other)
        self._exchange(one, other)

    def _passed(self, step: str) -> None:
        if step == self._killed or (step, self._killed) == ("exchanged", "uploaded"):
            raise KilledError


@pytest.mark.parametrize("again", ["not", "exchanged", "cleared"])
@pytest.mark.parametrize(
    "killed", ["before the build", "in the build", "after the build", "exchanged", "uploaded", "cleared"]
)
def test_nothing_vanishes_wherever_it_is_killed(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, killed: str, again: str
) -> None:
    """Wherever a run is killed after its commit, and wherever the next one is killed that finishes it: a segment that a
    writer publishes at any point is there at the end, beside the larger file, and nothing comes back that it replaced."""
    met = set()
    for published in (
        *("before the build", "after the build", "in exchange 1", "in exchange 2", "in exchange 3"),
        *("before the next run", "at the end", "never"),
    ):
        with monkeypatch.context() as patched:
            scene = Scene(make_bench(published), killed, published, patched)
            scene.run()
            scene.next_run(again)
            if (scene.bench.room / staged_name(scene.bench.entry.path)).exists():
                scene.next_run("not")
        assert scene.bench.names() == [AFTER[0], *[LATE] * scene.published, AFTER[1]], published
        assert list(scene.bench.room.iterdir()) == [], published
        met.update([published] * scene.published)
    assert {"before the next run", "at the end"} <= met


def test_listing_from_before_the_step_is_refused(bench: Bench) -> None:
    """Who listed the small files and reads them only now gets an error from DuckDB, not fewer rows."""
    listed = [str(bench.ready / entry.path) for entry in bench.entries]
    count = "SELECT count(*) FROM read_parquet(?)"
    assert duckdb.execute(count, [listed]).fetchall() == [(100,)]
    build(bench.entry, bench.room, bench.ready)
    replace(bench.entry, bench.room, bench.ready)
    with pytest.raises(duckdb.IOException, match="No files found"):
        duckdb.execute(count, [listed])
    with pytest.raises(duckdb.IOException, match="No files found"):
        duckdb.execute(count, [[str(bench.ready / bench.entry.path), listed[0]]])


def test_reader_sees_each_row_once(bench: Bench) -> None:
    """Whoever lists and reads while the directories change places has all rows once, or is told that a file is gone."""
    bench.other.unlink()
    seen: list[object] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                seen.append(sorted(recorded(bench.root).get(("kraken", "trade", "BTC-USD"), [])))
            except FileNotFoundError:
                seen.append("gone")

    reader = threading.Thread(target=read)
    reader.start()
    build(bench.entry, bench.room, bench.ready)
    there = beside(bench.entry, bench.room)
    for times in range(1, 100_000):  # there and back again, so that the reader meets it
        replacement.exchange(there, bench.folder)
        if times % 2 and len(seen) >= 20:
            break
    stop.set()
    reader.join()
    assert bench.names() == AFTER[:1]
    assert len(seen) >= 20
    assert [one for one in seen if one not in ("gone", list(range(100)))] == []


def test_file_system_that_cannot(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told before anything is touched."""
    check_exchange(bench.room)

    def refuse(one: Path, other: Path) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(replacement, "exchange", refuse)
    with pytest.raises(ExchangeError, match=r"two directories can change places.*Invalid argument"):
        check_exchange(bench.room)
    assert not list(bench.room.glob("o*"))
