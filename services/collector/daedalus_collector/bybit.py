"""Bybit's rules that ccxt 4.5.90 does not follow (ccxt/pro/bybit.py, read 2026-11-23).

The updates of a book are numbered without holes, topic by topic: `u` (bybit-exchange.github.io/doc-v3-offline, orderbook:
"in general continuous"; measured on spot by docs.rs/crate/tickvault/0.1.1, venue/bybit.rs). ccxt does not look at it. A book
that misses one is not recorded: it has a gap, is subscribed anew, and goes on with its next snapshot. Where twice
in a row already the first update after a snapshot is not the next one, the topic numbers otherwise: it is recorded unchecked.

A request with one topic that is subscribed already is refused as a whole (measured: github.com/ccxt/ccxt/issues/30284). ccxt
makes such requests after an error of another cause; so the rest is asked for again, and the one topic is no failure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Literal

import structlog
from ccxt.base.errors import BaseError, InvalidNonce

from daedalus_collector.checked_books import Broken
from daedalus_collector.tap import TapClient

SUBSCRIBED = "error:already subscribed,topic:"

_log = structlog.get_logger()


class Numbers:
    """Which update of each book is the next. Pure."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, bool]] = {}
        self._odd: set[str] = set()
        self._unchecked: set[str] = set()

    def judge(self, book: str, number: int, *, snapshot: bool) -> Literal["next", "jump", "unchecked"]:
        """jump: updates are missing before this one. unchecked, once: this book's numbers say nothing."""
        last, after_snapshot = self._last.get(book, (number - 1, False))
        self._last[book] = number, snapshot
        if snapshot or book in self._unchecked:
            return "next"
        if number == last + 1:
            if after_snapshot:
                self._odd.discard(book)
            return "next"
        if not after_snapshot or book not in self._odd:
            if after_snapshot:
                self._odd.add(book)
            return "jump"
        self._unchecked.add(book)
        return "unchecked"


def bybit(exchange_class: Any) -> Any:
    """A subclass of ccxt's class that keeps them; its connections must be tapped."""
    numbers, broken, sending = Numbers(), Broken(), set[asyncio.Task[None]]()

    class Bybit(exchange_class):  # type: ignore[misc]  # ccxt has no types
        def handle_order_book(self, client: TapClient, message: Mapping[str, Any]) -> None:
            topic, data, snapshot = message["topic"], message["data"], message["type"] == "snapshot"
            book = f"{client.url} {topic}"
            if broken.skips(book, snapshot=snapshot):
                self._resubscribe(client, topic, book)
                return
            verdict = numbers.judge(book, int(data["u"]), snapshot=snapshot)
            if verdict == "jump":
                market = self.safe_market(data["s"], None, None, "spot" if "spot" in client.url else "contract")
                error = InvalidNonce(f"bybit {topic}: update {data['u']} does not follow the one before")
                client.listener.on_error(client, error, f"orderbook:{market['symbol']}")
                self._resubscribe(client, topic, book)
                return
            if verdict == "unchecked":
                _log.error("book cannot be checked", exchange="bybit", topic=topic)
            super().handle_order_book(client, message)

        def _resubscribe(self, client: TapClient, topic: str, book: str) -> None:
            if broken.asks(book, time.monotonic()):
                self._send(client, {"op": "unsubscribe", "args": [topic]}, {"op": "subscribe", "args": [topic]})

        def handle_error_message(self, client: TapClient, message: Mapping[str, Any]) -> bool:
            told = str(message.get("ret_msg") or "")
            if not told.startswith(SUBSCRIBED):
                return bool(super().handle_error_message(client, message))
            asked = [one for one in client.subscriptions.values() if isinstance(one, dict)]
            request = next((one for one in asked if str(one.get("id")) == str(message.get("req_id"))), None)
            if request is not None:
                request["topics"] = [topic for topic in request["topics"] if topic != told.removeprefix(SUBSCRIBED)]
                if request["topics"]:
                    self._send(client, {"op": "subscribe", "req_id": request["id"], "args": request["topics"]})
            return True

        def _send(self, client: TapClient, *requests: Mapping[str, Any]) -> None:
            task = asyncio.ensure_future(_sent(client, requests))
            sending.add(task)
            task.add_done_callback(sending.discard)

        def on_connected(self, client: TapClient, message: Any = None) -> None:
            broken.forget()
            super().on_connected(client, message)

    Bybit.__name__ = exchange_class.__name__
    return Bybit


async def _sent(client: TapClient, requests: tuple[Mapping[str, Any], ...]) -> None:
    try:
        for request in requests:
            await client.send(request)
    except (BaseError, OSError) as error:
        _log.warning("topics were not subscribed anew", exchange="bybit", error=str(error))
