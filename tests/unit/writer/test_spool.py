"""The spool."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from daedalus.wire import bodies
from daedalus_writer.spool import Spool, SpoolError, joined


def test_frames_come_back_in_any_order(tmp_path: Path) -> None:
    """What was written is read back by its place, whatever was written between."""
    spool = Spool(tmp_path, 497_123)
    first = spool.write([(2, b"ab" * 100), (3, b"cde" * 1000)])
    second = spool.write([(1, b"f")])
    offsets = [place for place, _ in [*second, *first]]
    assert list(spool.read(offsets)) == [(1, b"f"), (2, b"ab" * 100), (3, b"cde" * 1000)]
    assert sum(size for _, size in [*first, *second]) == spool.path.stat().st_size
    spool.delete()
    assert not spool.path.exists()


def test_damage_is_noticed(tmp_path: Path) -> None:
    """A changed byte, or a missing end, is an error and never a wrong row."""
    spool = Spool(tmp_path, 497_123)
    [(offset, _)] = spool.write([(1, b"hello" * 50)])
    data = bytearray(spool.path.read_bytes())
    data[-1] ^= 1
    spool.path.write_bytes(data)
    with pytest.raises(SpoolError, match="expected CRC"):
        list(spool.read([offset]))
    os.truncate(spool.path, 5)
    with pytest.raises(SpoolError, match="found the end"):
        list(spool.read([offset]))


def test_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fills up in the middle of a write, the spool is as it was, and the next write succeeds."""
    spool = Spool(tmp_path, 497_123)
    spool.write([(1, b"x" * 100)])
    before = spool.path.stat().st_size
    real = os.pwrite

    def full(descriptor: int, data: memoryview, offset: int) -> int:
        real(descriptor, data[:3], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        spool.write([(1, b"y" * 100)])
    assert spool.path.stat().st_size == before
    monkeypatch.setattr(os, "pwrite", real)
    [(offset, _)] = spool.write([(1, b"z" * 100)])
    assert list(spool.read([offset])) == [(1, b"z" * 100)]


def test_frames_are_joined_into_row_groups() -> None:
    """Small frames are put together up to 50,000 rows or 2 MB and a piece more, in order, and nothing is left over."""
    frames = [(700, bytes([number % 251]) * 21_000) for number in range(150)]
    groups = list(joined(frames))
    assert [sum(int.from_bytes(piece[1:5], "big") for piece in group) for group in groups] == [53_900, 51_100]
    assert b"".join(bodies(piece) for group in groups for piece in group) == b"".join(records for _, records in frames)
    large = list(joined([(1, bytes(1_500_000))] * 3))
    assert [[len(bodies(piece)) for piece in group] for group in large] == [[1_500_000, 1_500_000], [1_500_000]]
    assert list(joined([])) == []


def test_row_groups_come_in_pieces() -> None:
    """A piece has 128 kB and at the most one frame more; each says how many records it has."""
    [group] = joined([(20, bytes(6_000))] * 50)
    assert [len(bodies(piece)) for piece in group] == [132_000, 132_000, 36_000]
    assert [int.from_bytes(piece[1:5], "big") for piece in group] == [440, 440, 120]
