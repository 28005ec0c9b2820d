"""Frames as they come: their connections, numbers and pieces."""

from __future__ import annotations

import itertools

from daedalus.records import RawFrame
from daedalus_collector.raw_frames import MOST_BYTES, RawFrames, place_of


class Frames:
    def __init__(self) -> None:
        self.frames: list[RawFrame] = []
        self.lost: list[tuple[str, int, str, str]] = []

    def frame(self, frame: RawFrame) -> None:
        self.frames.append(frame)

    def frames_lost(self, connection: str, from_ns: int, cause: str, detail: str) -> None:
        self.lost.append((connection, from_ns, cause, detail))


def test_connections_are_numbered_within_their_places_and_frames_within_connections() -> None:
    """Places over all feeds of a run."""
    sink, places = Frames(), itertools.count()
    one, other = RawFrames(sink, "run", places), RawFrames(sink, "run", places)
    for tape in (one.tape("x"), one.tape("y"), one.tape("x"), other.tape("x")):
        tape.record("text", 1)
        tape.record(b"bytes", 2)
    told = [(frame.connection, frame.number, frame.frame) for frame in sink.frames]
    connections = ("run.0.0", "run.1.0", "run.0.1", "run.2.0")
    assert told == [entry for name in connections for entry in ((name, 0, b"text"), (name, 1, b"bytes"))]
    assert place_of("run.0.0") == place_of("run.0.1") != place_of("run.1.0")


def test_a_long_frame_is_several_records_of_one_number() -> None:
    """JetStream takes messages of 1 MB, Coinbase's first one of a book has 10: nothing of it is lost; an empty one is one."""
    sink = Frames()
    tape = RawFrames(sink, "run", itertools.count()).tape("x")
    long = bytes(range(256)) * (MOST_BYTES * 5 // 512)
    for frame in (b"", long, b"next"):
        tape.record(frame, 1)
    assert b"".join(frame.frame for frame in sink.frames) == long + b"next"
    assert [frame.number for frame in sink.frames] == [0, 1, 1, 1, 2]
    assert max(len(frame.frame) for frame in sink.frames) == MOST_BYTES


def test_a_lost_connection_is_told_from_its_last_frame_on() -> None:
    """From when it was opened, where there was none; with its name."""
    sink = Frames()
    frames = RawFrames(sink, "run", itertools.count())
    tape = frames.tape("x")
    tape.lost(5, "connection_lost", "gone")
    tape.record("text", 9)
    tape.lost(5, "connection_silent", "no data for 60 s")
    assert sink.lost == [
        ("run.0.0", 5, "connection_lost", "connection run.0.0: gone"),
        ("run.0.0", 9, "connection_silent", "connection run.0.0: no data for 60 s"),
    ]


def test_a_frame_is_recorded_before_it_is_read() -> None:
    """So one that cannot be read is there."""
    sink = Frames()

    def take(frame: bytes, received_ns: int) -> bool:
        assert [RawFrame(received_ns, "run.0.0", 0, frame)] == sink.frames
        return True

    assert RawFrames(sink, "run", itertools.count()).tape("x").before(take)(b"text", 7)
