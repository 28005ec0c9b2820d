"""What JetStream holds already, or will from the disk: the last records of an earlier run, and which of our batches were
stored.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Collection, Iterable
from datetime import datetime

import msgspec
import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, Header
from nats.js.errors import NotFoundError

from daedalus import wire
from daedalus.naming import shard_stream
from daedalus.records import Trade
from daedalus.wire import WireError
from daedalus_collector.outbox import ClosedBatch

TAIL_SEQUENCES = 500
"""How far back recorded trades are read at start: of all channels at the default linger a minute, 30 MB at most."""
SPILLED_TRADES = 1_000
"""How many trades of a symbol are kept of a spill: as many as the recorder remembers."""
_FETCH = 200
_FETCH_SECONDS = 5.0

_log = structlog.get_logger()


class Tail(msgspec.Struct):
    """The end of a subject, as far back as it was read."""

    last_received_ns: int = 0
    oldest_ns: int = 0
    ends: dict[str, tuple[str, int]] = {}
    """Symbol → who recorded it last (`instance.boot`), and when its last record was received."""
    runs: dict[str, int] = {}
    """`instance.boot` → when the last record of that run was received."""
    gaps_ns: dict[str, int] = {}
    """Symbol → where a gap begins that was over but not written down, or 0."""
    trades: dict[str, list[Trade]] = {}
    """Symbol → its last trades that have ids, oldest first."""

    def complete_until_ns(self, symbol: str, others: Collection[str], mine: str = "") -> int | None:
        """Until when a symbol is known to be complete, were nobody recording it now. `others`: the replicas that live;
        `mine`: the run that asks.

        The last record of the run that had it last, when that run is over; while it goes on, the symbol's own last one.
        A gap that this one did not write down any more counts as not complete. None: it has none in what was read.
        """
        if symbol not in self.ends:
            return None
        run, received_ns = self.ends[symbol]
        goes_on = run == mine or run.rpartition(".")[0] in others
        until_ns = received_ns if goes_on else max(received_ns, self.runs[run])
        return min(until_ns, self.gaps_ns.get(symbol) or until_ns)

    def note(self, batch: wire.Batch) -> None:
        run = f"{batch.instance}.{batch.boot}"
        for part in batch.parts:
            records = wire.decode_records(batch.channel, part.records)
            if not records:
                continue
            received_ns = max(record.received_ns for record in records)
            self.last_received_ns = max(self.last_received_ns, received_ns)
            self.oldest_ns = min(self.oldest_ns or received_ns, received_ns)
            self.runs[run] = max(self.runs.get(run, 0), received_ns)
            if received_ns >= self.ends.get(part.symbol, ("", 0))[1]:
                self.ends[part.symbol] = (run, received_ns)
                self.gaps_ns[part.symbol] = part.gap_ns
            trades = [record for record in records if isinstance(record, Trade) and record.id is not None]
            self.trades.setdefault(part.symbol, []).extend(trades)

    def note_later(self, later: Tail) -> None:
        """What comes behind this one on the same subject."""
        self.last_received_ns = max(self.last_received_ns, later.last_received_ns)
        self.oldest_ns = min(self.oldest_ns or later.oldest_ns, later.oldest_ns)
        for run, received_ns in later.runs.items():
            self.runs[run] = max(self.runs.get(run, 0), received_ns)
        for symbol, end in later.ends.items():
            if end[1] >= self.ends.get(symbol, end)[1]:
                self.ends[symbol], self.gaps_ns[symbol] = end, later.gaps_ns.get(symbol, 0)
        for symbol, trades in later.trades.items():
            self.trades[symbol] = [*self.trades.get(symbol, []), *trades][-SPILLED_TRADES:]


def spilled(batches: Iterable[ClosedBatch]) -> dict[str, Tail]:
    """Subject → the end of what an earlier run left on disk. `batches`: oldest first; blocks for as long as they do.

    Of trades all are looked at, for their ids; of anything else the last batch of a run, which says when it ended.
    """
    tails: dict[str, Tail] = {}
    last: dict[tuple[str, str], ClosedBatch] = {}
    for batch in batches:
        if batch.channel == "trade":
            _note_spilled(tails, batch)
        else:
            last[batch.subject, batch.message_id.rpartition(".")[0]] = batch
    for batch in last.values():
        _note_spilled(tails, batch)
    return tails


def _note_spilled(tails: dict[str, Tail], batch: ClosedBatch) -> None:
    one = Tail()
    try:
        one.note(wire.decode(batch.message))
    except WireError as error:
        _log.warning("spilled batch was not readable", subject=batch.subject, error=str(error))
        return
    tails.setdefault(batch.subject, Tail()).note_later(one)


async def tail(js: JetStreamContext, shard: int, subject: str, without: str = "") -> Tail | None:
    """The last records of a subject but those of the boot `without`; None when it holds none that this version can read."""
    stream = shard_stream(shard)
    try:
        last = await js.get_last_msg(stream, subject)
    except NotFoundError:
        return None
    if last.seq is None:
        return None
    found = Tail()
    first = max(1, last.seq - TAIL_SEQUENCES)
    config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=first, filter_subject=subject)
    async with contextlib.aclosing(_read(js, stream, config)) as messages:
        async for message in messages:
            try:
                batch = wire.decode(message.data)
                if batch.boot != without:
                    found.note(batch)
            except WireError as error:
                _log.warning("earlier batch was not readable", subject=subject, error=str(error))
    return found if found.runs else None


async def message_ids(js: JetStreamContext, shard: int, subject: str, since: datetime) -> set[str]:
    """The `Nats-Msg-Id` of everything stored on a subject since then, by the server's clock."""
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=since, filter_subject=subject, headers_only=True
    )
    async with contextlib.aclosing(_read(js, shard_stream(shard), config)) as messages:
        return {message.headers[Header.MSG_ID] async for message in messages if message.headers}


async def _read(js: JetStreamContext, stream: str, config: ConsumerConfig) -> AsyncGenerator[Msg, None]:
    """What the stream holds now of what the consumer is to see; ends there."""
    config = config.evolve(ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=60.0)
    consumer = await js.add_consumer(stream, config)
    remaining = consumer.num_pending or 0
    subscription = await js.pull_subscribe_bind(consumer=consumer.name, stream=stream)
    try:
        while remaining > 0:
            messages = await subscription.fetch(min(_FETCH, remaining), timeout=_FETCH_SECONDS)
            remaining -= len(messages)
            for message in messages:
                yield message
    finally:
        with contextlib.suppress(nats.errors.Error, OSError):
            await subscription.unsubscribe()
            await js.delete_consumer(stream, consumer.name)
