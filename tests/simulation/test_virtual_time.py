"""The simulated loop: time jumps, a killed process does nothing any more, a frozen one does it later."""

from __future__ import annotations

import asyncio

from simulation.virtual_time import Process, VirtualLoop, context_of


def test_time_jumps() -> None:
    """An hour of sleep takes no time, and ends in the order of the clock."""
    loop = VirtualLoop(lambda: 0.5, lambda: None)
    ended = []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        ended.append(loop.time())

    async def everything() -> None:
        await asyncio.gather(sleep(3600.0), sleep(1.0), loop.run_in_executor(None, lambda: ended.append(loop.time())))

    loop.run_until_complete(everything())
    loop.discard()
    assert ended == [0.5, 1.0, 3600.0]


def lived(*, kill: bool) -> list[str]:
    """What a process does that is stopped at 2.5 s: killed, or frozen until 9 s."""
    loop = VirtualLoop(lambda: 0.0, lambda: None)
    process, told = Process("test"), list[str]()

    async def live() -> None:
        try:
            for _ in range(4):
                await asyncio.sleep(1.0)
                told.append(f"{loop.time():.0f}")
        finally:
            told.append("ended")

    async def world() -> None:
        task = loop.create_task(live(), context=context_of(process))
        await asyncio.sleep(2.5)
        if kill:
            process.kill()
        else:
            process.frozen = True
        await asyncio.sleep(6.5)
        if not kill:
            loop.thaw(process)
            await task

    loop.run_until_complete(world())
    before = list(told)
    loop.discard()
    return before


def test_killed_process_ends_nothing() -> None:
    """Not even what stands in a `finally` is done."""
    assert lived(kill=True) == ["1", "2"]


def test_frozen_process_goes_on() -> None:
    """What was due meanwhile happens when it comes to itself."""
    assert lived(kill=False) == ["1", "2", "9", "10", "ended"]
