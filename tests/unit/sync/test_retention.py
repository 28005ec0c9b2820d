"""Which verified segments go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daedalus_sync.ready import LocalFile
from daedalus_sync.retention import MIN_AGE_SECONDS, Policy, choose, excess_bytes, youngest_to_delete

DAY = 86_400.0
NOW = 1_800_000_000.0


def files(*ages_days: float, size_bytes: int = 10) -> list[LocalFile]:
    return [LocalFile(f"{age}", size_bytes, NOW - age * DAY) for age in ages_days]


def test_age() -> None:
    """Older than retain_days goes, the day itself stays."""
    assert choose(files(9, 8, 7, 1), Policy(7, 90), NOW, 0) == files(9, 8)


def test_kept_for_ever() -> None:
    """retain_days 0 deletes nothing while the disk is below its watermark."""
    assert choose(files(1000, 1), Policy(0, 90), NOW, 0) == []


def test_watermark_takes_the_oldest_until_it_is_reached() -> None:
    """As many of the oldest as free the excess, whatever their age."""
    assert choose(files(5, 4, 3, 2), Policy(7, 90), NOW, 20) == files(5, 4)
    assert choose(files(5, 4, 3, 2), Policy(0, 90), NOW, 21) == files(5, 4, 3)


def test_watermark_and_age_together() -> None:
    """What is past its days goes even when the disk needs less."""
    assert choose(files(9, 8, 3), Policy(7, 90), NOW, 1) == files(9, 8)


def test_excess() -> None:
    """The bytes above the watermark."""
    assert excess_bytes(90, 100, 90) == 0
    assert excess_bytes(95, 100, 90) == 5


@given(st.lists(st.integers(0, 60)), st.integers(0, 40), st.integers(0, 1000), st.integers(1, 100))
def test_never_young_never_more_than_needed(ages: list[int], half_days: int, excess: int, size: int) -> None:
    """Nothing of the last two hours goes, the oldest go first, and below the limits nothing more than needed."""
    days = half_days / 2
    candidates = files(*(age / 2 for age in sorted(ages, reverse=True)), size_bytes=size)
    policy = Policy(days, 90)
    chosen = choose(candidates, policy, NOW, excess)
    assert chosen == candidates[: len(chosen)]
    assert all(NOW - file.modified > MIN_AGE_SECONDS for file in chosen)
    assert all(file.modified < youngest_to_delete(policy, NOW, excess) for file in chosen)
    within_days = [file for file in chosen if not 0 < days * DAY < NOW - file.modified]
    if within_days:
        assert sum(file.size_bytes for file in chosen[:-1]) < excess
