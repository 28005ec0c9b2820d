"""Closed segments on their way into ready/."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry

from daedalus_writer import commit_queue
from daedalus_writer.commit_queue import CommitQueue
from daedalus_writer.layout import Key
from daedalus_writer.metrics import Metrics
from daedalus_writer.recovery import Recovered
from daedalus_writer.segment import START, Position, Segment

T = TypeVar("T")


class Stage:
    """Everything around the queue. Disk work is done when `let` says so."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.folder = self.ready = Path("nowhere")
        self.rows = 0
        self._waiting: list[tuple[asyncio.Event, str]] = []

    async def run(self, work: Callable[[], T]) -> T:
        """As a room: files are written in the order that `let` asks for; all else is done at once."""
        result = work()
        if isinstance(result, SimpleNamespace):
            done = asyncio.Event()
            self._waiting.append((done, result.path))
            await done.wait()
            self.told.append(f"sealed {result.path}")
        return result

    async def let(self, *names: str) -> None:
        for name in names:
            await settled()
            next(done for done, path in self._waiting if path == name).set()
        await settled()

    def being_sealed(self) -> list[str]:
        return [path for done, path in self._waiting if not done.is_set()]

    def place(self, segment: Segment) -> Path:
        return Path(segment.market_id)

    def seal(self, segment: Segment, _spool: object, gaps: int) -> Any:
        return SimpleNamespace(
            path=segment.market_id, gaps=gaps, exchange="kraken", channel="trade", rows=1, size_bytes=1
        )

    async def append(self, entry: Any) -> int:
        self.told.append(f"entry {entry.path}")
        return len(self.told)

    def of(self, _hour: int) -> None:
        return None

    def publish(self, entry: Any, _room: Path, _ready: Path) -> None:
        self.told.append(f"published {entry.path}")


async def settled() -> None:
    """Until nobody has anything left to do."""
    for _ in range(20):
        await asyncio.sleep(0)


def closed(name: str) -> Segment:
    segment = Segment(Key("kraken", "trade", "BTC/USD", 1), name, START, 0)
    segment.last = Position(int(name), 0)
    return segment


async def test_entries_keep_the_order_of_closing(monkeypatch: Any) -> None:
    """A file that is written before those closed earlier waits for their entries; four at the most are under way; and
    each segment is waited for until it is in ready/."""
    stage: Any = Stage()
    monkeypatch.setattr(commit_queue, "publish_file", stage.publish)
    recovered = Recovered("epoch", START)
    metrics = Metrics(CollectorRegistry())
    queue = CommitQueue(stage, stage, stage, stage, stage, recovered, metrics, 100)
    segments = [closed(str(number)) for number in range(6)]
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(queue.run(tasks))
        for segment in segments:
            await queue.add(segment, "hour", 0)
        await settled()
        assert stage.being_sealed() == ["0", "1", "2", "3"]
        await stage.let("2", "1")
        assert stage.told == ["sealed 2", "sealed 1"]
        assert list(queue.waiting) == segments
        await stage.let("0")
        assert [one for one in stage.told if one.startswith("entry")] == ["entry 0", "entry 1", "entry 2"]
        assert list(queue.waiting) == segments[3:]
        await stage.let("5", "4", "3")
        await queue.drained()
        running.cancel()
    assert [one for one in stage.told if one.startswith("entry")] == [f"entry {number}" for number in range(6)]
    for number in range(6):
        assert stage.told.index(f"entry {number}") < stage.told.index(f"published {number}")
    assert [last.sequence for _, last in recovered.entries] == list(range(6))
    assert not queue.waiting
