"""What is missing, and from when to when. Pure: time is an argument, the records it makes are returned.

A gap of a pair (channel, symbol) opens when its connection is lost or silent, a frame cannot be read, a sequence jumps,
or the collector was not running; it closes at the first good record of that pair. The first cause counts; what else goes
wrong meanwhile lengthens it.

A gap that stays open is written piece by piece, the first after a minute, so that a crash forgets no more than that; and
at a clean stop with the stop as its end. The next start writes `collector_down` from the last stored record of the
*channel*, which other symbols may have kept fresh while this one's gap was open: so it is written here.

Records that the outbox refused make a gap of their own: from the first to the last refused one, with their exact number.
"""

from __future__ import annotations

from collections.abc import Iterable

from daedalus.records import Gap
from daedalus_collector.feed import Pair

FIRST_PIECE_NS = 60 * 1_000_000_000
LONGEST_PIECE_NS = 600 * 1_000_000_000


class _Open:
    __slots__ = ("cause", "detail", "due_ns", "from_ns", "piece_ns", "written")

    def __init__(self, from_ns: int, cause: str, detail: str) -> None:
        self.from_ns = from_ns
        self.cause = cause
        self.detail = detail
        self.piece_ns = FIRST_PIECE_NS
        self.due_ns: int | None = None
        self.written = False


class _Refused:
    __slots__ = ("count", "from_ns", "to_ns")

    def __init__(self, received_ns: int) -> None:
        self.from_ns = self.to_ns = received_ns
        self.count = 1


class GapBook:
    """The open gaps of every pair."""

    def __init__(self) -> None:
        self.open: dict[Pair, _Open] = {}
        self.refusals: dict[Pair, _Refused] = {}

    def interrupted(self, pairs: Iterable[Pair], from_ns: int, cause: str, detail: str) -> list[Pair]:
        """Open a gap for each pair that has none; returns those."""
        opened = []
        for pair in pairs:
            gap = self.open.get(pair)
            if gap is None:
                self.open[pair] = _Open(from_ns, cause, detail)
                opened.append(pair)
            elif not gap.written:
                gap.from_ns = min(gap.from_ns, from_ns)
        return opened

    def resumed(self, pair: Pair, received_ns: int) -> Gap | None:
        """A good record of the pair came at `received_ns`: its gap, closed, or None."""
        gap = self.open.pop(pair, None)
        return None if gap is None else _closed(pair, gap, received_ns, received_ns, gap.detail)

    def refused(self, pair: Pair, received_ns: int) -> bool:
        """The outbox refused a record of the pair; True for the first of a gap."""
        refusal = self.refusals.get(pair)
        if refusal is None:
            self.refusals[pair] = _Refused(received_ns)
            return True
        refusal.count += 1
        refusal.to_ns = received_ns
        return False

    def accepted(self, pair: Pair, now_ns: int) -> Gap | None:
        """The outbox accepts records of the pair again: the gap of those it refused, or None."""
        refusal = self.refusals.pop(pair, None)
        if refusal is None:
            return None
        detail = f"the outbox refused {refusal.count} records"
        return Gap(
            now_ns,
            pair.channel,
            "outbox_full",
            refusal.from_ns,
            max(refusal.from_ns, refusal.to_ns),
            refusal.count,
            detail,
        )

    def pieces(self, now_ns: int) -> list[tuple[Pair, Gap]]:
        """What has been open for long, as it stands; each goes on from `now_ns`. To be called about once a second."""
        pieces = []
        for pair, gap in self.open.items():
            if gap.due_ns is None:
                gap.due_ns = now_ns + gap.piece_ns
            elif now_ns >= gap.due_ns:
                pieces.append((pair, _closed(pair, gap, now_ns, now_ns, f"{gap.detail}; goes on")))
                gap.from_ns, gap.written = now_ns, True
                gap.piece_ns = min(LONGEST_PIECE_NS, gap.piece_ns * 2)
                gap.due_ns = now_ns + gap.piece_ns
        return pieces

    def stop(self, now_ns: int) -> list[tuple[Pair, Gap]]:
        """Everything still open, ended by the stop of the collector."""
        ended = [
            (pair, _closed(pair, gap, now_ns, now_ns, f"{gap.detail}; open when the collector stopped"))
            for pair, gap in self.open.items()
        ]
        self.open.clear()
        for pair in list(self.refusals):
            refused = self.accepted(pair, now_ns)
            assert refused is not None
            ended.append((pair, refused))
        return ended


def _closed(pair: Pair, gap: _Open, to_ns: int, now_ns: int, detail: str) -> Gap:
    return Gap(now_ns, pair.channel, gap.cause, gap.from_ns, max(gap.from_ns, to_ns), None, detail)
