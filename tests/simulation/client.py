"""A NATS client without a socket: what the writer uses of `nats.aio.client.Client` and its JetStream, and no more.

The key-value bucket is nats-py's own code on top of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar, cast

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import APIError, NoStreamResponseError, ServiceUnavailableError
from nats.js.kv import KeyValue

from simulation.jetstream import Pull, Server, Stored, error_content, matches
from simulation.network import Connection
from simulation.virtual_time import running

T = TypeVar("T")

_EPOCH = datetime.fromtimestamp(0, UTC)
_TIMEOUT_SECONDS = 5.0
_API = "$JS.API."


class Delivered(NamedTuple):
    """What the writer looks at of a message."""

    reply: str
    headers: dict[str, str]
    data: bytes


class Subscription:
    def __init__(self, client: SimulatedClient, inbox: str) -> None:
        self._client = client
        self._inbox = inbox

    async def unsubscribe(self) -> None:
        self._client.callbacks.pop(self._inbox, None)


class SimulatedClient:
    """Belongs to the process that makes it; when that one is dead, it does nothing any more."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.callbacks: dict[str, Callable[[Delivered], Awaitable[None]]] = {}
        self._process = running()
        self._inboxes = 0
        self._js = SimulatedJetStream(self)

    @property
    def server(self) -> Server:
        return self.connection.network.server

    @property
    def is_connected(self) -> bool:
        return self.connection.connected

    @property
    def is_closed(self) -> bool:
        return self._process is not None and self._process.dead

    @property
    def stats(self) -> dict[str, int]:
        return {"reconnects": self.connection.reconnects}

    def jetstream(self) -> JetStreamContext:
        return cast("JetStreamContext", self._js)

    def new_inbox(self) -> str:
        self._inboxes += 1
        return f"_INBOX.{self._inboxes}"

    async def subscribe(self, inbox: str, cb: Callable[[Delivered], Awaitable[None]], **_limits: int) -> Subscription:
        self.callbacks[inbox] = cb
        return Subscription(self, inbox)

    async def publish(self, subject: str, payload: bytes = b"", reply: str = "") -> None:
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        name, _, rest = subject.removeprefix(_API).partition(".MD")
        consumer = rest.rpartition(".")[2]
        if name == "CONSUMER.MSG.NEXT":
            self.connection.network.send(self.connection, lambda: self._pull(consumer, json.loads(payload), reply))
        elif name == "CONSUMER.DELETE":
            self.connection.network.send(self.connection, lambda: self.server.forget(consumer))
        else:
            raise NotImplementedError(subject)

    async def request(self, subject: str, payload: bytes, timeout: float) -> SimpleNamespace:
        name, _, stream = subject.removeprefix(_API).rpartition(".")
        body = json.loads(payload)
        try:
            if name == "CONSUMER.CREATE":
                answer = await self.call(lambda: self._create(stream, body["config"]), timeout)
            elif name == "STREAM.MSG.GET":
                answer = await self.call(lambda: self._since(stream, body["start_time"]), timeout)
            else:
                raise NotImplementedError(subject)
        except APIError as error:
            answer = {"error": error_content(error)}
        return SimpleNamespace(data=json.dumps(answer).encode())

    async def call(self, operation: Callable[[], T], timeout: float = _TIMEOUT_SECONDS) -> T:
        """Have the server do something. Raises what it says, TimeoutError, ConnectionClosedError."""
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        loop = self.connection.network.loop
        answer: asyncio.Future[T] = loop.create_future()
        self.connection.network.send(self.connection, operation, answer)
        expiry = loop.call_later(timeout, _expire, answer)
        try:
            return await answer
        finally:
            expiry.cancel()

    # --- at the server

    def _create(self, stream: str, config: dict[str, Any]) -> dict[str, Any]:
        found = self.server.stream(stream)
        policy, start = config["deliver_policy"], 1
        if policy == "by_start_sequence":
            start = config["opt_start_seq"]
        elif policy == "by_start_time":
            first = self.server.first_since(stream, _nanoseconds(config["opt_start_time"]))
            start = first.sequence if first else found.last + 1
        consumer = self.server.consumer(stream, start, self.connection)
        return {"name": consumer.name, "num_pending": consumer.pending()}

    def _since(self, stream: str, start_time: str) -> dict[str, Any]:
        found = self.server.first_since(stream, _nanoseconds(start_time))
        return {"message": {"seq": found.sequence}} if found else {"error": {"code": 404}}

    def _pull(self, name: str, request: dict[str, Any], reply: str) -> None:
        consumer = self.server.found(name)
        if consumer is None:
            return self._deliver(reply, "", {"Status": "503"}, b"")
        nothing = consumer.pending() == 0
        pull = Pull(request["batch"], reply, self._deliver)
        consumer.pulls.append(pull)
        consumer.pump()
        if pull in consumer.pulls:  # no_wait: what is there, and if that is less, nobody says so
            consumer.pulls.remove(pull)
        if nothing:
            self._deliver(reply, "", {"Status": "404"}, b"")
        return None

    def _deliver(self, inbox: str, reply: str, headers: dict[str, str], data: bytes) -> None:
        network, times = self.connection.network, 1
        mangled = network.weather.mangled_deliveries
        if mangled and network.random.random() < mangled:
            times = network.random.choice((0, 2))
        for _ in range(times):
            network.deliver(self.connection, lambda: self._hand_over(inbox, Delivered(reply, headers, data)))

    # --- at the client

    def _hand_over(self, inbox: str, message: Delivered) -> None:
        callback = self.callbacks.get(inbox)
        if callback is not None:
            try:
                callback(message).__await__().send(None)  # a coroutine that never waits
            except StopIteration:
                return
            raise RuntimeError("expected a callback that does not wait")


