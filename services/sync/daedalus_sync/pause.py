"""Waiting that ends with the process: every loop of sync waits through here, so that a stop is prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from daedalus.errors import TransientError

T = TypeVar("T")


class StoppingError(TransientError):
    """The process stops: leave what is not done; the next start does it."""


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Sleep. Raises StoppingError as soon as the stop is asked for."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return
    raise StoppingError("the process stops")


async def unless_stopping(stopping: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The work's result. Cancels it and raises StoppingError when the stop comes first."""
    working, stop = asyncio.ensure_future(work), asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({working, stop}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise StoppingError("the process stops")
    finally:
        stop.cancel()
        working.cancel()
