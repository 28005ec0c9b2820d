"""Directories that change places."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from daedalus.catalog import Entry
from daedalus.config import Ingestion
from daedalus_writer.compact import replacement
from daedalus_writer.compact.merged_file import merge
from daedalus_writer.compact.replacement import ExchangeError, beside, build, check_exchange, finish, replace
from support.batches import recorded
from support.sealed import Sealed


class Bench:
    """A directory with two segments to be merged and one of another hour, as without the partition column `hour`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sealed = Sealed(root)
        for number in range(2):
            self.sealed.segment(sequences=(number + 1, number + 1), first_number=50 * number)
        self.ready, self.room = self.sealed.ready, root / "raw" / "active" / "room"
        self.room.mkdir()
        self.folder = (self.ready / self.sealed.entries[0].path).parent
        self.other = self.folder / "segment_20260917T12_00003.parquet"
        self.other.write_bytes(b"another hour")
        self.entry: Entry = merge(self.sealed.entries, self.ready, self.room, Ingestion(), "test")

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


AFTER = ["segment_20260917T11_00001-00002.parquet", "segment_20260917T12_00003.parquet"]


def test_replaced_in_one_step(bench: Bench) -> None:
    """Before the step all old files, after it the larger one; what is not merged stays, and so does the old directory."""
    before = bench.names()
    build(bench.entry, bench.room, bench.ready)
    assert bench.names() == before
    replace(bench.entry, bench.room, bench.ready)
    assert bench.names() == AFTER
    assert bench.other.read_bytes() == b"another hour"
    assert sorted(path.name for path in beside(bench.entry, bench.room).iterdir()) == before


def test_file_that_a_writer_published_meanwhile(bench: Bench) -> None:
    """What came into the old directory after the new one was built is moved over, also by the next run."""
    late = bench.folder / "segment_20260917T11_00004.parquet"
    build(bench.entry, bench.room, bench.ready)
    late.write_bytes(b"late")
    replace(bench.entry, bench.room, bench.ready)
    assert bench.names() == [AFTER[0], late.name, AFTER[1]]
    assert late.read_bytes() == b"late"


@pytest.mark.parametrize("killed", ["before the build", "after the build", "after the step", "after all"])
def test_finished_by_the_next_run(bench: Bench, killed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the run was killed after its commit, the next one comes to the same end."""
    late = bench.folder / "segment_20260917T11_00004.parquet"
    if killed != "before the build":
        build(bench.entry, bench.room, bench.ready)
    late.write_bytes(b"late")
    if killed == "after the step":
        with monkeypatch.context() as patched:
            patched.setattr(replacement, "clear", lambda *_: None)
            replace(bench.entry, bench.room, bench.ready)
        assert not late.exists()
    elif killed == "after all":
        replace(bench.entry, bench.room, bench.ready)
    if killed != "after all":
        finish(bench.entry, bench.room, bench.ready)
    assert bench.names() == [AFTER[0], late.name, AFTER[1]]
    assert [path.name for path in bench.room.iterdir()] == [beside(bench.entry, bench.room).name]


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