class SimulatedJetStream:
    def __init__(self, client: SimulatedClient) -> None:
        self._client = client

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float | None = None,
        headers: dict[str, str] | None = None,
        **_more: object,
    ) -> SimpleNamespace:
        server = self._client.server
        try:
            stream, sequence, duplicate = await self._client.call(
                lambda: server.publish(subject, payload, headers or {}), timeout or _TIMEOUT_SECONDS
            )
        except ServiceUnavailableError:
            raise NoStreamResponseError from None
        return SimpleNamespace(stream=stream, seq=sequence, duplicate=duplicate)

    async def get_msg(
        self, stream: str, seq: int | None = None, subject: str | None = None, **_direct: bool
    ) -> SimpleNamespace:
        return await self._client.call(lambda: _raw(self._client.server.message(stream, seq, subject)))

    async def get_last_msg(self, stream: str, subject: str) -> SimpleNamespace:
        return await self.get_msg(stream, subject=subject)

    async def stream_info(self, name: str, subjects_filter: str | None = None) -> SimpleNamespace:
        return await self._client.call(lambda: _info(self._client.server, name, subjects_filter))

    async def purge_stream(self, name: str, seq: int | None = None, subject: str = ">") -> bool:
        await self._client.call(lambda: self._client.server.stream(name).purge(seq, subject))
        return True

    async def key_value(self, bucket: str) -> KeyValue:
        await self.stream_info(f"KV_{bucket}")
        return KeyValue(bucket, f"KV_{bucket}", f"$KV.{bucket}.", cast("JetStreamContext", self), True)

    async def subscribe(self, subject: str, stream: str, config: Any, **_ordered: bool) -> OrderedSubscription:
        await self._client.call(lambda: self._client.server.stream(stream))
        return OrderedSubscription(self._client, stream, subject, config.opt_start_seq)


class OrderedSubscription:
    """An ordered consumer: it ends with the server that had it."""

    def __init__(self, client: SimulatedClient, stream: str, subject: str, start: int) -> None:
        self._client = client
        self._stream = stream
        self._subject = subject
        self._next = start
        self._epoch = client.connection.epoch

    async def next_msg(self, timeout: float) -> SimpleNamespace:
        """Raises TimeoutError."""
        server = self._client.server
        if self._epoch != self._client.connection.epoch:
            await asyncio.sleep(timeout)
            raise nats.errors.TimeoutError
        try:
            stored = await self._client.call(
                lambda: server.message(self._stream, self._next, self._subject, following=True)
            )
        except APIError:
            await asyncio.sleep(timeout)
            raise nats.errors.TimeoutError from None
        self._next = stored.sequence + 1
        sequence = SimpleNamespace(stream=stored.sequence)
        return SimpleNamespace(data=stored.data, metadata=SimpleNamespace(sequence=sequence))

    async def unsubscribe(self) -> None:
        """Nothing is kept for it."""


def as_client(client: SimulatedClient) -> Client:
    return cast("Client", client)


def _expire(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(nats.errors.TimeoutError())


def _raw(stored: Stored) -> SimpleNamespace:
    time = _EPOCH + timedelta(microseconds=stored.timestamp_ns // 1000)
    return SimpleNamespace(seq=stored.sequence, subject=stored.subject, data=stored.data, time=time, headers=None)


def _info(server: Server, name: str, subjects_filter: str | None) -> SimpleNamespace:
    stream = server.stream(name)
    subjects = None
    if subjects_filter is not None:
        found = [one.subject for one in stream.messages.values() if matches(subjects_filter, one.subject)]
        subjects = dict.fromkeys(found, 1)
    state = SimpleNamespace(
        messages=len(stream.messages), bytes=0, first_seq=stream.first, last_seq=stream.last, subjects=subjects
    )
    created = _EPOCH + timedelta(microseconds=stream.created_ns // 1000)
    return SimpleNamespace(created=created, state=state, config=SimpleNamespace(max_bytes=1 << 30))


def _nanoseconds(moment: str) -> int:
    """Of the form that `daedalus_writer.recovery.iso` makes."""
    seconds, _, fraction = moment.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(seconds).replace(tzinfo=UTC).timestamp()) * 10**9 + int(fraction)
