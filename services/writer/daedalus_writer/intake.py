"""Lays messages into open segments: counts, passes over what is committed, merges what two collectors recorded. No I/O."""

from __future__ import annotations

import contextlib
from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import Counter

from daedalus.records import Gap
from daedalus.wire import WireError, bodies, decode, decode_records
from daedalus_writer.layout import Key
from daedalus_writer.merging import Merger
from daedalus_writer.metrics import Metrics
from daedalus_writer.open_segments import OpenSegments
from daedalus_writer.reader import Message
from daedalus_writer.recovery import Recovered
from daedalus_writer.segment import Segment


class Intake:
    def __init__(self, recovered: Recovered, metrics: Metrics) -> None:
        self.open = OpenSegments()
        self.position = recovered.position
        """Of the last message that was taken, or kept aside."""
        self._recovered = recovered
        self._metrics = metrics
        self._merger = Merger()
        self._gaps: Tally[Key] = Tally()
        """Gap records about a key, counted into its footer."""
        self._counted: dict[tuple[str, str], tuple[Counter, Counter]] = {}

    def take(self, message: Message) -> int:
        """Lay a message's records into their segments; returns by how many bytes memory grew. The message is read whole
        first: all of it is taken, or nothing.

        Raises WireError.
        """
        batch, at, grown = decode(message.data), message.position, 0
        exchange, channel, hour = batch.exchange, batch.channel, batch.hour
        parts = [(part, decode_records(channel, part.records)) for part in batch.parts]
        again = self._recovered.may_have(at)
        segments = self.open.group((exchange, channel, hour))
        received = laid = 0
        for part, records in parts:
            received += len(records)
            encoded, kept = self._merger.merged(
                (exchange, channel, part.symbol), batch.instance, bodies(part.records), records
            )
            if not kept or (again and self._recovered.has(Key(exchange, channel, part.symbol, hour), at)):
                continue
            segment = segments.get(part.symbol)
            if segment is None:
                key = Key(exchange, channel, part.symbol, hour)
                segment = segments[part.symbol] = Segment(key, part.market_id, self.position, message.timestamp_ns)
            grown += segment.append(encoded, kept, at, message.timestamp_ns)
            laid += kept
            if channel == "gap":
                self._gaps.update(
                    Key(exchange, gap.channel, part.symbol, hour) for gap in records if isinstance(gap, Gap)
                )
        self._count(exchange, channel, received, laid)
        return grown

    def gaps(self, segment: Segment) -> int:
        """Gap records about a segment that was closed; told once."""
        return segment.rows if segment.key.channel == "gap" else self._gaps.pop(segment.key, 0)

    def remember(self, messages: Iterable[Message]) -> None:
        """What several collectors recorded before our first message: part of it may come again."""
        for message in messages:
            with contextlib.suppress(WireError):
                batch = decode(message.data)
                for part in batch.parts:
                    records = decode_records(batch.channel, part.records)
                    series = (batch.exchange, batch.channel, part.symbol)
                    self._merger.merged(series, batch.instance, bodies(part.records), records)

    def _count(self, exchange: str, channel: str, received: int, laid: int) -> None:
        counters = self._counted.get((exchange, channel))
        if counters is None:
            metrics = self._metrics
            counters = (
                metrics.received_records.labels(exchange, channel),
                metrics.discarded_records.labels(exchange, channel),
            )
            self._counted[exchange, channel] = counters
        counters[0].inc(received)
        if laid < received:
            counters[1].inc(received - laid)
