"""The right to own something, and the list of who is there: keys in a bucket whose entries expire.

A lease is created only where there is none and renewed only at its own revision, so two holders never both succeed. A
holder that cannot renew in time has to let go by itself: `held` says so without asking anyone.

Entries expire by the server's wall clock. When that one steps back, a dead holder's entry stays for as long as the step; so
whoever sees an entry unchanged for longer than a lease, by a clock of its own that never steps, takes it for dead too.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection

import nats.errors
import nats.js.errors
import structlog
from nats.js import JetStreamContext
from nats.js.kv import KeyValue

from daedalus.naming import LEASE_BUCKET

RENEWALS_PER_TTL = 4
"""Renewed this often within its life, a lease survives two lost renewals."""

_log = structlog.get_logger()


def rendezvous(members: Collection[str], item: str) -> str:
    """Who of the members an item belongs to: everyone computes the same, and a member that comes or goes moves only its
    own share (rendezvous hashing).

    Raises ValueError when there is no member.
    """
    return max(members, key=lambda member: _weight(member, item))


def ranked(members: Collection[str], item: str) -> list[str]:
    """All members, in the order in which the item falls to them; the first one is `rendezvous`'s. Who goes leaves the
    order of the others as it is.
    """
    return sorted(members, key=lambda member: _weight(member, item), reverse=True)


def _weight(member: str, item: str) -> bytes:
    return hashlib.blake2b(f"{member}\0{item}".encode(), digest_size=8).digest()


class Unchanged:
    """How long entries have been at one revision: a holder that lives changes it with each renewal. Pure."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit = limit_seconds
        self._since: dict[str, tuple[int, float]] = {}

    def too_long(self, key: str, revision: int, now: float) -> bool:
        """Note what was seen at a moment, which must not lie before the answer. True: it was the same already longer than
        the limit ago.
        """
        seen, since = self._since.get(key, (0, now))
        if seen != revision:
            self._since[key] = (revision, now)
            return False
        return now - since > self._limit

    def keep(self, keys: Collection[str]) -> None:
        """Forget all others."""
        self._since = {key: seen for key, seen in self._since.items() if key in keys}


class Lease:
    """One key. Not held until `acquire` returns True; lost when it was not renewed within its TTL."""

    def __init__(self, js: JetStreamContext, bucket: KeyValue, key: str, holder: str, ttl_seconds: float) -> None:
        self._js = js
        self._bucket = bucket
        self.key = key
        self._holder = holder.encode()
        self._ttl = ttl_seconds
        self._revision = 0
        self._until = 0.0
        self._others = Unchanged(ttl_seconds)

    @classmethod
    async def of(cls, js: JetStreamContext, key: str, holder: str, ttl_seconds: float) -> Lease:
        """`holder` names the replica; a replica that is started again under its name takes up its own lease."""
        return cls(js, await js.key_value(LEASE_BUCKET), key, holder, ttl_seconds)

    @property
    def held(self) -> bool:
        return time.monotonic() < self._until

    async def acquire(self) -> bool:
        """Take the lease if nobody has it, or its holder has not renewed it for its whole life; or renew our own. False:
        somebody else has it, or NATS does not answer.
        """
        asked = time.monotonic()
        try:
            self._revision = await self._taken()
        except nats.js.errors.KeyWrongLastSequenceError:
            self._revision, self._until = 0, 0.0
            return False
        except (nats.errors.Error, nats.js.errors.Error) as error:
            _log.warning("lease was not renewed", key=self.key, error_type=type(error).__name__)
            return self.held
        self._until = asked + self._ttl
        return True

    async def release(self) -> None:
        """Let go at once, so that the next one need not wait for the expiry."""
        held, self._revision, self._until = self.held, 0, 0.0
        if not held:
            return  # it may be another's by now
        try:
            await self._js.purge_stream(f"KV_{LEASE_BUCKET}", subject=f"$KV.{LEASE_BUCKET}.{self.key}")
        except (nats.errors.Error, nats.js.errors.Error) as error:
            _log.debug("lease was left to expire", key=self.key, error_type=type(error).__name__)

    async def _taken(self) -> int:
        """The new revision. A renewal whose answer was lost, and a process that came back under the same name, find
        their own name in the entry and go on from there.
        """
        try:
            if self._revision:
                return await self._bucket.update(self.key, self._holder, last=self._revision)
            return await self._bucket.create(self.key, self._holder)
        except nats.js.errors.KeyWrongLastSequenceError:
            try:
                present = await self._bucket.get(self.key)
            except nats.js.errors.KeyNotFoundError:
                return await self._bucket.create(self.key, self._holder)
            revision = present.revision or 0
            if present.value != self._holder:
                if not self._others.too_long(self.key, revision, time.monotonic()):
                    raise
                holder = (present.value or b"").decode(errors="replace")
                _log.warning("lease of a silent holder was taken over", key=self.key, holder=holder)
            return await self._bucket.update(self.key, self._holder, last=revision)


class Members:
    """The live keys below a prefix, each the lease of one replica."""

    def __init__(self, js: JetStreamContext, prefix: str, ttl_seconds: float) -> None:
        self._js = js
        self._subject = f"$KV.{LEASE_BUCKET}.{prefix}."
        self._entries = Unchanged(ttl_seconds)

    async def live(self) -> list[str]:
        """Their last tokens, sorted. Raises nats' errors when JetStream does not answer."""
        stream = f"KV_{LEASE_BUCKET}"
        info = await self._js.stream_info(stream, subjects_filter=f"{self._subject}>")
        present = info.state.subjects or {}
        found = []
        for subject in present:
            try:
                entry = await self._js.get_last_msg(stream, subject)
            except nats.js.errors.NotFoundError:
                continue  # it has just expired
            if not self._entries.too_long(subject, entry.seq or 0, time.monotonic()):
                found.append(subject.removeprefix(self._subject))
        self._entries.keep(present)
        return sorted(found)
