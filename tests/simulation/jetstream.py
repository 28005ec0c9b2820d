"""JetStream in memory, as far as the writer uses it: what a server answers, without network and without time.

Sequences, message ids, expected last sequences, purges, expiry, ephemeral pull consumers; and what a power cut leaves of
a stream that was not synced. `test_contract.py` asks the same of this and of the real server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from nats.js.errors import APIError, BadRequestError, NotFoundError

_WRONG_LAST_SEQUENCE = 10071
_NO_MESSAGE_FOUND = 10037
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"


class Stored(NamedTuple):
    sequence: int
    subject: str
    data: bytes
    message_id: str | None
    timestamp_ns: int
    """The server's wall clock."""
    stored_at: float
    """On the clock that never steps."""


@lru_cache(maxsize=4096)
def matches(pattern: str, subject: str) -> bool:
    wanted, found = pattern.split("."), subject.split(".")
    for place, token in enumerate(wanted):
        if token == ">":
            return len(found) > place
        if place >= len(found) or token not in ("*", found[place]):
            return False
    return len(wanted) == len(found)


class Stream:
    def __init__(self, name: str, subjects: str, created_ns: int, *, last_only: bool = False, ttl_ns: int = 0) -> None:
        self.name = name
        self.subjects = subjects
        self.created_ns = created_ns
        self._last_only = last_only
        self._ttl_ns = ttl_ns
        self.messages: dict[int, Stored] = {}
        """By sequence, in order."""
        self.first = 1
        self.last = 0
        self._ids: dict[str, int] = {}

    def store(self, subject: str, data: bytes, message_id: str | None, timestamp_ns: int, now: float) -> Stored:
        self.last += 1
        if self._last_only:
            for one in [one.sequence for one in self.messages.values() if one.subject == subject]:
                del self.messages[one]
        stored = self.messages[self.last] = Stored(self.last, subject, data, message_id, timestamp_ns, now)
        self.first = next(iter(self.messages))
        if message_id is not None:
            self._ids[message_id] = self.last
        return stored

    def duplicate(self, message_id: str | None) -> int | None:
        """The sequence under which this message is stored already. The window is longer than any simulation."""
        return self._ids.get(message_id) if message_id is not None else None

    def last_of(self, pattern: str) -> Stored | None:
        return next((one for one in reversed(self.messages.values()) if matches(pattern, one.subject)), None)

    def following(self, sequence: int, pattern: str = ">") -> Stored | None:
        """The first message from a sequence on."""
        return next(
            (one for one in self.messages.values() if one.sequence >= sequence and matches(pattern, one.subject)), None
        )

    def purge(self, before: int | None = None, subject: str = ">") -> None:
        gone = [
            one.sequence
            for one in self.messages.values()
            if matches(subject, one.subject) and (before is None or one.sequence < before)
        ]
        for sequence in gone:
            del self.messages[sequence]
        self.last = max(self.last, (before or 0) - 1)
        self.first = next(iter(self.messages), self.last + 1)

    def expire(self, now_ns: int) -> None:
        if self._ttl_ns:
            for one in [one for one in self.messages.values() if one.timestamp_ns + self._ttl_ns <= now_ns]:
                del self.messages[one.sequence]
            self.first = next(iter(self.messages), self.last + 1)

    def roll_back(self, last: int) -> list[Stored]:
        """As after a power cut: nothing behind this sequence was on the disk. Returns what is lost."""
        lost = [one for one in self.messages.values() if one.sequence > last]
        for one in lost:
            del self.messages[one.sequence]
        self.last = min(self.last, last)
        self.first = min(self.first, self.last + 1)
        for one in lost:
            self._ids.pop(one.message_id or "", None)  # what was trimmed is known: the writer keeps it for the window
        return lost


class Pull:
    """An open request of a consumer for messages."""

    def __init__(self, wanted: int, reply: str, deliver: Callable[[str, str, dict[str, str], bytes], None]) -> None:
        self.wanted = wanted
        self.reply = reply
        self.deliver = deliver


