"""What lies between a process and the server: delays, lost answers, lost connections, a server that is away.

A connection keeps the order of what travels on it, as TCP does. What was on its way when it broke is lost; what is sent
meanwhile is kept and sent first when it is back, as nats-py does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import nats.js.errors

from simulation.jetstream import Server
from simulation.virtual_time import Process, context_of

_OUTSIDE = context_of(None)


class Weather:
    """How bad it is at the moment; `clear` ends it."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.delay_seconds = 0.003
        self.lost_answers = 0.0
        """Probability."""
        self.unavailable = 0.0
        """Of an answer that JetStream is not there, whether or not it did what was asked."""
        self.mangled_deliveries = 0.0
        """Of a message to a consumer that is dropped or comes twice."""


class Connection:
    """One client's. `process` is whose code gets the answers."""

    def __init__(self, network: Network, process: Process | None) -> None:
        self.network = network
        self.context = context_of(process)
        self.connected = True
        self.reconnects = 0
        self.epoch = 0
        self.waiting: list[tuple[Callable[[], Any], asyncio.Future[Any] | None]] = []
        self.arrives = 0.0
        self.answers = 0.0


class Network:
    def __init__(self, loop: asyncio.AbstractEventLoop, random: Random, server: Server) -> None:
        self.loop = loop
        self.random = random
        self.server = server
        self.server_up = True
        self.weather = Weather()
        self._connections: list[Connection] = []

    def connect(self, process: Process | None) -> Connection:
        connection = Connection(self, process)
        self._connections.append(connection)
        if not self.server_up:
            self.break_off(connection, 0.3)
        return connection

    def send(
        self, connection: Connection, operation: Callable[[], Any], answer: asyncio.Future[Any] | None = None
    ) -> None:
        """Have the server do something; what it says, or raises, becomes the future's."""
        if not connection.connected:
            connection.waiting.append((operation, answer))
            return
        connection.arrives = max(connection.arrives, self.loop.time() + self._delay())
        self.loop.call_at(
            connection.arrives, self._arrive, connection, connection.epoch, operation, answer, context=_OUTSIDE
        )

    def deliver(self, connection: Connection, hand_over: Callable[[], None]) -> None:
        """Have something happen at the client."""
        connection.answers = max(connection.answers, self.loop.time() + self._delay())
        self.loop.call_at(
            connection.answers, self._hand_over, connection, connection.epoch, hand_over, context=connection.context
        )

    def break_off(self, connection: Connection, seconds: float) -> None:
        """The client is without its connection for so long, and longer while the server is away."""
        connection.connected = False
        connection.epoch += 1
        self.loop.call_later(seconds, self._reconnect, connection, context=_OUTSIDE)

    def crash_server(self, seconds: float) -> None:
        """`kill -9`, and a start: what is stored stays, consumers and connections do not."""
        if not self.server_up:
            return
        self.server_up = False
        self.server.crash()
        for connection in self._connections:
            self.break_off(connection, seconds + self.random.uniform(0.01, 0.5))
        self.loop.call_later(seconds, self._start_server, context=_OUTSIDE)

    def _start_server(self) -> None:
        self.server_up = True

    def _reconnect(self, connection: Connection) -> None:
        if connection.connected:
            return
        if not self.server_up:
            self.loop.call_later(0.3, self._reconnect, connection, context=_OUTSIDE)
            return
        connection.connected = True
        connection.reconnects += 1
        waiting, connection.waiting = connection.waiting, []
        for operation, answer in waiting:
            self.send(connection, operation, answer)

    def _arrive(
        self, connection: Connection, epoch: int, operation: Callable[[], Any], answer: asyncio.Future[Any] | None
    ) -> None:
        if not self.server_up or epoch != connection.epoch:
            return
        weather = self.weather
        unavailable = bool(weather.unavailable) and self.random.random() < weather.unavailable
        if unavailable and self.random.random() < 0.5:
            result: Any = nats.js.errors.ServiceUnavailableError(code=503, err_code=10008)
        else:
            try:
                result = operation()
            except nats.js.errors.APIError as error:
                result = error
            if unavailable:
                result = nats.js.errors.ServiceUnavailableError(code=503, err_code=10008)
        if answer is None or (weather.lost_answers and self.random.random() < weather.lost_answers):
            return
        self.deliver(connection, lambda: _settle(answer, result))

    def _hand_over(self, connection: Connection, epoch: int, hand_over: Callable[[], None]) -> None:
        if epoch == connection.epoch:
            hand_over()

    def _delay(self) -> float:
        return self.random.random() * self.weather.delay_seconds


def _settle(answer: asyncio.Future[Any], result: Any) -> None:
    if answer.done():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
