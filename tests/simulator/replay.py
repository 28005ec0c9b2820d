"""Binance spot from a recording: sessions as ever, but what happens on the market is what the file says.

The replay begins when the wanted streams are subscribed and, where depth is among them, the REST snapshot was served; so
a client sees the snapshot and each later delta as a state of its own. Deltas that the file has before the snapshot are
sent too; a client ignores what the snapshot holds already. Frames of a stream without a subscriber are passed over.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Literal

import msgspec

from simulator.binance import DEPTHS, SETTLE_NS, Binance
from simulator.clock import Clock
from simulator.connection import Connection
from simulator.exchange import Reply
from simulator.fixed import NANOSECONDS
from simulator.recording import RecordedFrame
from simulator.sockets import Sockets

Speed = Literal["recorded", "full"]
TRADE_ID = re.compile(rb'"t":(\d+)')
LAST_UPDATE_ID = re.compile(rb'"u":(\d+)')
POLL_SECONDS = 0.02
# The replay does not wait longer for a client to ask for the snapshot.
SNAPSHOT_WAIT_NS = 10 * NANOSECONDS
# At full speed the outboxes are looked at after so many frames.
CHUNK = 64


class Snapshot(msgspec.Struct):
    last_update_id: int = msgspec.field(name="lastUpdateId")
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class Delta(msgspec.Struct):
    last_update_id: int = msgspec.field(name="u")
    bids: list[tuple[str, str]] = msgspec.field(name="b")
    asks: list[tuple[str, str]] = msgspec.field(name="a")


class ReplayedBook:
    """The recorded snapshot with the deltas that were sent since, for clients that ask for it later than the recorder."""

    def __init__(self, body: bytes) -> None:
        snapshot = msgspec.json.decode(body, type=Snapshot)
        self.last_update_id = self.snapshot_update_id = snapshot.last_update_id
        self._sides = dict(snapshot.bids), dict(snapshot.asks)
        self._sent: deque[bytes] = deque()

    def sent(self, payload: bytes) -> None:
        self._sent.append(payload)

    def body(self, limit: int) -> bytes:
        while self._sent:  # decoded only when somebody asks
            delta = msgspec.json.decode(self._sent.popleft(), type=Delta)
            if delta.last_update_id <= self.last_update_id:
                continue
            self.last_update_id = delta.last_update_id
            for side, changes in zip(self._sides, (delta.bids, delta.asks), strict=True):
                side.update(changes)
                for price, amount in changes:
                    if not float(amount):
                        side.pop(price, None)
        bids, asks = (
            sorted(side.items(), key=lambda level: float(level[0]), reverse=best_is_high)[:limit]
            for side, best_is_high in zip(self._sides, (True, False), strict=True)
        )
        return msgspec.json.encode(Snapshot(self.last_update_id, bids, asks))


class ReplayedBinance:
    """Wraps the generated Binance: its sessions and markets, the recording's frames."""

    name = Binance.name
    channels = Binance.channels

    def __init__(self, binance: Binance, recording: Iterable[RecordedFrame], start_when: AbstractSet[str]) -> None:
        self._binance = binance
        self.subscriptions = binance.subscriptions
        self._start_when = start_when
        self._served_ns: int | None = None
        self._frames: list[tuple[int, str, str, bytes]] = []
        self._symbol = ""
        self._book: ReplayedBook | None = None
        for frame in recording:
            product, channel = binance.parse(frame.stream)
            if product is not None:
                self._frames.append((frame.received_ns, channel, product.symbol, frame.payload))
                self._symbol = product.symbol
            elif not frame.stream and self._book is None and b'"lastUpdateId"' in frame.payload:
                self._book = ReplayedBook(frame.payload)
        if not self._frames:
            raise ValueError("replay: expected frames of at least one simulated product, found none; add its symbol")

    # -- the exchange

    def rest(self, path: str, query: Mapping[str, str], now_ns: int) -> Reply | None:
        asked, _ = self._binance.parse(query.get("symbol", ""))
        if path.strip("/") != "api/v3/depth" or self._book is None or asked is None or asked.symbol != self._symbol:
            return self._binance.rest(path, query, now_ns)
        self._served_ns = now_ns
        self._binance.snapshot_served(self._symbol, now_ns)
        return Reply(self._book.body(int(query.get("limit", "100"))))

    def accepts(self, path: str) -> bool:
        return self._binance.accepts(path)

    def opened(self, connection: Connection, path: str, query: Mapping[str, str], now_ns: int) -> None:
        self._binance.opened(connection, path, query, now_ns)

    def received(self, connection: Connection, text: str, now_ns: int) -> None:
        self._binance.received(connection, text, now_ns)

    def closed(self, connection: Connection) -> None:
        self._binance.closed(connection)

    def quiet(self, channel: str, symbol: str, now_ns: int) -> bool:
        return True

    def fire(self, channel: str, symbol: str, now_ns: int) -> int:
        """Nothing happens but what was recorded."""
        return 0

    def beat(self, now_ns: int) -> None:
        self._binance.beat(now_ns)

    def error(self, now_ns: int) -> bytes:
        return self._binance.error(now_ns)

    # -- the replay

    async def run(self, speed: Speed, clock: Clock, sockets: Sockets) -> None:
        """Returns when the last frame was written."""
        await self._begun()
        began, first_ns = clock.now(), self._frames[0][0]
        for number, (received_ns, channel, symbol, payload) in enumerate(self._frames):
            await clock.running()
            if speed == "recorded":
                await clock.until(began + (received_ns - first_ns) / NANOSECONDS)
            elif number % CHUNK == 0:
                await sockets.roomy()
            self._send(channel, symbol, payload)
        await sockets.flush()

    async def _begun(self) -> None:
        while not self._subscribed():
            await asyncio.sleep(POLL_SECONDS)
        subscribed_ns = time.time_ns()
        while not self._settled(subscribed_ns):
            await asyncio.sleep(POLL_SECONDS)

    def _subscribed(self) -> bool:
        streams = {self._binance.stream(channel, symbol) for channel, symbol in self.subscriptions}
        return self._start_when <= streams if self._start_when else bool(streams)

    def _settled(self, subscribed_ns: int) -> bool:
        now_ns = time.time_ns()
        if self._book is None or not any(channel in DEPTHS for channel, _ in self.subscriptions):
            return True
        if self._served_ns is None:
            return now_ns > subscribed_ns + SNAPSHOT_WAIT_NS
        return now_ns > self._served_ns + SETTLE_NS

    def _send(self, channel: str, symbol: str, payload: bytes) -> None:
        records = 1
        trade_ids: tuple[int, ...] = ()
        if channel in DEPTHS and self._book is not None:
            self._book.sent(payload)
            last = LAST_UPDATE_ID.search(payload)
            records = int(last is not None and int(last[1]) > self._book.snapshot_update_id)
        elif channel == "trade" and (found := TRADE_ID.search(payload)):
            trade_ids = (int(found[1]),)
        self._binance.send(channel, symbol, payload, records, trade_ids)