class Consumer:
    """Ephemeral, in memory, without acks."""

    def __init__(self, name: str, stream: Stream, start: int, owner: object) -> None:
        self.name = name
        self.owner = owner
        self.stream = stream
        self.next = start
        self._delivered = 0
        self.pulls: list[Pull] = []

    def pump(self) -> None:
        while self.pulls and (message := self.stream.following(self.next)) is not None:
            pull = self.pulls[0]
            self.next = message.sequence + 1
            self._delivered += 1
            ack = (
                f"$JS.ACK.{self.stream.name}.{self.name}.1.{message.sequence}.{self._delivered}."
                f"{message.timestamp_ns}.{self.pending()}"
            )
            pull.wanted -= 1
            if pull.wanted == 0:
                self.pulls.pop(0)
            pull.deliver(pull.reply, ack, {}, message.data)

    def pending(self) -> int:
        return sum(1 for sequence in self.stream.messages if sequence >= self.next)


class Server:
    """One server: its streams outlive a crash, its consumers do not. `now_ns` is its wall clock, `now` never steps."""

    def __init__(self, now_ns: Callable[[], int], now: Callable[[], float]) -> None:
        self._now_ns = now_ns
        self._now = now
        self._streams: dict[str, Stream] = {}
        self._consumers: dict[str, Consumer] = {}
        self._made = 0

    def add(self, name: str, subjects: str, *, last_only: bool = False, ttl_ns: int = 0) -> Stream:
        stream = self._streams[name] = Stream(name, subjects, self._now_ns(), last_only=last_only, ttl_ns=ttl_ns)
        return stream

    def streams(self) -> Iterator[Stream]:
        yield from self._streams.values()

    def stream(self, name: str) -> Stream:
        """Raises NotFoundError."""
        found = self._streams.get(name)
        if found is None:
            raise NotFoundError(code=404, err_code=10059, description="stream not found")
        found.expire(self._now_ns())
        return found

    def publish(self, subject: str, data: bytes, headers: dict[str, str]) -> tuple[str, int, bool]:
        """Store a message; returns its stream, its sequence, and whether it was there already. Raises APIError."""
        stream = next(one for one in self._streams.values() if matches(one.subjects, subject))
        stream.expire(self._now_ns())
        message_id = headers.get("Nats-Msg-Id")
        there = stream.duplicate(message_id)
        if there is not None:
            return stream.name, there, True
        expected = headers.get(_EXPECTED)
        if expected is not None:
            last = stream.last_of(headers.get(f"{_EXPECTED}-Subject", subject))
            found = last.sequence if last else 0
            if int(expected) != found:
                raise BadRequestError(
                    code=400, err_code=_WRONG_LAST_SEQUENCE, description=f"wrong last sequence: {found}"
                )
        stored = stream.store(subject, data, message_id, self._now_ns(), self._now())
        for consumer in self._consumers.values():
            if consumer.stream is stream:
                consumer.pump()
        return stream.name, stored.sequence, False

    def message(self, name: str, sequence: int | None, subject: str | None, *, following: bool = False) -> Stored:
        """By sequence, the last one of a subject, or the first one of a subject from a sequence on.

        Raises NotFoundError.
        """
        stream = self.stream(name)
        if following:
            found = stream.following(sequence or 1, subject or ">")
        elif subject is not None:
            found = stream.last_of(subject)
        else:
            found = stream.messages.get(sequence or 0)
        if found is None:
            raise NotFoundError(code=404, err_code=_NO_MESSAGE_FOUND, description="no message found")
        return found

    def first_since(self, name: str, timestamp_ns: int) -> Stored | None:
        return next((one for one in self.stream(name).messages.values() if one.timestamp_ns >= timestamp_ns), None)

    def consumer(self, name: str, start: int, owner: object = None) -> Consumer:
        """`owner` is whose connection it is."""
        self._made += 1
        made = self._consumers[f"c{self._made}"] = Consumer(f"c{self._made}", self.stream(name), start, owner)
        return made

    def consumers(self, name: str) -> list[Consumer]:
        """Of a stream."""
        return [one for one in self._consumers.values() if one.stream.name == name]

    def found(self, consumer: str) -> Consumer | None:
        return self._consumers.get(consumer)

    def forget(self, consumer: str) -> None:
        self._consumers.pop(consumer, None)

    def crash(self) -> None:
        self._consumers.clear()


def error_content(error: APIError) -> dict[str, Any]:
    return {"code": error.code, "err_code": error.err_code, "description": error.description}
