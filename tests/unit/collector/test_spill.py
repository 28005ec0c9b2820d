from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from daedalus_collector import spill, spill_file
from daedalus_collector.metrics import Metrics
from daedalus_collector.outbox import ClosedBatch
from daedalus_collector.spill import Spill


def batch(number: int, size: int = 100, opened_ns: int = 0) -> ClosedBatch:
    return ClosedBatch(
        counter=number,
        shard=0,
        channel="trade",
        subject="md.0.kraken.trade",
        message_id=f"one.b0.{number}",
        message=bytes([number % 256]) * size,
        records=2,
        size_bytes=size,
        opened_ns=opened_ns or 1_000 + number,
    )


def batches(number: int, size: int = 100) -> list[ClosedBatch]:
    return [batch(at, size) for at in range(number)]


def opened(folder: Path, limit_bytes: int = 10**9) -> Spill:
    made = Spill(folder, limit_bytes, Metrics(CollectorRegistry(), "kraken"))
    made.open()
    return made


async def emptied(made: Spill) -> list[ClosedBatch]:
    found = []
    while made.files:
        found += await made.oldest()
        await made.drop()
    return found


def paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.spill"))


async def test_batches_come_back_as_they_were_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several files, none much larger than it should be, and then nothing is left on disk."""
    monkeypatch.setattr(spill_file, "FILE_BYTES", 2_000)
    made, sent = opened(tmp_path), batches(60)
    waiting = sent
    while waiting:
        waiting = waiting[await made.put(waiting) :]
    assert len(made.files) > 3
    assert made.size_bytes == sum(path.stat().st_size for path in paths(tmp_path))
    assert all(path.stat().st_size < 2_500 for path in paths(tmp_path))
    assert made.oldest_ns() == 1_000
    assert "bytes wait on disk" in (made.problem() or "")
    assert await emptied(made) == sent
    assert (paths(tmp_path), made.size_bytes, made.oldest_ns(), made.problem()) == ([], 0, None, None)


async def test_it_never_grows_beyond_its_bound(tmp_path: Path) -> None:
    """What does not fit is not taken; there is room again when a file is published."""
    made = opened(tmp_path, limit_bytes=2_000)
    taken = await made.put(batches(60))
    assert 0 < taken < 60
    assert await made.put(batches(60)) == 0
    assert not made.accepts()
    assert "full" in (made.problem() or "")
    assert sum(path.stat().st_size for path in paths(tmp_path)) <= 2_000
    await made.drop()
    assert made.accepts()
    assert await made.put(batches(60)) == taken


async def test_a_torn_tail_is_cut(tmp_path: Path) -> None:
    """Wherever the last write ended: the batches before are there, and nothing else; so it is with zeros of a lost page."""
    made, sent = opened(tmp_path), batches(3, size=20)
    await made.put(sent)
    whole = paths(tmp_path)[0].read_bytes()
    ends = [0]
    for one in sent:
        frame, _ = spill_file.write(tmp_path, 9, [one], 10**6)
        assert frame is not None
        ends.append(ends[-1] + frame.size_bytes)
    assert ends[-1] == len(whole)
    for size in range(len(whole)):
        complete = sum(end <= size for end in ends[1:])
        for torn in (whole[:size], whole[:size] + bytes(4_096)):
            assert spill_file.read(torn) == (sent[:complete], ends[complete])


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    """Anywhere in a file: no batch is taken that is not what was written."""
    sent = batches(3, size=20)
    file, _ = spill_file.write(tmp_path, 1, sent, 10**6)
    assert file is not None
    whole = file.path.read_bytes()
    for at in range(len(whole)):
        damaged = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        found, intact = spill_file.read(damaged)
        assert found == sent[: len(found)]
        assert len(found) < 3
        assert intact <= at


async def test_the_next_run_gets_what_a_dead_one_left(tmp_path: Path) -> None:
    """Under the same ids, as what may be stored already, before what is new; and while a run lives it keeps its files."""
    first, other = opened(tmp_path), opened(tmp_path)
    await first.put(batches(3))
    await other.put([batch(7)])
    assert not opened(tmp_path).inherits(), "their owners live"
    first.close()  # as the end of a process does
    next_run = opened(tmp_path)
    assert next_run.inherits()
    assert [one.message_id for one in next_run.inherited()] == ["one.b0.0", "one.b0.1", "one.b0.2"]
    await next_run.put([batch(5)])
    found = await emptied(next_run)
    assert [(one.counter, one.unsure) for one in found] == [(0, True), (1, True), (2, True), (5, False)]
    assert not next_run.inherits()
    assert [one.counter for one in await emptied(other)] == [7]


async def test_a_spill_that_was_turned_off_is_still_published(tmp_path: Path) -> None:
    """Nothing new is written, and where nothing is left no folder is made."""
    before = opened(tmp_path / "spill")
    await before.put(batches(3))
    before.close()
    after = opened(tmp_path / "spill", limit_bytes=0)
    assert not after.accepts()
    assert await after.put(batches(1)) == 0
    assert len(await emptied(after)) == 3
    opened(tmp_path / "none", limit_bytes=0)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
async def test_a_failing_disk_takes_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """No exception, no half file; counted, shown, and tried again after a while."""
    made = opened(tmp_path)

    def fails(_: int) -> None:
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as failing:
        failing.setattr(os, "fsync", fails)
        assert await made.put(batches(3)) == 0
    assert os.strerror(error) in (made.problem() or "")
    assert made._metrics.errors["spill"] == 1
    assert paths(tmp_path) == []
    assert not made.accepts(), "not before RETRY_SECONDS"
    monkeypatch.setattr(spill, "RETRY_SECONDS", 0)
    made._retry_at = 0
    assert await made.put(batches(3)) == 3
    assert "wait on disk" in (made.problem() or "")
    assert os.strerror(error) not in (made.problem() or "")


def test_a_folder_that_cannot_be_made_stops_nothing(tmp_path: Path) -> None:
    """The collector runs without a spill, and says why."""
    (tmp_path / "file").touch()
    made = opened(tmp_path / "file" / "spill")
    assert not made.accepts()
    assert "Not a directory" in (made.problem() or "")


async def test_what_the_disk_lost_is_told(tmp_path: Path) -> None:
    """From the file's first record to the next one's; what is left of it is published."""
    made = opened(tmp_path)
    told: list[tuple[int, int]] = []
    made.on_lost = lambda from_ns, to_ns, _why: told.append((from_ns, to_ns))
    for number in range(3):
        await made.put([batch(number), batch(number + 10)])
    damaged, missing, _ = paths(tmp_path)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    missing.unlink()
    assert [one.counter for one in await emptied(made)] == [0, 2, 12]
    assert told == [(1_000, 1_001), (1_001, 1_002)]


async def test_what_a_crash_tore_is_left_to_the_gap_of_the_start(tmp_path: Path) -> None:
    """A run that died while it wrote its last file: its end is where the next start's gap begins."""
    before = opened(tmp_path)
    for number in range(2):
        await before.put([batch(number), batch(number + 10)])
    before.close()
    last = paths(tmp_path)[-1]
    last.write_bytes(last.read_bytes()[:-1])
    after = opened(tmp_path)
    told: list[str] = []
    after.on_lost = lambda _from_ns, _to_ns, why: told.append(why)
    assert [one.counter for one in after.inherited()] == [0, 10, 1]
    assert [one.counter for one in await emptied(after)] == [0, 10, 1]
    assert told == []
