"""What the server asks of an exchange. Implementations do no I/O but queue frames on connections; time is an argument."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from simulator.connection import Connection
from simulator.subscriptions import Subscriptions


class Reply(Struct, frozen=True):
    """The answer to a REST request."""

    body: bytes
    status: int = 200


class Exchange(Protocol):
    name: str
    subscriptions: Subscriptions
    channels: Mapping[str, str]
    """The exchange's own channel names -> ``trade``, ``ticker``, ``orderbook``, ``bidask``."""

    def rest(self, path: str, query: Mapping[str, str], now_ns: int) -> Reply | None:
        """Answer a request, None where there is no such path. ``path`` is without the host."""

    def accepts(self, path: str) -> bool:
        """Whether a WebSocket may be opened at ``path``, which is without the host."""

    def opened(self, connection: Connection, path: str, query: Mapping[str, str], now_ns: int) -> None:
        """A client connected."""

    def received(self, connection: Connection, text: str, now_ns: int) -> None:
        """A text frame from the client."""

    def closed(self, connection: Connection) -> None:
        """The connection is gone."""

    def quiet(self, channel: str, symbol: str, now_ns: int) -> bool:
        """True while this part of the market must stand still."""

    def fire(self, channel: str, symbol: str, now_ns: int) -> int:
        """Let one thing happen on the market and send it to who is subscribed: at most one frame for each subscription.
        Returns how many records that was; 0 where there was nothing to tell."""

    def beat(self, now_ns: int) -> None:
        """Called four times a second: heartbeats, deadlines."""

    def error(self, now_ns: int) -> bytes:
        """An error frame of this protocol."""


def symbols_of(exchange: Exchange) -> dict[str, Sequence[str]]:
    """The subscriptions of now, as channel -> unified symbols."""
    found: dict[str, list[str]] = {}
    for wire_channel, symbol in exchange.subscriptions:
        symbols = found.setdefault(exchange.channels.get(wire_channel, wire_channel), [])
        if symbol not in symbols:
            symbols.append(symbol)
    return dict(found)
