"""Frames as they come, before anybody reads them: each connection's numbered without holes, and what is missing between
one connection and the next.

A connection is called `<run>.<place>.<dial>`. Connections that follow each other are in one place: what is missing after
one of them is missing until the next one of its place has its first frame, whatever comes on others meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from daedalus.records import RawFrame
from daedalus_collector.feed import FrameSink, Pair

MOST_BYTES = 500_000
"""Of a record: NATS takes messages of 1 MB. A longer frame is several records of the same number, in order."""
EARLIER_RUN = ""
"""Stands for the connections of an earlier run, all together: their places are not known to this one."""


class Tape:
    """One connection's frames."""

    def __init__(self, sink: FrameSink, connection: str) -> None:
        self._sink = sink
        self._connection = connection
        self._number = 0
        self._last_ns = 0

    def record(self, data: str | bytes, received_ns: int) -> None:
        frame = data.encode() if isinstance(data, str) else data
        for first in range(0, len(frame) or 1, MOST_BYTES):
            piece = frame[first : first + MOST_BYTES]
            self._sink.frame(RawFrame(received_ns, self._connection, self._number, piece))
        self._number += 1
        self._last_ns = received_ns

    def before(self, take: Callable[[bytes, int], bool]) -> Callable[[bytes, int], bool]:
        """The same, and each frame is recorded first."""

        def recorded(frame: bytes, received_ns: int) -> bool:
            self.record(frame, received_ns)
            return take(frame, received_ns)

        return recorded

    def lost(self, from_ns: int, cause: str, detail: str) -> None:
        """The connection is gone. `from_ns`: when it was opened, should there be no frame."""
        detail = f"connection {self._connection}: {detail}"
        self._sink.frames_lost(self._connection, self._last_ns or from_ns, cause, detail)


class RawFrames:
    """Of one feed. `run` is the collector's, `places` numbers the places of all its feeds. `only`: nothing is parsed."""

    def __init__(self, sink: FrameSink, run: str, places: Iterator[int], *, only: bool = False) -> None:
        self.only = only
        self._sink = sink
        self._run = run
        self._places = places
        self._dials: dict[str, tuple[int, int]] = {}

    def tape(self, name: str) -> Tape:
        """For a new connection in the place of that name."""
        place, dial = self._dials.get(name) or (next(self._places), 0)
        self._dials[name] = place, dial + 1
        return Tape(self._sink, f"{self._run}.{place}.{dial}")


def place_of(connection: str) -> Pair:
    """What stands for a place in the book of gaps."""
    return Pair("raw", connection.rpartition(".")[0])
