"""What a feed is: it keeps subscriptions to one exchange alive, and hands on records and interruptions as they come.

ccxt_feed is one; a native feed for a hot exchange has the same face.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from daedalus.records import EVERY_SYMBOL, RawFrame, Record


class Pair(NamedTuple):
    """What is recorded is asked for by channel and unified symbol."""

    channel: str
    symbol: str


RAW = Pair("raw", EVERY_SYMBOL)
"""The frames of all connections; no exchange is asked for them, and no replica gives them to another."""


class Sink(Protocol):
    """Where a feed hands its findings. Neither method blocks or raises."""

    def record(self, pair: Pair, record: Record) -> None: ...

    def interrupted(self, pairs: Iterable[Pair], from_ns: int, cause: str, detail: str) -> None:
        """From `from_ns`, the last moment known to be complete, until the next record of each pair, records may be missing.

        `cause` is one of `daedalus.records.CAUSES`.
        """


class FrameSink(Protocol):
    """Where a feed hands its frames as they come, where they are recorded. Nothing here blocks or raises."""

    def frame(self, frame: RawFrame) -> None: ...

    def frames_lost(self, connection: str, from_ns: int, cause: str, detail: str) -> None:
        """Frames may be missing from `from_ns` until the first one of the connection that takes its place."""


class Feed(Protocol):
    """Records the same pairs for as long as it lives. What is recorded changes by feeds that come and go: see `lanes`."""

    market_ids: dict[str, str]
    """Unified symbol → the exchange's own name, once the markets are known."""

    async def run(self) -> None:
        """Connect, subscribe, and keep at it until cancelled. Only an error that nobody expected ends it."""

    def drain(self) -> None:
        """Hand on whatever was received until now."""

    async def close(self) -> None:
        """Close every connection, in at most about 5 s. Nothing is handed on afterwards."""

    def problems(self) -> dict[str, str]:
        """What is not as it was asked for → why; empty when every subscription is active."""

    def subscriptions(self) -> Counter[str]:
        """State (starting, active, waiting, refused, given_up) → number of pairs."""

    def connections(self) -> int: ...
