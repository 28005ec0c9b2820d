"""Whether the trades of a file have an id twice: exact, and in eight bytes a row."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from daedalus_writer.verify.defect import Defect

_AT_ONCE = 1 << 18
"""Hashes that are sorted at once: 6 MB."""


class Ids:
    """Keeps a hash of each id."""

    def __init__(self) -> None:
        self._hashes = array("q")

    def add(self, ids: Iterable[str | None]) -> None:
        self._hashes.extend([hash(identifier) for identifier in ids if identifier is not None])

    def check(self, read_again: Callable[[], Iterable[str | None]]) -> None:
        """Raises Defect when an id was added twice. `read_again` is asked for the ids only when two hashes are equal."""
        repeated = self._repeated()
        if not repeated:
            return
        seen: set[str] = set()
        for identifier in read_again():
            if identifier is not None and hash(identifier) in repeated:
                if identifier in seen:
                    raise Defect("each id once", f"{len(repeated):,} ids more than once: {identifier!r}", "doubled")
                seen.add(identifier)

    def _repeated(self) -> set[int]:
        """The hashes that are there more than once. Sorted in parts: a hash table takes ten times the memory."""
        parts = 1 << (len(self._hashes) // _AT_ONCE).bit_length()
        repeated: set[int] = set()
        for part in range(parts):
            ordered = self._part(part, parts).sort()
            equal = pc.equal(ordered[1:], ordered[:-1])
            if pc.any(equal).as_py():
                repeated.update(ordered[1:].filter(equal).to_pylist())
        return repeated

    def _part(self, part: int, parts: int) -> pa.Array:
        """The hashes that end in these bits."""
        hashes = pa.Array.from_buffers(pa.int64(), len(self._hashes), [None, pa.py_buffer(self._hashes)])
        slices = [hashes[begin : begin + _AT_ONCE] for begin in range(0, len(hashes), _AT_ONCE)]
        own = [one.filter(pc.equal(pc.bit_wise_and(one, parts - 1), part)) for one in slices]
        return pa.concat_arrays(own) if own else hashes
