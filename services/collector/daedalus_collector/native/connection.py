"""One WebSocket to an exchange, kept open: dialled again with back-off, paced, watched for silence, closed in bounded time.

What is said on it is its session's business. Whatever interrupts it becomes a gap of all its pairs.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import structlog

from daedalus.config import Ingestion
from daedalus.records import Record
from daedalus_collector.backoff import GOOD_SECONDS, Backoff
from daedalus_collector.cadence import LastRecords, Watch
from daedalus_collector.feed import Pair, Sink
from daedalus_collector.metrics import Metrics
from daedalus_collector.native.session import MakeSession, Request, SequenceError, Session
from daedalus_collector.native.websocket import RefusedError, WebSocket, dial
from daedalus_collector.pace import Pace
from daedalus_collector.raw_frames import RawFrames

CLOSE_SECONDS = 4.0
DIAL_SECONDS = 15.0
PING_SECONDS = 15.0
"""Without any bytes for so long pings are sent, one a second; without an answer for as long again it is over."""
DETAIL_CHARACTERS = 200
MOST_REQUESTS = 1_000
"""Messages to the exchange that wait for their turn."""

State = Literal["starting", "active", "waiting", "given_up"]

_log = structlog.get_logger()


class Around(NamedTuple):
    """What the connections of one feed share. `request_seconds`: between two messages to the exchange."""

    exchange: str
    tls: ssl.SSLContext
    sink: Sink
    metrics: Metrics
    ingestion: Ingestion
    dials: Pace
    silence_seconds: float
    request_seconds: float
    raw: RawFrames | None = None
    """Where frames go as they come, if they are recorded."""


class End(NamedTuple):
    """Why a connection ended; `cause` is one of `daedalus.records.CAUSES`."""

    cause: str
    detail: str
    retry_seconds: float = 0.0
    """What the exchange asked to wait, at the least."""


class Connection:
    """Is its session's `Link`. `url` is dialled for `pairs`."""

    def __init__(self, around: Around, url: str, pairs: Sequence[Pair], make_session: MakeSession) -> None:
        self.pairs = tuple(pairs)
        self.frames = 0
        self._records = LastRecords(around.sink)
        self.hand_on = self._records.record
        self._watch = Watch(around.silence_seconds, self._records.last_ns)
        self._around = around
        self._url = url
        self._make_session = make_session
        self._backoff = Backoff(around.ingestion.reconnect_delay, lambda: random.uniform(0.5, 1))
        self._state: State = "starting"
        self._problem: str | None = None
        self._requests: list[Request] = []
        self._queue: asyncio.Queue[Request] = asyncio.Queue(MOST_REQUESTS)
        self._refusals = Backoff(around.ingestion.reconnect_delay, lambda: random.uniform(0.5, 1))
        self._refused_at = 0.0
        self._websocket: WebSocket | None = None
        self._session: Session | None = None
        self._doom: asyncio.Future[End] | None = None
        self._connected_ns = self._first_data_ns = self._last_data_ns = 0
        self._closing: set[asyncio.Task[None]] = set()

    # -- what the feed sees

    @property
    def name(self) -> str:
        first, *more = self.pairs
        return f"{first.channel} {first.symbol}{f' and {len(more)} more' if more else ''}"

    @property
    def open(self) -> bool:
        return self._websocket is not None

    def problems(self) -> dict[str, str]:
        if self._problem is not None:
            return {self.name: f"{self._state}, {self._problem}"}
        return {
            f"{request.pairs[0].channel} {request.pairs[0].symbol}": f"{request.state}, {request.problem}"
            for request in self._requests
            if request.problem is not None and request.pairs
        }

    def states(self) -> dict[Pair, str]:
        if self._state != "active":
            return dict.fromkeys(self.pairs, self._state)
        return {pair: request.state for request in self._requests for pair in request.pairs}

    async def run(self) -> None:
        """Until it is given up, or cancelled."""
        ingestion = self._around.ingestion
        most = ingestion.max_reconnect_attempts if ingestion.auto_reconnect else 0
        while True:
            async with self._around.dials.turn(""):
                pass
            end = await self._live()
            good_seconds = (self._last_data_ns - self._first_data_ns) / 1e9
            delay = max(end.retry_seconds, self._backoff.failed(good_seconds))
            self._around.dials.hold(end.retry_seconds)
            self._problem = end.detail
            if 0 <= most < self._backoff.failures:
                self._state = "given_up"
                self._problem += f", after {self._backoff.failures - 1} attempts to reconnect"
                _log.error("connection was ended", exchange=self._around.exchange, url=self._url, why=self._problem)
                return
            self._state = "waiting"
            _log.warning(
                "connection is dialled again",
                exchange=self._around.exchange,
                why=end.detail,
                retry_seconds=round(delay, 2),
            )
            await asyncio.sleep(delay)

    def judge(self, now_ns: int) -> None:
        """Called each second: end it when it delivers nothing, ask again for what it does not deliver any more. A heartbeat
        is not data.
        """
        self.drain()
        websocket, doom = self._websocket, self._doom
        if websocket is None or doom is None or doom.done():
            return
        unheard_seconds = (now_ns - websocket.heard_ns) / 1e9
        silence = self._watch.look(now_ns / 1e9, self._last_data_ns, self.pairs)
        if silence is not None and silence.pairs is None:
            self._around.metrics.errors["silent_connection"] += 1
            doom.set_result(End("connection_silent", silence.detail))
        elif silence is not None and silence.pairs is not None:
            self._renew(silence.pairs, silence.detail)
        elif unheard_seconds > 2 * PING_SECONDS:
            doom.set_result(End("connection_silent", f"no answer to pings for {unheard_seconds:.0f} s"))
        elif unheard_seconds > PING_SECONDS:
            websocket.ping()

    async def closed(self) -> None:
        """Wait until what was given up is closed."""
        if self._closing:
            await asyncio.wait(set(self._closing))

    # -- the session's Link

    def send(self, request: Request, after_seconds: float = 0.0) -> None:
        if after_seconds > 0:
            asyncio.get_running_loop().call_later(after_seconds, self.send, request)
        elif request in self._requests and not self._queue.full():
            self._queue.put_nowait(request)

    def drain(self) -> None:
        if self._websocket is not None:
            self._websocket.drain()

    def record(self, pair: Pair, record: Record) -> None:
        self.hand_on(pair, record)
        self._last_data_ns = record.received_ns
        if not self._first_data_ns:
            self._first_data_ns = record.received_ns

    def lost(self, pair: Pair, from_ns: int, kind: str, detail: str) -> None:
        self._around.metrics.errors[kind] += 1
        _log.warning(
            "sequence was broken", exchange=self._around.exchange, symbol=pair.symbol, kind=kind, detail=detail
        )
        if from_ns:
            self._around.sink.interrupted([pair], from_ns, "sequence_gap", detail)

    def refused(self, request: Request | None, why: str) -> None:
        self._around.metrics.errors["exchange_error"] += 1
        _log.warning("exchange reported an error", exchange=self._around.exchange, error=why[:DETAIL_CHARACTERS])
        if request is None:
            return
        now = time.monotonic()
        delay = self._refusals.failed(now - self._refused_at if self._refused_at else GOOD_SECONDS)
        self._refused_at = now
        request.state, request.problem = "waiting", why[:DETAIL_CHARACTERS]
        self.send(request, delay)

    def discarded(self, channel: str, cause: str) -> None:
        self._around.metrics.discarded[channel, cause] += 1

    # -- one dial

    @property
    def _last_ns(self) -> int:
        """The last moment that it is known to have been good."""
        return self._last_data_ns or self._connected_ns

    async def _live(self) -> End:
        """From the dial to the end of the connection."""
        self._connected_ns = self._first_data_ns = self._last_data_ns = 0
        self._doom = doom = asyncio.get_running_loop().create_future()
        session = self._make_session(self, self.pairs)
        raw = self._around.raw
        take = session.skim if raw is not None and raw.only else session.take
        tape = raw.tape(f"{self._url} {self.name}") if raw is not None else None
        dialled = await self._dial(take if tape is None else tape.before(take), doom)
        if isinstance(dialled, End):
            self._around.metrics.errors["dial_failed"] += 1
            return dialled
        self._connected_ns, self._session = time.time_ns(), session
        self._watch.begin()
        self._requests, self._queue = session.requests, asyncio.Queue(MOST_REQUESTS)
        for request in session.requests:
            self._queue.put_nowait(request)
        self._state, self._problem, self._websocket = "active", None, dialled
        _log.info("connection was opened", exchange=self._around.exchange, url=self._url, pairs=len(self.pairs))
        sending = asyncio.ensure_future(self._send(dialled, session.sent))
        try:
            await asyncio.wait({dialled.closed, doom}, return_when=asyncio.FIRST_COMPLETED)
            end = doom.result() if doom.done() else End("connection_lost", dialled.closed.result())
        finally:
            dialled.drain()
            self._websocket = self._session = None
            sending.cancel()
            session.close()
            closing = asyncio.ensure_future(dialled.close(CLOSE_SECONDS))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        self._around.metrics.reconnects += 1
        self._around.sink.interrupted(self.pairs, self._last_ns, end.cause, end.detail)
        if tape is not None:
            tape.lost(self._connected_ns, end.cause, end.detail)
        _log.warning("connection was given up", exchange=self._around.exchange, cause=end.cause, detail=end.detail)
        return end

    def _renew(self, pairs: Sequence[Pair], detail: str) -> None:
        """They stopped while others go on: each has a gap from its own last record on, and is subscribed anew."""
        for pair in pairs:
            self._around.metrics.errors["silent_pair"] += 1
            from_ns = self._records.last_ns.get(pair) or self._connected_ns
            self._around.sink.interrupted([pair], from_ns, "connection_silent", detail)
            _log.warning("pair stopped", exchange=self._around.exchange, channel=pair.channel, symbol=pair.symbol)
        if self._session is not None:
            self._session.renew(pairs)

    async def _dial(self, take: Callable[[bytes, int], bool], doom: asyncio.Future[End]) -> WebSocket | End:
        def on_message(message: bytes, received_ns: int) -> None:
            self.frames += 1
            if doom.done():
                return
            try:
                if take(message, received_ns):
                    self._last_data_ns = received_ns
                    if not self._first_data_ns:
                        self._first_data_ns = received_ns
            except SequenceError as error:
                self._around.metrics.errors["sequence_gap"] += 1
                doom.set_result(End("sequence_gap", str(error)))
            except Exception as error:  # noqa: BLE001  # the edge of the connection: whatever a strange frame does
                self._bad_frame(error)

        try:
            return await dial(self._url, self._around.tls, on_message, DIAL_SECONDS)
        except RefusedError as error:
            return End("connection_lost", str(error), error.retry_seconds)
        except (OSError, TimeoutError) as error:
            return End("connection_lost", f"{type(error).__name__}: {error}"[:DETAIL_CHARACTERS])

    def _bad_frame(self, error: Exception) -> None:
        """The connection is kept: what the frame held shows in the sequences of those that have one."""
        detail = f"{type(error).__name__}: {error}"[:DETAIL_CHARACTERS]
        self._around.metrics.errors["bad_frame"] += 1
        _log.warning("frame was not readable", exchange=self._around.exchange, error=detail)
        self._around.sink.interrupted(self.pairs, self._last_ns, "bad_frame", detail)

    async def _send(self, websocket: WebSocket, sent: Callable[[Request], bytes]) -> None:
        """What is in the queue, at the exchange's pace."""
        while True:
            request = await self._queue.get()
            websocket.drain()  # an error that came before it is not its answer
            websocket.send(sent(request))
            await asyncio.sleep(self._around.request_seconds)
