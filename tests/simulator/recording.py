"""Reads recorded frames: lines of ``<local nanoseconds> <frame>``, gzipped or not, in order of arrival.

Binance's frames have the combined envelope ``{"stream":…,"data":…}``; a line with a REST depth answer has none.
The lines of cryptofeed's captures (``<seconds>: <frame>``) are read too, what the client sent is left out.
"""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

BINANCE_LINE = re.compile(rb'(\d+) (?:\{"stream":"([^"]+)","data":)?(.*)')
CRYPTOFEED_LINE = re.compile(rb"(\d+)\.(\d+): (.*)")
CRYPTOFEED_REST_LINE = re.compile(rb"https?://[^/]+(/\S+) -> [\d.]+: (.*)")


class RecordedFrame(Struct, frozen=True):
    received_ns: int
    stream: str
    """Such as ``btcusdt@trade``; empty for a REST answer and in formats without an envelope."""
    payload: bytes
    """Without the envelope."""


class Recording:
    """One file. Iterating reads it anew each time."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def __iter__(self) -> Iterator[RecordedFrame]:
        with gzip.open(self.path) if self.path.suffix == ".gz" else self.path.open("rb") as lines:
            for line in lines:
                frame = _parsed(line.rstrip())
                if frame is not None:
                    yield frame


def rest_answers(path: Path | str) -> dict[str, bytes]:
    """Path without the host, and without a slash at its end → the last body, of a capture of cryptofeed's."""
    with gzip.open(path) as lines:
        found = filter(None, (CRYPTOFEED_REST_LINE.fullmatch(line.rstrip()) for line in lines))
        return {match[1].decode().rstrip("/"): match[2] for match in found}


def _parsed(line: bytes) -> RecordedFrame | None:
    if match := BINANCE_LINE.fullmatch(line):
        received, stream, payload = match.groups()
        if stream is not None:
            return RecordedFrame(int(received), stream.decode(), payload.removesuffix(b"}"))
        return RecordedFrame(int(received), "", payload)
    if match := CRYPTOFEED_LINE.fullmatch(line):
        seconds, fraction, payload = match.groups()
        return RecordedFrame(int(seconds) * 10**9 + int(fraction.ljust(9, b"0")[:9]), "", payload)
    return None
