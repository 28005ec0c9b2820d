"""How long data usually stay away, and so when their silence means that something is wrong. Pure: time is an argument.

Looked at about once a second, so it costs the way of a record next to nothing. Silence is what the looks find and not
what the clock says: a process that was held up, or a clock that was set, has found none.

A false alarm costs a new connection and a gap, so it is made rare: `FACTOR` times the longest silence of late, and twice
as long after each alarm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from daedalus.records import Record
from daedalus_collector.feed import Pair, Sink

FLOOR_SECONDS = 5.0
"""No silence is shorter than that, however busy the connection."""
LEARN_SECONDS = 60.0
"""So long data must have flowed before their cadence is believed."""
PAIR_FLOOR_SECONDS = 10.0
PAIR_LEARN_SECONDS = 300.0
"""Of one pair or channel among others: a market may go quiet, so only what was busy for minutes is believed."""
FACTOR = 20.0
"""Of the longest silence: after 1 s without data at times it is missed after 20 s, from 3 s on after `silence_seconds`."""
HALF_SECONDS = 300.0
"""After so long the longest silence, and the patience after an alarm, count half."""
MOST_PATIENCE = 16
"""So many times as long after alarm upon alarm."""
LOOK_SECONDS = 2.0
"""The most that one look adds to a silence."""


class Cadence:
    """Of one source. `most_seconds`: when its silence is an alarm, at the latest. `otherwise_seconds`: when it is one
    while the cadence is not known to be a quick one.
    """

    __slots__ = (
        "_boost", "_busy", "_calm_seconds", "_floor_seconds", "_fresh", "_learn_seconds", "_looked", "_marker",
        "_most_seconds", "_otherwise_seconds", "_usual_seconds", "silent_seconds",
    )  # fmt: skip

    def __init__(
        self,
        most_seconds: float,
        otherwise_seconds: float,
        floor_seconds: float,
        learn_seconds: float,
    ) -> None:
        self.silent_seconds = 0.0
        """0: there were data since the look before."""
        self._most_seconds = most_seconds
        self._otherwise_seconds = otherwise_seconds
        self._floor_seconds = floor_seconds
        self._learn_seconds = learn_seconds
        self._usual_seconds = 0.0
        """The longest silence of late that ended by itself."""
        self._boost = 1.0
        self._calm_seconds = 0.0
        """How long data have flowed without a silence of half of `most_seconds`."""
        self._busy = False
        self._fresh = True
        self._looked = math.inf
        self._marker = 0

    @property
    def patience_seconds(self) -> float:
        if not self._busy:
            return self._otherwise_seconds * self._boost
        return (self._most_seconds if self._fresh else self._quick_seconds) * self._boost

    def begin(self) -> None:
        """It was dialled or subscribed anew: how long that takes says nothing about its data."""
        self.silent_seconds, self._fresh = 0.0, True

    def look(self, now: float, marker: int) -> bool:
        """About once a second; `marker` changes with the data, and is 0 while a connection has had none.

        True when the silence has lasted too long; it is begun anew then.
        """
        elapsed = min(max(0.0, now - self._looked), LOOK_SECONDS)
        self._looked = now
        if marker in (0, self._marker):
            self.silent_seconds += elapsed
        else:
            if not self._fresh:
                self._usual_seconds = max(self._usual_seconds, self.silent_seconds)
            self._marker, self._fresh, self.silent_seconds = marker, False, 0.0
        if self.silent_seconds > self._most_seconds / 2:
            self._calm_seconds = 0.0
        elif not self._fresh:
            self._learn(elapsed)
        if self.silent_seconds <= self.patience_seconds:
            return False
        self._boost = min(MOST_PATIENCE, 2 * self._boost)
        self.begin()
        return True

    @property
    def _quick_seconds(self) -> float:
        return max(self._floor_seconds, FACTOR * self._usual_seconds)

    def _learn(self, elapsed: float) -> None:
        self._calm_seconds += elapsed
        if self.silent_seconds > 0:
            return
        left = 0.5 ** (elapsed / HALF_SECONDS)
        self._usual_seconds *= left
        calm = self._calm_seconds >= self._learn_seconds
        if calm:
            self._boost = max(1.0, self._boost * left)
        self._busy = calm and self._quick_seconds <= self._most_seconds


class LastRecords:
    """A feed's sink on the way to the real one: notes when each pair had its last record."""

    def __init__(self, sink: Sink) -> None:
        self.last_ns: dict[Pair, int] = {}
        """When it was received."""
        self.interrupted = sink.interrupted
        last_ns, forward = self.last_ns, sink.record

        def record(pair: Pair, record: Record) -> None:  # each record goes this way: a closure is the quickest
            last_ns[pair] = record.received_ns
            forward(pair, record)

        self.record = record


class Silence(NamedTuple):
    """What is to be opened or subscribed anew, and why. `pairs`: None when it is the whole connection."""

    pairs: list[Pair] | None
    detail: str


class Watch:
    """One connection: whether it is silent, and which of its pairs and channels stopped while the rest went on.
    `last_ns`: see `LastRecords`.
    """

    def __init__(self, most_seconds: float, last_ns: Mapping[Pair, int]) -> None:
        self._most_seconds = most_seconds
        self._last_ns = last_ns
        self._whole = Cadence(most_seconds, most_seconds, FLOOR_SECONDS, LEARN_SECONDS)
        self._parts: dict[Pair | str, Cadence] = {}

    def begin(self) -> None:
        """It was dialled anew."""
        self._whole.begin()
        for part in self._parts.values():
            part.begin()

    def look(self, now: float, last_data_ns: int, pairs: Iterable[Pair]) -> Silence | None:
        """About once a second. `last_data_ns`: 0 while the connection has had none. What is told is begun anew."""
        patience = self._whole.patience_seconds
        if self._whole.look(now, last_data_ns):
            return Silence(None, f"no data for {patience:.0f} s")
        if self._whole.silent_seconds:
            return None
        stopped = self._stopped(now, pairs)
        return Silence(stopped, "no data while others came") if stopped else None

    def _stopped(self, now: float, pairs: Iterable[Pair]) -> list[Pair]:
        by_channel: dict[str, list[Pair]] = {}
        stopped: set[Pair] = set()
        for pair in pairs:
            by_channel.setdefault(pair.channel, []).append(pair)
            if self._part(pair).look(now, self._last_ns.get(pair, 0)):
                stopped.add(pair)
        for channel, members in by_channel.items():
            if self._part(channel).look(now, max(self._last_ns.get(pair, 0) for pair in members)):
                stopped.update(members)
        for pair in stopped:
            self._part(pair).begin()
        return sorted(stopped)

    def _part(self, source: Pair | str) -> Cadence:
        part = self._parts.get(source)
        if part is None:
            part = Cadence(self._most_seconds, math.inf, PAIR_FLOOR_SECONDS, PAIR_LEARN_SECONDS)
            self._parts[source] = part
        return part
