"""Delays between attempts."""

from __future__ import annotations

from daedalus_sync.back_off import delay_seconds, is_gone, missing_delay_seconds


def test_delay_doubles_up_to_a_minute() -> None:
    """Half a second at first, doubled each time, never over 60 s."""
    assert [delay_seconds(attempt, 0.0) for attempt in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert delay_seconds(100_000, 0.0) == 60


def test_jitter_takes_up_to_half() -> None:
    """The random number only shortens a delay, to half of it at the most."""
    assert delay_seconds(2, 0.999) > 1.0
    assert delay_seconds(2, 0.5) == 1.5


def test_refused_waits_a_minute() -> None:
    """What somebody must put right is tried once a minute from the start."""
    assert delay_seconds(0, 0.9, refused=True) == 60


def test_missing_file_is_looked_for_less_and_less() -> None:
    """At first four times a second, later once a minute."""
    assert [missing_delay_seconds(age) for age in (0.0, 0.1, 3.0, 500.0)] == [0.25, 0.25, 3.0, 60.0]


def test_gone_after_an_hour_unless_the_writer_has_it() -> None:
    """A file that lies in active/ is waited for as long as it takes."""
    assert not is_gone(3599.0, in_active=False)
    assert is_gone(3601.0, in_active=False)
    assert not is_gone(1e9, in_active=True)
