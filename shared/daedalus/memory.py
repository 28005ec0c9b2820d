"""How much memory this process may use, how much it does, and what to think of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import psutil

_LIMIT_FILES = (
    Path("/sys/fs/cgroup/memory.max"),  # cgroup v2
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # cgroup v1
)
_NO_LIMIT = 1 << 60  # cgroup v1 says "no limit" with a number just below 2**63

Judgement = Literal["fine", "warning", "critical"]


def limit_bytes(configured_mb: int, files: tuple[Path, ...] = _LIMIT_FILES) -> int | None:
    """The container's memory limit, or the configured one where there is no container's; None: no limit."""
    for file in files:
        try:
            text = file.read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < _NO_LIMIT:
            return int(text)
    return configured_mb * 1_000_000 or None


def used_bytes() -> int:
    """Resident memory of this process."""
    return int(psutil.Process().memory_info().rss)


def judge(used: int, limit: int | None, warning_percent: int, critical_percent: int) -> Judgement:
    if limit is None:
        return "fine"
    if used * 100 >= limit * critical_percent:
        return "critical"
    return "warning" if used * 100 >= limit * warning_percent else "fine"
