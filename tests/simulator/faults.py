"""What can be made to go wrong, and how it strikes an exchange's connections."""

import math
from collections.abc import Sequence
from typing import Literal

from aiohttp import WSCloseCode
from msgspec import Struct

from simulator.connection import Connection
from simulator.exchange import Exchange
from simulator.fixed import NANOSECONDS
from simulator.frame import Frame

# Cut in the middle of a string: no parser takes it.
GARBAGE = Frame(b'{"channel":"market_trades","timestamp":"2026-08-12T19:2')
Kind = Literal[
    "close",
    "reset",
    "freeze",
    "garbage",
    "error",
    "sequence_gap",
    "slow",
    "refuse",
    "refuse_subscribe",
    "accept_then_close",
]


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """Strikes every connection that ``exchange`` has at that moment; the last three strike what comes for ``seconds`` (for
    ever without; 0 ends it).

    close: Close 1001. reset: TCP RST. freeze: nothing but pongs for ``seconds`` (for ever without); what the market does
    meanwhile is dropped, so sequence numbers jump afterwards. garbage: one extra, truncated JSON frame. error: one error
    frame. sequence_gap: the next frame of ``channel`` is dropped. slow: ``seconds`` before each frame, 0 ends it. refuse:
    WebSockets and REST get 503, or 429 with ``retry_after``. refuse_subscribe: each subscribe request is answered with an
    error. accept_then_close: WebSockets are opened and closed at once.
    """

    exchange: str
    fault: Kind
    seconds: float | None = None
    channel: str = "orderbook"
    retry_after: int | None = None


class Door(Struct):
    """Whether an exchange lets new clients in, and keeps them. ``until`` and ``closes_until`` are monotonic seconds."""

    until: float = 0.0
    retry_after: int | None = None
    closes_until: float = 0.0

    def refusal(self, now: float) -> tuple[int, dict[str, str]] | None:
        """The status and headers to refuse with, or None."""
        if now >= self.until:
            return None
        if self.retry_after is None:
            return 503, {}
        return 429, {"Retry-After": str(self.retry_after)}


def strike(
    fault: Fault, exchange: Exchange, connections: Sequence[Connection], door: Door, now: float, now_ns: int
) -> None:
    """``now`` is monotonic, ``now_ns`` is the wall clock's."""
    seconds = math.inf if fault.seconds is None else fault.seconds
    if fault.fault == "refuse":
        door.until, door.retry_after = now + seconds, fault.retry_after
    elif fault.fault == "refuse_subscribe":
        exchange.subscriptions.refused_until_ns = now_ns + seconds * NANOSECONDS
    elif fault.fault == "accept_then_close":
        door.closes_until = now + seconds
    for connection in connections:
        match fault.fault:
            case "close":
                connection.close(WSCloseCode.GOING_AWAY, "going away")
            case "reset":
                connection.reset()
            case "freeze":
                connection.freeze(seconds)
            case "garbage":
                connection.send(GARBAGE)
            case "error":
                connection.send(Frame(exchange.error(now_ns)))
            case "sequence_gap":
                connection.skip_next(fault.channel)
            case "slow":
                connection.slow(fault.seconds or 0.0)
