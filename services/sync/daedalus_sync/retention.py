"""Which verified segments leave the local disk. Pure: takes the files, the disk's use and the time; deletes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from daedalus_sync.ready import LocalFile

DAY_SECONDS = 86_400.0
MIN_AGE_SECONDS = 7_200.0
"""Younger files stay whatever the disk says: the writer numbers an hour's segments by what lies in its folder."""


class Policy(msgspec.Struct, frozen=True):
    retain_days: float
    """0: age alone deletes nothing."""
    watermark_percent: int


def excess_bytes(used_bytes: int, total_bytes: int, watermark_percent: int) -> int:
    """How much has to go so that the disk is below its watermark; 0: nothing."""
    return max(0, used_bytes - total_bytes * watermark_percent // 100)


def youngest_to_delete(policy: Policy, now: float, excess: int) -> float:
    """Files closed at or after this time stay in any case (seconds since 1970)."""
    if excess > 0 or policy.retain_days == 0:
        return now - MIN_AGE_SECONDS
    return now - max(MIN_AGE_SECONDS, policy.retain_days * DAY_SECONDS)


def choose(files: Sequence[LocalFile], policy: Policy, now: float, excess: int) -> list[LocalFile]:
    """Of verified files, oldest first: those past their days, and above the watermark the oldest until it is reached."""
    chosen: list[LocalFile] = []
    freed = 0
    for file in files:
        age = now - file.modified
        past_its_days = 0 < policy.retain_days * DAY_SECONDS < age
        if age <= MIN_AGE_SECONDS or not (past_its_days or freed < excess):
            break  # the rest is younger
        chosen.append(file)
        freed += file.size_bytes
    return chosen
