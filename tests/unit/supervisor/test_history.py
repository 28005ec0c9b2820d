"""Counters made into increases."""

from __future__ import annotations

from daedalus_supervisor.history import SAMPLE_SECONDS, WINDOW_SECONDS, Counted, History
from daedalus_supervisor.status import Figures

KEY = ("collector", "c-1", "kraken")


def note(history: History, now: float, received: float, uptime: float = 1e6, gaps: float = 0) -> None:
    history.note({KEY: Counted(Figures(received=received, gaps=gaps), uptime + now)}, now)


def test_increase_over_a_window() -> None:
    """What was added between the first sample of the window and now."""
    history = History()
    for second in range(0, 130, 5):
        note(history, float(second), 1_000.0 + 10 * second)
    recent = history.recent(KEY, 60.0, 125.0)
    assert (recent.received, recent.seconds) == (600.0, 60.0)


def test_what_was_counted_before_is_not_recent() -> None:
    """A collector that counted a million before the supervisor came has added nothing."""
    history = History()
    note(history, 0.0, 1e6, gaps=7)
    note(history, 5.0, 1e6, gaps=7)
    assert history.recent(KEY, 60.0, 5.0).gaps == 0


def test_restarted_counter_counts_from_zero() -> None:
    """A counter that begins anew adds its value, and the start is counted."""
    history = History()
    note(history, 0.0, 500.0)
    history.note({KEY: Counted(Figures(received=600.0), 2.0)}, 5.0)
    recent = history.recent(KEY, 60.0, 5.0)
    assert (recent.received, recent.starts) == (600.0, 1.0)


def test_newcomer_counts_from_zero() -> None:
    """Everything that a process counted is recent when it started after the last poll."""
    history = History()
    history.note({}, 0.0)
    history.note({KEY: Counted(Figures(received=40.0), 3.0)}, 5.0)
    history.note({KEY: Counted(Figures(received=50.0), 8.0)}, 10.0)
    assert history.recent(KEY, 60.0, 10.0).received == 50.0
    assert history.silent_seconds(KEY, 12.0) == 2.0


def test_earlier_half() -> None:
    """The first half of a window can be told from the second."""
    history = History()
    for now, gaps in ((0.0, 0), (100.0, 4), (400.0, 4), (500.0, 9)):
        note(history, now, 1.0, gaps=gaps)
    assert history.recent(KEY, 600.0, 600.0, 300.0).gaps == 4
    assert history.recent(KEY, 600.0, 600.0).gaps == 9


def test_silence_is_since_the_last_increase() -> None:
    """Silence begins when the count stops rising."""
    history = History()
    for now, received in ((0.0, 10.0), (5.0, 20.0), (10.0, 20.0), (15.0, 20.0)):
        note(history, now, received)
    assert history.silent_seconds(KEY, 15.0) == 10.0


def test_newcomer_that_received_nothing() -> None:
    """A newcomer is silent from when it was first seen, and can be forgotten again."""
    history = History()
    history.note({}, 0.0)
    history.note({KEY: Counted(Figures(), 3.0)}, 5.0)
    assert history.silent_seconds(KEY, 6.0) == 1.0
    history.note({}, 10.0)
    assert history.silent_seconds(KEY, 10.0) == 0


def test_unknown_service_is_empty() -> None:
    """Nothing is known of whom nobody saw."""
    assert History().recent(KEY, 60.0, 0.0).seconds == 0
    assert History().silent_seconds(KEY, 7.0) == 0


def test_memory_is_bounded() -> None:
    """Fast polls do not make more samples, and services that left are forgotten."""
    history = History()
    for tick in range(20_000):
        note(history, tick * 0.1, float(tick))
    assert len(history._samples) <= (WINDOW_SECONDS + SAMPLE_SECONDS) / SAMPLE_SECONDS + 1
    history.note({}, 2_001.0)
    assert not history._last
    assert not history._sums
