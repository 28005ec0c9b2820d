"""What a process holds on to: memory, open files, threads, read from /proc; and whether that grows. Linux only."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

LIMIT = 1.05
"""Times as much memory as in the first third of a run is flat."""
_KB = re.compile(r"^(\w+):\s+(\d+)(?: kB)?$", re.MULTILINE)


class Footprint(NamedTuple):
    """Of one moment."""

    rss_bytes: int
    peak_bytes: int
    """The highest RSS since `forget_peak`; of every moment, not only of those that were looked at."""
    files: int
    threads: int
    written_bytes: int
    """What reached the page cache on its way to the device, since the process began."""


class Rotation(NamedTuple):
    """One hour of the load."""

    samples: Sequence[Footprint]
    records: int
    """Published."""
    segments: int
    """Committed."""

    @property
    def rss_bytes(self) -> float:
        return mean(one.rss_bytes for one in self.samples)

    @property
    def peak_bytes(self) -> int:
        return self.samples[-1].peak_bytes

    @property
    def files(self) -> int:
        """The fewest: what is open while nothing is being committed."""
        return min(one.files for one in self.samples)

    @property
    def threads(self) -> int:
        return max(one.threads for one in self.samples)


def footprint(pid: int) -> Footprint:
    """Raises OSError when there is no such process."""
    process = Path(f"/proc/{pid}")
    status = dict(_KB.findall((process / "status").read_text()))
    written = dict(line.split(": ") for line in (process / "io").read_text().splitlines())["write_bytes"]
    kept, highest = int(status["VmRSS"]) * 1024, int(status["VmHWM"]) * 1024
    return Footprint(kept, highest, len(list((process / "fd").iterdir())), int(status["Threads"]), int(written))


def forget_peak(pid: int) -> None:
    """The peak begins again at what is held now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def growth(rotations: Sequence[Rotation], warm_up: int = 1) -> list[str]:
    """What grows, in words: the last third of the rotations against the first, after the first `warm_up` of them."""
    steady = rotations[warm_up:]
    third = len(steady) // 3
    if third == 0:
        return [f"expected {warm_up + 3} rotations at the least, found {len(rotations)}"]
    first, last = steady[:third], steady[-third:]
    problems = []
    for what, of, limit in _GROWS:
        before, after = mean(map(of, first)), mean(map(of, last))
        if after > before * limit:
            problems.append(f"{what}: {before:,.1f} in the first third of the rotations, {after:,.1f} in the last")
    return problems


_GROWS: tuple[tuple[str, Callable[[Rotation], float], float], ...] = (
    ("average RSS in MB", lambda one: one.rss_bytes / 1e6, LIMIT),
    ("peak RSS in MB", lambda one: one.peak_bytes / 1e6, LIMIT),
    ("open files", lambda one: one.files, 1.0),
    ("threads", lambda one: one.threads, 1.0),
)

HEADER = f"{'rotation':>8}{'RSS MB':>9}{'peak MB':>9}{'files':>7}{'threads':>9}{'records':>11}{'segments':>10}{'written MB':>12}"


def line(number: int, rotation: Rotation) -> str:
    """A row of the table below HEADER."""
    return (
        f"{number:>8}{rotation.rss_bytes / 1e6:>9.1f}{rotation.peak_bytes / 1e6:>9.1f}{rotation.files:>7}{rotation.threads:>9}"
        f"{rotation.records:>11,}{rotation.segments:>10,}{rotation.samples[-1].written_bytes / 1e6:>12,.0f}"
    )
