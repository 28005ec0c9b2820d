"""A Binance order book: changes are buffered until the REST snapshot is there, then applied in unbroken sequence. Pure.

How the two are laid on each other: developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and
…/derivatives/usds-margined-futures/websocket-market-streams/How-to-manage-a-local-order-book-correctly (2026-11).
"""

from __future__ import annotations

from collections import deque

from daedalus.errors import TransientError
from daedalus.records import OrderBook
from daedalus_collector.native.binance_frames import DepthUpdate, Snapshot
from daedalus_collector.native.order_book import LocalBook

MOST_BUFFERED = 10_000
"""Changes that wait for the snapshot: 1,000 s of them. Beyond that the oldest go, and the sequence shows it."""
KEPT_LEVELS = 5_000
"""Of each side; as many as ccxt's books keep here (`daedalus_collector.quirks`)."""


class OutOfSequenceError(TransientError):
    """Changes are missing: the book has to be built anew. `kind` is sequence_gap or crossed_book."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class BinanceBook:
    """`futures`: each change names the one before it (`pu`). `last_ns`: when its last good state was received."""

    def __init__(self, depth: int, *, futures: bool) -> None:
        self.last_ns = 0
        self.synced = False
        self._futures = futures
        self._book = LocalBook(depth, KEPT_LEVELS)
        self._buffered: deque[DepthUpdate] = deque(maxlen=MOST_BUFFERED)
        self._nonce = 0
        self._first = True

    def take(self, update: DepthUpdate, received_ns: int) -> OrderBook | None:
        """The state after a change; None when there is no snapshot yet, or it holds the change already.

        Raises OutOfSequenceError; the book then waits for a snapshot, and the change for that.
        """
        if not self.synced:
            self._buffered.append(update)
            return None
        try:
            applied = self._apply(update)
        except OutOfSequenceError:
            self.restart()
            self._buffered.append(update)
            raise
        return self._state(update.event_ms * 1_000, received_ns) if applied else None

    def lay(self, snapshot: Snapshot, received_ns: int) -> OrderBook | None:
        """The state of a snapshot with what was buffered on it; None when it is older than that: get another.

        Raises OutOfSequenceError.
        """
        buffered = self._buffered
        while buffered and self._older(buffered[0], snapshot.last_update_id):
            buffered.popleft()
        if buffered and not self._joins(buffered[0], snapshot.last_update_id):
            return None
        self._book.reset(snapshot.bids, snapshot.asks)
        self._nonce = snapshot.last_update_id
        self._first = True
        timestamp_us = None if snapshot.time_ms is None else snapshot.time_ms * 1_000
        while buffered:
            if self._apply(buffered[0]):
                timestamp_us = buffered[0].event_ms * 1_000
            buffered.popleft()
        self.synced = True
        return self._state(timestamp_us, received_ns)

    def restart(self) -> None:
        """Forget everything: wait for a snapshot."""
        self.synced = False
        self._first = True
        self._buffered.clear()

    def _apply(self, update: DepthUpdate) -> bool:
        if self._older(update, self._nonce):
            return False
        if self._first or not self._futures:
            follows = self._joins(update, self._nonce)
        else:
            follows = update.previous_id == self._nonce
        if not follows:
            expected = f"expected the change after {self._nonce}, was {update.first_id} to {update.last_id}"
            raise OutOfSequenceError("sequence_gap", expected)
        book = self._book
        book.bids.put(update.bids)
        book.asks.put(update.asks)
        if book.crossed:
            raise OutOfSequenceError("crossed_book", f"the book is crossed after change {update.last_id}")
        self._nonce = update.last_id
        self._first = False
        return True

    def _older(self, update: DepthUpdate, nonce: int) -> bool:
        if self._futures and self._first:
            return update.last_id < nonce
        return update.last_id <= nonce

    def _joins(self, update: DepthUpdate, nonce: int) -> bool:
        if self._futures:
            return update.first_id <= nonce <= update.last_id or update.previous_id == nonce
        return update.first_id <= nonce + 1

    def _state(self, timestamp_us: int | None, received_ns: int) -> OrderBook:
        self.last_ns = received_ns
        book = self._book
        return OrderBook(received_ns, timestamp_us, self._nonce, *book.bids.columns(), *book.asks.columns())
