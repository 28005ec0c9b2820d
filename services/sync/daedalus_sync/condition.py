"""How uploads fare, for /readyz: which segments somebody must look at, and since when nothing gets through.

Takes the time as an argument; knows no store.
"""

from __future__ import annotations

FAILING_SECONDS = 300.0
_REMEMBERED = 1_000
_SHOWN = 3


class Condition:
    def __init__(self) -> None:
        self._failing_since: float | None = None
        self._last: str = ""
        self._refused = False
        self._segments: dict[str, str] = {}
        self.disk: str | None = None
        """What retention cannot put right; None: nothing."""

    def failed(self, why: str, now: float, *, refused: bool) -> None:
        """An attempt failed. `refused`: shown at once, somebody must act; anything else after five minutes."""
        self._failing_since = now if self._failing_since is None else self._failing_since
        self._last, self._refused = why, refused

    def worked(self, path: str) -> None:
        self._failing_since, self._refused = None, False
        self._segments.pop(path, None)

    def segment_failed(self, path: str, why: str) -> bool:
        """One segment cannot be uploaded. True when that is news; the first thousand are remembered."""
        news = path not in self._segments
        if not news or len(self._segments) < _REMEMBERED:
            self._segments[path] = why
        return news

    def uploads(self, now: float) -> str | None:
        """The check: do uploads get through?"""
        if self._failing_since is None:
            return None
        failing = now - self._failing_since
        if self._refused:
            return f"the store refuses uploads, tried again every 60 s: {self._last}"
        if failing > FAILING_SECONDS:
            return f"uploads have failed for {failing:.0f} s (limit {FAILING_SECONDS:.0f} s): {self._last}"
        return None

    def segments(self) -> str | None:
        """The check: is there a segment that only a person can put right?"""
        if not self._segments:
            return None
        shown = "; ".join(list(self._segments.values())[:_SHOWN])
        return f"{len(self._segments)} segments cannot be uploaded and stay in ready/ (see docs/sync.md): {shown}"
