"""Order books whose best bid is not below the best ask: one side has missed something. Pure: time is an argument.

A book is crossed for a moment where an exchange tells its sides one after the other, so only one that stays crossed is
built anew. Nothing is suppressed: the states are recorded as they came.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

PATIENCE_NS = 1_000_000_000
RESYNC_NS = 60 * 1_000_000_000
"""Between two resynchronisations of a book, should it be the exchange that is so."""

Verdict = Literal["fine", "crossed", "still_crossed", "stuck"]


class CrossedBooks:
    """The books of one exchange."""

    def __init__(self) -> None:
        self._since: dict[str, int] = {}
        self._resynced: dict[str, int] = {}

    def judge(
        self, symbol: str, bids: Sequence[Sequence[float]], asks: Sequence[Sequence[float]], now_ns: int
    ) -> Verdict:
        """After an update. crossed: since now; stuck: for so long that the book is to be built anew."""
        if not bids or not asks or bids[0][0] < asks[0][0]:
            if self._since:
                self._since.pop(symbol, None)
            return "fine"
        since = self._since.setdefault(symbol, now_ns)
        if since == now_ns:
            return "crossed"
        resynced = self._resynced.get(symbol)
        if now_ns - since < PATIENCE_NS or (resynced is not None and now_ns - resynced < RESYNC_NS):
            return "still_crossed"
        self._resynced[symbol] = now_ns
        del self._since[symbol]
        return "stuck"
