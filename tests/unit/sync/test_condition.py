"""What /readyz says of uploads."""

from __future__ import annotations

from daedalus_sync.condition import Condition


def test_short_failures_are_not_told() -> None:
    """Up to five minutes without success are the network's everyday; after that they are told, with the last error."""
    condition = Condition()
    condition.failed("no route", 100.0, refused=False)
    condition.failed("timed out", 350.0, refused=False)
    assert condition.uploads(400.0) is None
    assert "timed out" in str(condition.uploads(401.0))


def test_refusal_is_told_at_once() -> None:
    """What somebody must put right is told at once, until an upload works."""
    condition = Condition()
    condition.failed("NoSuchBucket", 100.0, refused=True)
    assert "NoSuchBucket" in str(condition.uploads(100.0))
    condition.worked("a")
    assert condition.uploads(1e9) is None


def test_segment_is_told_until_it_is_uploaded() -> None:
    """A segment's own error is news once, and stays until that segment is uploaded."""
    condition = Condition()
    assert condition.segment_failed("a", "conflict")
    assert not condition.segment_failed("a", "conflict")
    condition.worked("b")
    assert "1 segments" in str(condition.segments())
    condition.worked("a")
    assert condition.segments() is None


def test_memory_is_bounded() -> None:
    """A million bad segments are not remembered one by one."""
    condition = Condition()
    for number in range(2_000):
        condition.segment_failed(str(number), "conflict")
    assert len(condition._segments) == 1_000
