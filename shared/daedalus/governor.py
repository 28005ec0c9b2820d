"""Holds a start back when there were too many: Docker restarts at once and for ever, an exchange bans who does that.

The times of the last starts stand in a file that survives the restart of a container; a clean stop removes it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

WINDOW_SECONDS = 600.0
FREE_STARTS = 5
MAX_DELAY_SECONDS = 60.0


def delay_seconds(starts: list[float], now: float) -> float:
    """How long to wait before starting, given the times of the earlier starts (seconds, same clock as `now`).

    The first five starts of ten minutes are free; then 2, 4, 8, … up to 60 s.
    """
    recent = sum(1 for start in starts if 0 <= now - start < WINDOW_SECONDS)
    return 0.0 if recent < FREE_STARTS else min(MAX_DELAY_SECONDS, 2.0 ** (recent - FREE_STARTS + 1))


def note_start(file: Path, now: float) -> float:
    """Write this start down and return how long to wait; an unreadable file counts as empty."""
    try:
        starts = msgspec.json.decode(file.read_bytes(), type=list[float])
    except (OSError, msgspec.DecodeError):
        starts = []
    delay = delay_seconds(starts, now)
    try:
        file.write_bytes(msgspec.json.encode([*starts[-20:], now]))
    except OSError:
        return 0.0  # a read-only disk must not keep a recorder from starting
    return delay


def note_clean_stop(file: Path) -> None:
    file.unlink(missing_ok=True)
