"""One file of the spill: written once, fsynced, read whole.

frame = length, CRC-32, batch in MessagePack            what follows a torn or damaged frame is cut off
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from daedalus_collector.outbox import ClosedBatch

FILE_BYTES = 4_000_000
"""About: a window of the publisher, and what is read back into memory at a time."""

_FRAME = struct.Struct("<II")
_NAME = re.compile(r"(\d+)\.(\d+)\.spill")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ClosedBatch)


class SpillFile(msgspec.Struct, frozen=True):
    """`<number>.<when its first record was received, ns>.spill`"""

    path: Path
    number: int
    from_ns: int
    size_bytes: int
    records: int = 0
    inherited: bool = False
    """An earlier run wrote it, and may have published part of it."""
    last: bool = False
    """Its run may have died while it wrote this. What is torn off, the gap of the next start tells of."""


def write(folder: Path, number: int, batches: Iterable[ClosedBatch], room: int) -> tuple[SpillFile | None, int]:
    """Write the first batches that fit into `room` bytes, and how many; None when there is none.

    Raises OSError, and then no file is left, unless the disk refuses that too.
    """
    frames: list[bytes] = []
    size, from_ns, records = 0, 0, 0
    for batch in batches:
        body = _encoder.encode(batch)
        if size >= FILE_BYTES or size + _FRAME.size + len(body) > room:
            break
        frames += [_FRAME.pack(len(body), zlib.crc32(body)), body]
        size += _FRAME.size + len(body)
        from_ns = min(from_ns or batch.opened_ns, batch.opened_ns)
        records += batch.records
    if not frames:
        return None, 0
    path = folder / f"{number:012}.{from_ns}.spill"
    try:
        with path.open("wb") as file:
            file.writelines(frames)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(folder)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return SpillFile(path, number, from_ns, size, records), len(frames) // 2


def left(folder: Path) -> list[SpillFile]:
    """What earlier runs left in a folder, oldest first. Raises OSError."""
    paths = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    files = []
    for path in paths:
        number, from_ns = map(int, path.name.split(".")[:2])
        size = path.stat().st_size
        files.append(SpillFile(path, number, from_ns, size, inherited=True, last=path == paths[-1]))
    return files


def read(data: bytes) -> tuple[list[ClosedBatch], int]:
    """The batches before the first torn or damaged frame, and at which byte that begins."""
    view, at = memoryview(data), 0
    batches = []
    while at + _FRAME.size < len(view):
        size, checksum = _FRAME.unpack_from(view, at)
        body = view[at + _FRAME.size : at + _FRAME.size + size]
        if len(body) < size or zlib.crc32(body) != checksum:
            break
        try:
            batches.append(_decoder.decode(body))
        except msgspec.DecodeError:  # zeros of a lost page are a valid empty frame
            break
        at += _FRAME.size + size
    return batches, at


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
