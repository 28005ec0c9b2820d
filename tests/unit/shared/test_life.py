"""Memory, governor, health, logs: what keeps a process alive for a year."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import structlog

from daedalus import governor, memory
from daedalus.health import Health
from daedalus.logs import OncePer10Seconds


def test_memory_limit_of_either_cgroup_version(tmp_path: Path) -> None:
    """The container's limit counts, whatever the cgroup version; "no limit" falls back to the configured one."""
    v2, v1 = tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes"
    assert memory.limit_bytes(0, (v2, v1)) is None
    assert memory.limit_bytes(100, (v2, v1)) == 100_000_000
    v1.write_text("268435456\n")
    assert memory.limit_bytes(100, (v2, v1)) == 268435456
    v1.write_text("9223372036854771712\n")
    assert memory.limit_bytes(100, (v2, v1)) == 100_000_000
    v2.write_text("max\n")
    assert memory.limit_bytes(0, (v2, v1)) is None
    v2.write_text("1048576\n")
    assert memory.limit_bytes(0, (v2, v1)) == 1048576


@pytest.mark.parametrize(
    ("used", "judgement"), [(74, "fine"), (75, "warning"), (89, "warning"), (90, "critical"), (200, "critical")]
)
def test_memory_judgement(used: int, judgement: str) -> None:
    """Warning at 75 %, critical at 90 % of the limit; without a limit always fine."""
    assert memory.judge(used, 100, 75, 90) == judgement
    assert memory.judge(used, None, 75, 90) == "fine"


def test_governor_frees_five_starts_then_holds_back() -> None:
    """The first five starts of ten minutes are free, then the wait doubles up to a minute; old and future starts count not."""
    now = 10_000.0
    assert [governor.delay_seconds([now - 1] * starts, now) for starts in (0, 4, 5, 6, 7, 30)] == [0, 0, 2, 4, 8, 60]
    assert governor.delay_seconds([now - 600] * 30, now) == 0
    assert governor.delay_seconds([now + 5] * 30, now) == 0  # the clock was set back


def test_governor_remembers_in_its_file(tmp_path: Path) -> None:
    """Starts are counted over restarts until a clean stop; a broken file counts as empty, and stays small."""
    file = tmp_path / "starts"
    assert [governor.note_start(file, now) for now in range(7)] == [0, 0, 0, 0, 0, 2, 4]
    governor.note_clean_stop(file)
    assert governor.note_start(file, 8) == 0
    file.write_text("{")
    assert governor.note_start(file, 9) == 0
    for now in range(1000):
        governor.note_start(file, now * 1000.0)
    assert file.stat().st_size < 1000
    assert governor.note_start(tmp_path / "absent" / "starts", 1.0) == 0


def test_health_names_what_is_wrong() -> None:
    """A process is not ready until it has started, and then says each problem by name."""
    health = Health()
    assert health.problems() == {"started": "still starting"}
    health.started()
    trouble: list[str] = []
    health.add("nats", lambda: trouble[0] if trouble else None)
    assert health.problems() == {}
    trouble.append("not connected")
    assert health.problems() == {"nats": "not connected"}
    assert health.live() is None


def test_repeated_error_is_told_once_with_its_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning that repeats within 10 s is dropped; the next one says how many there were; other events are not held back."""
    now = 100.0
    monkeypatch.setattr("daedalus.logs.time.monotonic", lambda: now)
    processor = OncePer10Seconds()
    told = []
    for seconds in (0, 1, 2, 11):
        now = 100.0 + seconds
        for event in ({"event": "failed", "exchange": "a"}, {"event": "failed", "exchange": "b"}):
            with contextlib.suppress(structlog.DropEvent):
                told.append((seconds, dict(processor(None, "warning", dict(event)))))
    assert told == [
        (0, {"event": "failed", "exchange": "a"}),
        (0, {"event": "failed", "exchange": "b"}),
        (11, {"event": "failed", "exchange": "a", "repeated": 2}),
        (11, {"event": "failed", "exchange": "b", "repeated": 2}),
    ]
    assert processor(None, "info", {"event": "failed"}) == {"event": "failed"}
