"""Collector replicas inside the test's own event loop: the collector's own `serve`, and a kill that lets nothing more out."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from contextvars import Context, ContextVar, copy_context
from typing import Any
from unittest.mock import patch
from weakref import WeakSet

from daedalus.config import Config
from daedalus.service import Service
from daedalus_collector import __main__ as collector
from daedalus_collector import ccxt_feed
from daedalus_collector.spill import Spill

STOP_SECONDS = 20.0
KILL_SECONDS = 10.0

_owner: ContextVar[Replica | None] = ContextVar("replica", default=None)


class Replica:
    """Whatever it starts, at whatever depth, runs in its context: so all of it can be found when it is killed."""

    def __init__(self, name: str, config: Config, exchange: str) -> None:
        self.name = name
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.transports: list[asyncio.BaseTransport] = []
        self.exchanges: list[Any] = []
        self.spills: list[Spill] = []
        arguments = argparse.Namespace(instance=name, exchange=exchange)
        self.service = Service("collector", config, arguments)
        context = copy_context()
        context.run(_owner.set, self)
        self.task = asyncio.get_running_loop().create_task(collector.serve(self.service), context=context)

    @property
    def stopping(self) -> bool:
        return self.service.stopping.is_set()

    async def stop(self) -> None:
        """Cleanly, as SIGTERM does. Raises what it failed with."""
        self.service.stop("test")
        async with asyncio.timeout(STOP_SECONDS):
            await self.task
        await self._end()

    async def kill(self) -> None:
        """Not a byte leaves any more, and nothing of its memory is left; its disk is. The nearest to -9 in one process."""
        for transport in self.transports:
            abort = getattr(transport, "abort", transport.close)
            abort()
        await self._end()
        for spill in self.spills:
            spill.close()  # as the end of a process lets go of its locks

    async def _end(self) -> None:
        """Tasks that outlive a cancelled one start no new ones for ever."""
        async with asyncio.timeout(KILL_SECONDS):
            while alive := [task for task in self.tasks if not task.done()]:
                for task in alive:
                    task.cancel()
                await asyncio.wait(alive, timeout=0.2)
            for exchange in self.exchanges:
                await exchange.close()


class _OwnedSpill(Spill):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        if (owner := _owner.get()) is not None:
            owner.spills.append(self)


@contextlib.contextmanager
def in_process() -> Iterator[None]:
    """Replicas can be made for as long as this lasts."""
    loop: Any = asyncio.get_running_loop()
    connect, make_exchange = loop.create_connection, ccxt_feed.make_exchange

    def task_factory(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, context=context)
        owner = _owner.get() if context is None else context.get(_owner)
        if owner is not None:
            owner.tasks.add(task)
        return task

    async def create_connection(*arguments: Any, **more: Any) -> Any:
        transport, protocol = await connect(*arguments, **more)
        if (owner := _owner.get()) is not None:
            owner.transports.append(transport)
        return transport, protocol

    def unlimited_exchange(*arguments: Any, **more: Any) -> Any:
        exchange = make_exchange(*arguments, **more)
        exchange.enableRateLimit = False  # Kraken's one request a second
        if (owner := _owner.get()) is not None:
            owner.exchanges.append(exchange)
        return exchange

    loop.set_task_factory(task_factory)
    loop.create_connection = create_connection
    try:
        with (
            patch.object(ccxt_feed, "make_exchange", unlimited_exchange),
            patch.object(collector, "Spill", _OwnedSpill),
        ):
            yield
    finally:
        loop.set_task_factory(None)
        del loop.create_connection
