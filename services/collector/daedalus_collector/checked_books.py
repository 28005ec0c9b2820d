"""Order books that are compared with the checksum in each frame; ccxt 4.5.90 ignores it (its own check is off, and fails).

A book that differs is not recorded: it has a gap, is subscribed anew, and goes on with its next snapshot. Where already a
snapshot differs it is the check that is wrong, such as with decimals that changed: then that book is recorded unchecked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import structlog
from ccxt.base.errors import BaseError, ChecksumError

from daedalus_collector import quirks
from daedalus_collector.checksum import book_checksum
from daedalus_collector.tap import TapClient

RESUBSCRIBE_SECONDS = 10.0
"""For the new snapshot to come, before it is asked for again."""

_log = structlog.get_logger()


class _Held:
    """Stands before a connection: what a handler hands on is looked at first."""

    def __init__(self, client: TapClient) -> None:
        self.subscriptions = client.subscriptions
        self.result: tuple[Any, str | None] | None = None

    def resolve(self, result: Any, message_hash: str | None = None) -> None:
        self.result = result, message_hash


class Broken:
    """Which books wait for a snapshot, which cannot be checked, and when a snapshot may be asked for. Pure."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self.unchecked: set[str] = set()

    def skips(self, symbol: str, *, snapshot: bool) -> bool:
        """Whether a frame is of no use: an update of a broken book."""
        if snapshot:
            self._since.pop(symbol, None)
        return symbol in self._since

    def asks(self, symbol: str, now: float) -> bool:
        """The book is broken; True when a snapshot is to be asked for."""
        since = self._since.get(symbol)
        if since is not None and now - since < RESUBSCRIBE_SECONDS:
            return False
        self._since[symbol] = now
        return True

    def forget(self) -> None:
        """A connection is gone; its books begin anew."""
        self._since.clear()


def checked(exchange_class: Any, exchange_id: str) -> Any:
    """A subclass of a tapped class that checks its books; the class itself where the exchange sends no checksum."""
    decimals = quirks.CHECKSUM_DECIMALS.get(exchange_id)
    if decimals is None:
        return exchange_class
    price_name, amount_name = decimals
    broken, resubscribing = Broken(), set[asyncio.Task[None]]()

    class Checked(exchange_class):  # type: ignore[misc]  # ccxt has no types
        def handle_order_book(self, client: TapClient, message: Mapping[str, Any]) -> None:
            snapshot = message.get("type") == "snapshot"
            for book in message["data"]:
                symbol = book["symbol"]
                if broken.skips(symbol, snapshot=snapshot):
                    self._resubscribe(client, symbol)
                    continue
                held: Any = _Held(client)
                super().handle_order_book(held, {**message, "data": [book]})
                if held.result is None:
                    continue
                if self._differs(symbol, held.result[0], book.get("checksum")):
                    if not snapshot:
                        error = ChecksumError(f"{exchange_id} {symbol}: the book differs from its checksum")
                        client.listener.on_error(client, error, held.result[1] or symbol)
                        self._resubscribe(client, symbol)
                        continue
                    broken.unchecked.add(symbol)
                    _log.error("book cannot be checked", exchange=exchange_id, symbol=symbol)
                client.resolve(*held.result)

        def _differs(self, symbol: str, book: Any, expected: int | None) -> bool:
            market = (self.markets or {}).get(symbol)
            if market is None or expected is None or symbol in broken.unchecked:
                return False
            price_decimals, amount_decimals = int(market["info"][price_name]), int(market["info"][amount_name])
            return book_checksum(book["bids"], book["asks"], price_decimals, amount_decimals) != int(expected)

        def _resubscribe(self, client: TapClient, symbol: str) -> None:
            if broken.asks(symbol, time.monotonic()):
                task = asyncio.ensure_future(_send(client, symbol, self.orderbooks[symbol]))
                resubscribing.add(task)
                task.add_done_callback(resubscribing.discard)

        def on_connected(self, client: TapClient, message: Any = None) -> None:
            broken.forget()
            super().on_connected(client, message)

    Checked.__name__ = exchange_class.__name__
    return Checked


async def _send(client: TapClient, symbol: str, book: Any) -> None:
    """Subscribe one book anew: its snapshot comes with it. ccxt knows nothing of it and need not."""
    depth = book["bids"]._depth  # noqa: SLF001  # as it was subscribed; ccxt has no other name for it
    params = {"channel": "book", "symbol": [symbol], "depth": depth}
    try:
        await client.send({"method": "unsubscribe", "params": params})
        await client.send({"method": "subscribe", "params": {**params, "snapshot": True}})
    except (BaseError, OSError) as error:
        _log.warning("book was not subscribed anew", symbol=symbol, error=str(error))
