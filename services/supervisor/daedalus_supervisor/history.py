"""What the services counted over the last ten minutes: counters that restart at 0, made into increases."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import msgspec

from daedalus_supervisor.discovery import Key
from daedalus_supervisor.status import Figures, Recent

COUNTED = ("received", "sent", "discarded", "overflowed", "errors", "reconnects", "gaps", "segments")
SUMS = (*COUNTED, "starts")
WINDOW_SECONDS = 600.0
SAMPLE_SECONDS = 5.0
"""The least distance between two samples, whatever the poll interval: bounds the memory."""

Sums = dict[str, float]


class Counted(msgspec.Struct, frozen=True):
    """What one service reported, and for how long it has counted."""

    figures: Figures
    uptime_seconds: float


class History:
    """Times are seconds of one monotonic clock, and never go back."""

    def __init__(self) -> None:
        self._last: dict[Key, Counted] = {}
        self._sums: dict[Key, Sums] = {}
        self._samples: deque[tuple[float, dict[Key, Sums]]] = deque()
        self._rose: dict[Key, float] = {}
        self._noted = 0.0

    def note(self, counted: Mapping[Key, Counted], now: float) -> None:
        """Add one poll. Who is not in it any more is forgotten."""
        for key, present in counted.items():
            last = self._last.get(key)
            if last is None and self._samples and present.uptime_seconds <= now - self._noted:
                # It started after the last poll: all that it counted is recent.
                self._samples[-1][1][key] = dict.fromkeys(SUMS, 0.0)
                last = Counted(Figures(), 0.0)
            added = _added(present, last)
            if key not in self._rose or added["received"] > 0:
                self._rose[key] = now
            sums = self._sums.get(key, dict.fromkeys(SUMS, 0.0))
            self._sums[key] = {name: sums[name] + added[name] for name in SUMS}
            self._last[key] = present
        for key in self._last.keys() - counted.keys():
            del self._last[key], self._sums[key], self._rose[key]
        self._noted = now
        if not self._samples or now - self._samples[-1][0] >= SAMPLE_SECONDS:
            self._samples.append((now, dict(self._sums)))
        while now - self._samples[0][0] > WINDOW_SECONDS + SAMPLE_SECONDS:
            self._samples.popleft()

    def recent(self, key: Key, seconds: float, now: float, until_seconds: float = 0.0) -> Recent:
        """What a service added between `seconds` and `until_seconds` ago, as far back as it was seen."""
        seen = [(at, sums[key]) for at, sums in self._samples if key in sums]
        if key not in self._sums or not seen:
            return Recent()
        begin = _sample_from(seen, now - seconds)
        end = _sample_from(seen, now - until_seconds) if until_seconds else (now, self._sums[key])
        added = {name: max(0.0, end[1][name] - begin[1][name]) for name in SUMS}
        return Recent(seconds=max(0.0, end[0] - begin[0]), **added)

    def silent_seconds(self, key: Key, now: float) -> float:
        """Since a service last received anything, or since it was first seen."""
        return now - self._rose.get(key, now)


def _added(present: Counted, last: Counted | None) -> Sums:
    """Since the last poll. What a service counted before we first looked at it is not recent."""
    if last is None:
        return dict.fromkeys(SUMS, 0.0)
    values = _values(present.figures)
    if present.uptime_seconds < last.uptime_seconds:
        return {**values, "starts": 1.0}
    before = _values(last.figures)
    return {**{name: max(0.0, values[name] - before[name]) for name in COUNTED}, "starts": 0.0}


def _values(figures: Figures) -> Sums:
    return {name: getattr(figures, name) or 0.0 for name in COUNTED}


def _sample_from(seen: list[tuple[float, Sums]], at: float) -> tuple[float, Sums]:
    """The first sample at or after a time; the last one when there is none."""
    return next((sample for sample in seen if sample[0] >= at), seen[-1])
