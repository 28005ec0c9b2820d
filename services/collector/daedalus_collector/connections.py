"""The connections of one exchange: what happens to them becomes a gap, and the silent ones are closed.

The tap tells, this decides: a connection that is lost, silent or not to be trusted is given up, everything that was
subscribed on it has a gap from its last data on, and its subscriptions dial anew. So is one on which a pair stopped: ccxt
cannot let go of a part.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog
from ccxt.base.errors import ChecksumError, InvalidNonce, NetworkError

from daedalus_collector.cadence import Silence, Watch
from daedalus_collector.crossed import CrossedBooks
from daedalus_collector.feed import Pair, Sink
from daedalus_collector.metrics import Metrics
from daedalus_collector.record_mapper import RecordMapper
from daedalus_collector.retry_after import asked_seconds
from daedalus_collector.subscription import PERMANENT
from daedalus_collector.tap import TapClient

CLOSE_SECONDS = 5.0
WATCH_SECONDS = 1.0
RESYNC_SECONDS = 60.0
"""After a frame that could not be read, order books without a sequence are not to be trusted: the connection is opened
anew, but not more often than this, should it be ccxt that cannot read a new kind of frame."""
PARTED_SECONDS = 600.0
"""Between two times that a connection is given up because a part of it stopped: the rest has a gap each time."""
DETAIL_CHARACTERS = 200

_log = structlog.get_logger()


class Connections:
    """The tap's `Listener`. `last_ns`: when each pair had its last record. `on_gone(client, why)` and `on_trouble()` tell
    the subscriptions, `on_asked(seconds)` that the exchange wants to be left alone for so long.
    """

    def __init__(
        self,
        mapper: RecordMapper,
        sink: Sink,
        metrics: Metrics,
        silence_seconds: float,
        last_ns: Mapping[Pair, int],
        on_gone: Callable[[TapClient, str], None],
        on_trouble: Callable[[], None],
        on_asked: Callable[[float], None],
    ) -> None:
        self.exchanges: list[Any] = []
        """The tapped exchanges; set before their first call."""
        self._mapper = mapper
        self._sink = sink
        self._metrics = metrics
        self._silence_seconds = silence_seconds
        self._last_ns = last_ns
        self._on_gone = on_gone
        self._on_trouble = on_trouble
        self._on_asked = on_asked
        self._crossed = CrossedBooks()
        self._watches: dict[TapClient, Watch] = {}
        self._past_watches: dict[str, Watch] = {}
        """Address → of the connection that was lost there: what it learned is for the next one."""
        self._resynced: dict[str, float] = {}
        self._parted: dict[str, float] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._past_frames = 0

    def open(self) -> int:
        return sum(1 for client in self._clients() if client.connected_ns)

    def frames(self) -> int:
        """Data frames since the start."""
        return self._past_frames + sum(client.frames for client in self._clients())

    async def watch(self) -> None:
        """Close connections that deliver nothing, or stopped to deliver a part, for ever. A heartbeat is not data."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for client in self._clients():
                if client.connected_ns and client.pairs:
                    self._judge(client, time.monotonic())

    async def close(self) -> None:
        """Close everything, in at most about 5 s; nothing is delivered afterwards."""
        for client in self._clients():
            client.abandoned = True
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.gather(*(exchange.close() for exchange in self.exchanges))
        except Exception as error:  # noqa: BLE001  # the connections end here, whatever their state
            _log.debug("exchange was not closed in order", exchange=self._metrics.exchange, error=str(error))

    # -- the tap's Listener

    def on_result(self, channel: str, result: Mapping[str, Any], received_ns: int) -> bool:
        taken = self._mapper.take(channel, result, received_ns)
        if taken and channel == "orderbook":
            self._judge_book(result, received_ns)
        return taken

    def on_connected(self, client: TapClient) -> None:
        _log.info("connection was opened", exchange=self._metrics.exchange, url=client.url)

    def on_lost(self, client: TapClient, error: object) -> None:
        if (seconds := asked_seconds(error)) > 0:
            client.last_retry_after = None  # ccxt's own wait for it has no bound
            self._on_asked(seconds)
        if isinstance(error, InvalidNonce):
            self._metrics.errors["sequence_gap"] += 1
            self._drop(client, "sequence_gap", str(error))
        else:
            self._drop(client, "connection_lost", str(error))

    def on_bad_frame(self, client: TapClient, error: Exception) -> None:
        detail = _detail(error)
        self._metrics.errors["bad_frame"] += 1
        _log.warning("frame was not readable", exchange=self._metrics.exchange, error=detail, url=client.url)
        now = time.monotonic()
        books = not client.unparsed and any(pair.channel == "orderbook" for pair in client.pairs)
        if books and now - self._resynced.get(client.url, now - RESYNC_SECONDS) >= RESYNC_SECONDS:
            self._resynced[client.url] = now
            self._drop(client, "bad_frame", detail)
        else:
            self._sink.interrupted(client.pairs, _last_ns(client), "bad_frame", detail)

    def on_error(self, client: TapClient, error: BaseException, message_hash: str | None) -> None:
        self._metrics.errors[type(error).__name__] += 1
        _log.warning(
            "exchange reported an error",
            exchange=self._metrics.exchange,
            error_type=type(error).__name__,
            error=_detail(error),
        )
        if isinstance(error, (InvalidNonce, ChecksumError)):
            for pair in _books_of(client.pairs, message_hash):  # other pairs' data came after what this one misses
                self._sink.interrupted([pair], self._last_record_ns(client, pair), "sequence_gap", _detail(error))
        if isinstance(error, PERMANENT) and message_hash not in client.futures:
            _refuse_named(client, error)
        self._on_trouble()

    # -- deciding

    def _clients(self) -> list[TapClient]:
        return [client for exchange in self.exchanges for client in (exchange.clients or {}).values()]

    def _judge_book(self, book: Mapping[str, Any], received_ns: int) -> None:
        symbol = book["symbol"]
        verdict = self._crossed.judge(symbol, book["bids"], book["asks"], received_ns)
        if verdict == "crossed":
            self._metrics.errors["crossed_book"] += 1
            _log.warning("book was crossed", exchange=self._metrics.exchange, symbol=symbol)
        elif verdict == "stuck":
            for client in self._clients():
                if any(pair.channel == "orderbook" and pair.symbol == symbol for pair in client.pairs):
                    detail = f"the book of {symbol} stayed crossed"  # after the frame: its handler is still at work
                    asyncio.get_running_loop().call_soon(self._drop, client, "sequence_gap", detail)

    def _judge(self, client: TapClient, now: float) -> None:
        watch = self._watches.get(client)
        if watch is None:
            watch = self._past_watches.pop(_place(client), None) or Watch(self._silence_seconds, self._last_ns)
            watch.begin()
            self._watches[client] = watch
        silence = watch.look(now, client.last_data_ns, client.pairs)
        if silence is None:
            return
        if silence.pairs is None:
            self._metrics.errors["silent_connection"] += 1
            self._drop(client, "connection_silent", silence.detail)
        else:
            self._part(client, silence, silence.pairs, now)

    def _part(self, client: TapClient, silence: Silence, pairs: Iterable[Pair], now: float) -> None:
        """Some pairs stopped: each has a gap from its own last record on."""
        for pair in pairs:
            self._metrics.errors["silent_pair"] += 1
            self._sink.interrupted([pair], self._last_record_ns(client, pair), "connection_silent", silence.detail)
            _log.warning("pair stopped", exchange=self._metrics.exchange, channel=pair.channel, symbol=pair.symbol)
        place = _place(client)
        if now - self._parted.get(place, now - PARTED_SECONDS) >= PARTED_SECONDS:
            self._parted[place] = now
            self._drop(client, "connection_silent", silence.detail)

    def _last_record_ns(self, client: TapClient, pair: Pair) -> int:
        return self._last_ns.get(pair) or client.connected_ns

    def _drop(self, client: TapClient, cause: str, detail: str) -> None:
        if client.abandoned:
            return
        client.abandoned = True
        self._past_frames += client.frames
        if (watch := self._watches.pop(client, None)) is not None:
            self._past_watches[_place(client)] = watch
        if client.owner.clients.get(client.url) is client:
            del client.owner.clients[client.url]
        if client.connected_ns:
            self._metrics.reconnects += 1
            self._sink.interrupted(client.pairs, _last_ns(client), cause, detail)
            if client.tape is not None:
                client.tape.lost(client.connected_ns, cause, detail)
            _log.warning(
                "connection was given up", exchange=self._metrics.exchange, cause=cause, detail=detail, url=client.url
            )
        self._on_gone(client, detail)
        client.reject(NetworkError(detail))
        task = asyncio.ensure_future(_close(client))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _last_ns(client: TapClient) -> int:
    """The last moment that the connection is known to have been good."""
    return client.last_data_ns or client.connected_ns


