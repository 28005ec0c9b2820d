"""What one exchange says on one connection: an exchange's own part, below the connection's life.

A session is made for each dial and knows no socket: it is given frames and the time, and hands records to its link.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from daedalus.errors import TransientError
from daedalus.records import Record
from daedalus_collector.feed import Pair


class SequenceError(TransientError):
    """The connection's sequence jumped: messages are missing, dial anew."""


class Request:
    """A message to the exchange that subscribes pairs, and what became of it."""

    __slots__ = ("id", "message", "pairs", "problem", "state")

    def __init__(self, id_: int, message: bytes, pairs: Sequence[Pair] = ()) -> None:
        self.id = id_
        self.message = message
        self.pairs = tuple(pairs)
        self.state: Literal["starting", "active", "waiting"] = "starting"
        self.problem: str | None = None

    def accepted(self) -> None:
        self.state, self.problem = "active", None


class Link(Protocol):
    """What a session may ask of its connection. Nothing here blocks or raises."""

    def send(self, request: Request, after_seconds: float = 0.0) -> None:
        """One of the session's requests, at the exchange's pace."""

    @property
    def hand_on(self) -> Callable[[Pair, Record], None]:
        """For the records of a frame: `take` returns True for it."""

    def drain(self) -> None:
        """Hand on the frames that were received: before what comes otherwise is laid on what they say."""

    def record(self, pair: Pair, record: Record) -> None:
        """One that comes outside a frame."""

    def lost(self, pair: Pair, from_ns: int, kind: str, detail: str) -> None:
        """One pair's sequence is broken, counted as an error of that kind: a gap from its last good record on, `from_ns`.
        0: it has none on this connection, so nothing was missed since the gap that is open, or the start.
        """

    def refused(self, request: Request | None, why: str) -> None:
        """An error frame; `request` is what it answers, where that is known: it is sent again later."""

    def discarded(self, channel: str, cause: str) -> None:
        """A record that nobody asked for, or that cannot be made."""


class Session(ABC):
    """One dial's conversation."""

    def __init__(self, link: Link) -> None:
        self.requests: list[Request] = []
        """What is sent after the dial, in this order."""
        self._link = link
        self._record = link.hand_on
        self._unanswered: deque[Request] = deque()
        self._renewals: list[Request] = []
        """Sent beside the first ones, and forgotten when they are answered."""

    @abstractmethod
    def renew(self, pairs: Sequence[Pair]) -> None:
        """Subscribe these again: the exchange does not send them any more."""

    @abstractmethod
    def take(self, frame: bytes, received_ns: int) -> bool:
        """Read one frame; True when it held a record.

        Raises msgspec.MsgspecError, KeyError or ValueError for one that cannot be read, and SequenceError.
        """

    @abstractmethod
    def skim(self, frame: bytes, received_ns: int) -> bool:
        """In place of `take` where frames are recorded as they come and nothing else: answers and the connection's sequence
        are looked at, data are not; True when it held some. Raises the same.
        """

    def sent(self, request: Request) -> bytes:
        """The message as it goes on the wire now."""
        self._unanswered.append(request)
        return request.message

    def _renew(self, request: Request, after_seconds: float = 0.0) -> None:
        """Send one that is no part of the first ones."""
        self.requests.append(request)
        self._renewals.append(request)
        self._link.send(request, after_seconds)

    def _accepted(self, request: Request) -> None:
        request.accepted()
        if request in self._renewals:
            self._renewals.remove(request)
            self.requests.remove(request)

    def close(self) -> None:  # noqa: B027  # most have nothing to end
        """The connection is gone; nothing may be recorded any more."""


MakeSession = Callable[[Link, Sequence[Pair]], Session]


def batched(pairs: Sequence[Pair], size: int) -> list[Sequence[Pair]]:
    return [pairs[first : first + size] for first in range(0, len(pairs), size)]
