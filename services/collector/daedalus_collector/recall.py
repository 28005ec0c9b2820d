"""What was recorded of a pair before: by an earlier run, or by another replica. Reads the streams."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec
from nats.js import JetStreamContext

from daedalus.config import Nats
from daedalus.naming import CHECKPOINT_BUCKET, batch_subject, shard_of, symbol_token
from daedalus.records import Trade
from daedalus_collector.feed import RAW, Pair
from daedalus_collector.stored import Tail, tail


class Past(msgspec.Struct, frozen=True):
    until_ns: int | None
    """Complete until then; None: it was never recorded."""
    trades: list[Trade] = []
    """The last ones, oldest first."""


class Recall:
    """Of one exchange. `instance` and `boot` are this run's; `spilled`: what an earlier one left on disk, by subject."""

    def __init__(
        self,
        js: JetStreamContext,
        config: Nats,
        exchange: str,
        instance: str,
        boot: str,
        spilled: Callable[[], Mapping[str, Tail]] = dict,
    ) -> None:
        self._js = js
        self._config = config
        self._exchange = exchange
        self._boot = boot
        self._spilled = spilled
        self._instance = instance
        self._run = f"{instance}.{boot}"

    async def past(self, pairs: Iterable[Pair], others: Collection[str], *, own: bool = True) -> dict[Pair, Past]:
        """`others`: the replicas that live. `own`: whether this run's records count. Raises nats' errors."""
        known = await self._known()
        tails: dict[str, Tail | None] = {}
        spilled = self._spilled()  # before the streams are read: what is published meanwhile is seen twice, not missed
        found = {}
        for pair in pairs:
            shard, subject = self._subject(pair)
            if subject not in tails:
                tails[subject] = await self._tail(shard, subject, spilled, "" if own else self._boot)
            end = tails[subject]
            if end is None:
                found[pair] = Past(None)
                continue
            until_ns = end.complete_until_ns(pair.symbol, others, self._run)
            if until_ns is None and _key(self._exchange, pair) in known:
                until_ns = end.oldest_ns if others else end.last_received_ns
            found[pair] = Past(until_ns, end.trades.get(pair.symbol, []))
        return found

    async def frames_until_ns(self, others: Collection[str]) -> int | None:
        """When an earlier run recorded its last frame: one of this instance or, where nobody else lives, of any. Replicas
        do not share frames out: each has those of its own connections. Raises nats' errors.
        """
        found = await self._tail(*self._subject(RAW), self._spilled(), self._boot)
        runs = found.runs if found is not None else {}
        own = (ns for run, ns in runs.items() if not others or run.rpartition(".")[0] == self._instance)
        return max(own, default=None)

    def _subject(self, pair: Pair) -> tuple[int, str]:
        shard = shard_of(self._exchange, pair.symbol, self._config.shards)
        symbol = pair.symbol if self._config.subject_by_symbol else None
        return shard, batch_subject(shard, self._exchange, pair.channel, symbol)

    async def _tail(self, shard: int, subject: str, spilled: Mapping[str, Tail], without: str) -> Tail | None:
        stored = await tail(self._js, shard, subject, without)
        if (later := spilled.get(subject)) is not None:
            stored = stored or Tail()
            stored.note_later(later)
        return stored

    async def note(self, pairs: Iterable[Pair]) -> None:
        """Remember that these are recorded: a market that was quiet until a crash has no record that would say so."""
        known = await self._known()
        bucket = await self._js.key_value(CHECKPOINT_BUCKET)
        for pair in pairs:
            if (key := _key(self._exchange, pair)) not in known:
                await bucket.put(key, b"")

    async def _known(self) -> set[str]:
        subject = f"$KV.{CHECKPOINT_BUCKET}."
        info = await self._js.stream_info(
            f"KV_{CHECKPOINT_BUCKET}", subjects_filter=f"{subject}recorded.{self._exchange}.>"
        )
        return {found.removeprefix(subject) for found in info.state.subjects or {}}


def _key(exchange: str, pair: Pair) -> str:
    return f"recorded.{exchange}.{pair.channel}.{symbol_token(pair.symbol)}"
