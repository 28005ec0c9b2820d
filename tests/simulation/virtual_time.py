"""An event loop whose time jumps to the next timer, and the processes that run on it: each can be frozen and killed.

Same seed, same order: nothing here asks the machine's clock, a thread or a socket. `run_in_executor` is a thread that
does its work in one piece at a moment of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections.abc import Callable
from typing import Any

_CLOSINGS = 20
"""A coroutine that is closed may wait again in a `finally`; none of ours does so this often."""


class Killed(BaseException):
    """Unwinds what a killed process was doing. Nothing outside the process may notice that."""


class Process:
    """What a simulated process has on the loop: its handles run, wait, or never run again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen = False
        self.turns_left: int | None = None
        """It is stopped by `on_last_turn` when so many more of its handles have run."""
        self.on_last_turn: Callable[[], None] = self.kill
        self.waiting: list[asyncio.Handle] = []
        """What came while it was frozen."""

        self.on_death: Callable[[], None] = lambda: None

    def kill(self) -> None:
        """Nothing of it runs any more. Killed again, it stays dead."""
        if not self.dead:
            self.dead = True
            self.waiting.clear()
            self.on_death()


_running: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


def running() -> Process | None:
    """The process whose code runs now; None: the world outside."""
    return _running.get()


def context_of(process: Process | None) -> contextvars.Context:
    """A context in which everything belongs to the process."""
    context = contextvars.Context()
    context.run(_running.set, process)
    return context


class _Numbered(asyncio.Task[Any]):
    """asyncio keeps tasks in sets: their order must not come from where they lie in memory."""

    def __init__(self, number: int, coro: Any, **options: Any) -> None:
        self.number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.number


class VirtualLoop(asyncio.BaseEventLoop):
    """`work_seconds` says how long the next disk work waits for its thread; `on_killed` is called when a process was
    killed in the middle of disk work, after its code was unwound.
    """

    def __init__(self, work_seconds: Callable[[], float], on_killed: Callable[[], None]) -> None:
        super().__init__()
        self._now = 0.0
        self._asked = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._work_seconds = work_seconds
        self._on_killed = on_killed
        self._tasks: list[asyncio.Task[Any]] = []
        """All of them: those of killed processes must not be collected, and so closed, at any moment."""
        self.turns = 0
        self.set_exception_handler(lambda _loop, _context: None)  # of killed processes; the world looks at the others

    def time(self) -> float:
        return self._now

    def thaw(self, process: Process) -> None:
        process.frozen = False
        self._ready.extend(process.waiting)  # type: ignore[attr-defined]  # BaseEventLoop's own queue
        process.waiting.clear()

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = _Numbered(len(self._tasks), coro, loop=self, **options)
        self._tasks.append(task)
        return task

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """A killed process closes nothing, whenever its memory is collected."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        future: asyncio.Future[Any] = self.create_future()
        self.call_later(self._work_seconds(), self._work, future, func, args)
        return future

    def _work(self, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """A thread does not hear of a cancellation: the work is done all the same."""
        try:
            result = func(*args)
        except Killed:
            self._on_killed()
        except BaseException as error:  # noqa: BLE001  # whoever waits gets it
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(result)

    def call_at(  # type: ignore[override]  # as general as it is
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """What is due at one moment happens in the order in which it was asked for."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._asked += 1
        heapq.heappush(self._timers, (when, self._asked, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It stays in its place, and is passed over."""

    def _run_once(self) -> None:
        ready, timers = self._ready, self._timers  # type: ignore[attr-defined]  # BaseEventLoop's own queue
        if not ready:
            while timers and timers[0][2]._cancelled:
                heapq.heappop(timers)
            if not timers:
                raise RuntimeError("nothing is left to happen, and somebody still waits")
            self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                self._run_handle(handle)

    def _run_handle(self, handle: asyncio.Handle) -> None:
        process = handle._context.get(_running)  # type: ignore[attr-defined]
        if process is not None:
            if process.dead:
                return
            if process.frozen:
                process.waiting.append(handle)
                return
            if process.turns_left is not None:
                process.turns_left -= 1
                if process.turns_left < 0:
                    process.turns_left = None
                    process.on_last_turn()
                    if process.frozen:
                        process.waiting.append(handle)
                    return
        self.turns += 1
        handle._run()

    def _process_events(self, event_list: Any) -> None:
        """No sockets."""

    def _write_to_self(self) -> None:
        """No other thread."""

    def discard(self) -> None:
        """End all coroutines that will never run again, quietly, and close the loop."""
        for task in [task for task in self._tasks if not task.done()]:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine = task.get_coro()
            for _ in range(_CLOSINGS):
                try:
                    coroutine.close()
                except BaseException:  # noqa: BLE001  # it waits again: close it there
                    continue
                break
        self._ready.clear()  # type: ignore[attr-defined]
        self._timers.clear()
        self.close()
