from __future__ import annotations

from daedalus_collector.backoff import CAP_SECONDS, GOOD_SECONDS, Backoff


def test_delays_double_up_to_the_cap() -> None:
    """Failures in a row wait 5, 10, 20, 40, 60, 60 s."""
    backoff = Backoff(5.0, lambda: 1.0)
    assert [backoff.failed(0.0) for _ in range(6)] == [5, 10, 20, 40, 60, 60]
    assert backoff.failures == 6


def test_only_half_a_minute_of_good_data_resets() -> None:
    """29 s of data between failures do not count, 30 s do."""
    backoff = Backoff(5.0, lambda: 1.0)
    backoff.failed(0.0)
    assert backoff.failed(GOOD_SECONDS - 1) == 10
    assert backoff.failed(GOOD_SECONDS) == 5
    assert backoff.failures == 1


def test_too_many_requests_wait_ten_times_as_long_up_to_the_cap() -> None:
    """The factor of a rate limit does not pass the cap either."""
    backoff = Backoff(1.0, lambda: 1.0)
    assert backoff.failed(0.0, factor=10) == 10
    assert [backoff.failed(0.0, factor=10) for _ in range(5)][-1] == CAP_SECONDS


def test_jitter_shortens() -> None:
    """A crowd does not come back at the same moment."""
    assert Backoff(4.0, lambda: 0.5).failed(0.0) == 2
