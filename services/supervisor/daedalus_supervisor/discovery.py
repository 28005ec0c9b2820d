"""Who is there: NATS' services discovery. Every Daedalus process answers `$SRV.STATS` with its status as data.

Anyone who may connect to NATS may answer: an answer is believed only as far as it can be read, and what is kept is
bounded.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from daedalus.errors import TransientError
from daedalus_supervisor.metrics import Metrics
from daedalus_supervisor.samples import Samples

PREFIX = "daedalus-"
REQUEST = "$SRV.STATS"
FORGET_SECONDS = 3600.0
"""How long one that stopped answering is shown as missing."""
MISSING_AFTER = 2
"""Unanswered questions: one answer may come late, or be lost with a connection."""
MAX_SERVICES = 500
MAX_PENDING_ANSWERS = 2_000

_log = structlog.get_logger()

Key = tuple[str, ...]
"""Service, instance, and a collector's exchanges: two collectors may run on one host under its name."""


class Answer(msgspec.Struct, frozen=True):
    """What a process says of itself: `Service.status()`."""

    service: str
    instance: str
    version: str = ""
    ready: bool = False
    problems: dict[str, str] = {}
    uptime_seconds: float = 0.0
    metrics: dict[str, float] = {}


class Seen(msgspec.Struct, frozen=True):
    """A process that answered once, or more often. Times are seconds of one monotonic clock."""

    answer: Answer
    samples: Samples
    exchanges: tuple[str, ...]
    """What a collector records, as far as it has counted anything yet."""
    first_seen: float
    last_seen: float
    missed: int = 0
    """Questions since then that it did not answer."""
    successor: bool = False
    """It took the place of one that went missing."""

    @property
    def missing(self) -> bool:
        return self.missed >= MISSING_AFTER

    @property
    def key(self) -> Key:
        return self.answer.service, self.answer.instance, *self.exchanges

    @property
    def role(self) -> tuple[str, ...]:
        """What it does, whoever does it."""
        return self.answer.service, *self.exchanges


def read_answer(message: bytes) -> tuple[str, Answer] | None:
    """The id of a Daedalus process at NATS, and its answer; None for other services'.

    Raises ValueError (msgspec's errors are some) when it cannot be read.
    """
    document: Any = json.loads(message)  # not msgspec: nats-py writes a NaN as it comes
    envelope = msgspec.convert(document, _Envelope)
    if not envelope.name.startswith(PREFIX):
        return None
    for endpoint in envelope.endpoints:
        if endpoint.data is not None:
            answer = msgspec.convert(endpoint.data, Answer)
            if f"{PREFIX}{answer.service}" != envelope.name:
                raise ValueError(f"expected an answer of {envelope.name}, found one of {answer.service!r}")
            return envelope.id, answer
    return None


class Roster:
    """Who was seen, and when: bounded in number and in time."""

    def __init__(self) -> None:
        self._seen: dict[Key, Seen] = {}

    def note(self, answers: Iterable[Answer], now: float) -> None:
        """Take the answers to one question."""
        answered = {seen.key: seen for seen in (_seen(answer, now) for answer in answers)}
        for key, old in self._seen.items():
            if key not in answered:
                self._seen[key] = msgspec.structs.replace(old, missed=old.missed + 1)
        for key, new in answered.items():
            known = self._seen.pop(key, new)
            if known is new and len(self._seen) >= MAX_SERVICES:
                del self._seen[min(self._seen, key=lambda key: self._seen[key].last_seen)]
            self._seen[key] = msgspec.structs.replace(new, first_seen=known.first_seen, successor=known.successor)
        self._succeed()

    def _succeed(self) -> None:
        """Let a new instance take the place of one that went missing before it came: a container that was made anew has
        a new name, and its old self does not come back.
        """
        missing = [seen for seen in self._seen.values() if seen.missing]
        for old in sorted(missing, key=lambda seen: seen.last_seen):
            for key, new in self._seen.items():
                if new.first_seen > old.last_seen and not new.successor and new.role == old.role:
                    self._seen[key] = msgspec.structs.replace(new, successor=True)
                    del self._seen[old.key]
                    break

    def seen(self, now: float) -> tuple[Seen, ...]:
        """Everyone who answered within the last hour, by service and instance."""
        for key in [key for key, seen in self._seen.items() if now - seen.last_seen > FORGET_SECONDS]:
            del self._seen[key]
        return tuple(sorted(self._seen.values(), key=lambda seen: seen.key))


def _seen(answer: Answer, now: float) -> Seen:
    samples = Samples(answer.metrics)
    is_collector = answer.service == "collector"
    exchanges = samples.label_values("daedalus_collector_", "exchange") if is_collector else ()
    return Seen(answer, samples, exchanges, first_seen=now, last_seen=now)


class Discovery:
    """Asks everyone, and collects what comes within a moment."""

    def __init__(self, client: Client, metrics: Metrics) -> None:
        self._client = client
        self._metrics = metrics
        self._inbox = client.new_inbox()
        self._answers: dict[str, Answer] = {}

    async def start(self) -> None:
        await self._client.subscribe(
            self._inbox, cb=self._on_answer, pending_msgs_limit=MAX_PENDING_ANSWERS, pending_bytes_limit=64_000_000
        )

    async def ask(self, wait_seconds: float) -> list[Answer]:
        """The answers that came within `wait_seconds`, and those that came late to the question before.

        Raises TransientError when the connection is gone.
        """
        if not self._client.is_connected:
            raise TransientError("NATS is not connected")
        try:
            await self._client.publish(REQUEST, reply=self._inbox)
        except (nats.errors.Error, ConnectionError) as error:
            raise TransientError(f"NATS did not take a question: {type(error).__name__}") from error
        await asyncio.sleep(wait_seconds)
        answers, self._answers = self._answers, {}
        return list(answers.values())

    async def _on_answer(self, message: Msg) -> None:
        self._metrics.received_answers.inc()
        try:
            read = read_answer(message.data)
        except ValueError as error:
            self._metrics.discarded_answers.inc()
            _log.warning("an answer could not be read", error=str(error), error_type=type(error).__name__)
            return
        if read is None:
            return
        if len(self._answers) >= MAX_SERVICES:
            self._metrics.discarded_answers.inc()
            return
        id_, answer = read
        self._answers[id_] = answer


class _Endpoint(msgspec.Struct, frozen=True):
    data: Any = None


class _Envelope(msgspec.Struct, frozen=True):
    name: str
    id: str
    endpoints: list[_Endpoint] = []