def _place(client: TapClient) -> str:
    """Its address without what changes from dial to dial, such as KuCoin's token; each exchange here has its own."""
    return f"{client.quotes} {str(client.url).partition('?')[0]}"


def _detail(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:DETAIL_CHARACTERS]


def _books_of(pairs: Iterable[Pair], message_hash: str | None) -> list[Pair]:
    """The order book that a message hash of ccxt is about, or all of them where that cannot be seen."""
    books = [pair for pair in pairs if pair.channel == "orderbook"]
    named = [pair for pair in books if message_hash is not None and message_hash.endswith(pair.symbol)]
    return named or books


def _refuse_named(client: TapClient, error: BaseException) -> None:
    """Tell those who wait for a symbol that an error names: nobody waits for the request itself, which is what Kraken's
    error answers.
    """
    for symbol in {pair.symbol for pair in client.pairs}:
        named = re.compile(rf"(?<![\w/]){re.escape(symbol)}(?![\w:])")
        if named.search(str(error)):
            for waiting in [hash_ for hash_ in client.futures if named.search(hash_)]:
                client.futures.pop(waiting).reject(error)


async def _close(client: TapClient) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await client.close()
    except Exception as error:  # noqa: BLE001  # the connection ends here, whatever its state
        _log.debug("connection was not closed in order", url=client.url, error=str(error))
        response = getattr(client.connection, "_response", None)
        if response is not None:
            response.close()  # aborts the transport: aiohttp waits for ever for a peer that goes on sending
