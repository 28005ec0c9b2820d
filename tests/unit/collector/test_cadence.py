"""Looked at once a second, as the watch loops do."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence

import pytest

from daedalus.records import Trade
from daedalus_collector.cadence import (
    FLOOR_SECONDS,
    HALF_SECONDS,
    LEARN_SECONDS,
    PAIR_FLOOR_SECONDS,
    PAIR_LEARN_SECONDS,
    Cadence,
    LastRecords,
    Silence,
    Watch,
)
from daedalus_collector.feed import Pair

MOST_SECONDS = 60.0
BUSY, OTHER, QUIET = Pair("trade", "BTC/USD"), Pair("trade", "ETH/USD"), Pair("orderbook", "BTC/USD")


class Looks:
    """A cadence, a clock and a source that delivers or does not."""

    def __init__(self, otherwise_seconds: float = MOST_SECONDS) -> None:
        self.cadence = Cadence(MOST_SECONDS, otherwise_seconds, FLOOR_SECONDS, LEARN_SECONDS)
        self.now = 1_000.0
        self.delivered = 0

    def look(self, *, delivers: bool) -> bool:
        self.now += 1
        self.delivered += delivers
        return self.cadence.look(self.now, self.delivered)

    def flow(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            assert not self.look(delivers=True)

    def pause(self, seconds: int) -> None:
        """A silence that ends by itself."""
        for _ in range(seconds):
            assert not self.look(delivers=False)
        assert not self.look(delivers=True)

    def until_alarm(self) -> int:
        for seconds in range(1, 10_000):
            if self.look(delivers=False):
                return seconds
        raise AssertionError("no alarm")


def test_what_is_not_known_is_given_the_whole_time() -> None:
    """Half a minute of data says nothing yet."""
    looks = Looks()
    looks.flow(30)
    assert looks.until_alarm() == MOST_SECONDS + 1


def test_a_busy_source_is_missed_in_seconds() -> None:
    """After a minute without a silence the floor is what it is given."""
    looks = Looks()
    looks.flow(LEARN_SECONDS + 1)
    assert looks.until_alarm() == FLOOR_SECONDS + 1


@pytest.mark.parametrize(("silence", "patience"), [(1, 20), (2, 40), (3, 60), (10, 60)])
def test_patience_is_twenty_times_the_longest_silence(silence: int, patience: int) -> None:
    """Never more than the configured time; and it is forgotten by halves."""
    looks = Looks()
    looks.flow(LEARN_SECONDS)
    looks.pause(silence)
    assert looks.cadence.patience_seconds == pytest.approx(patience, rel=0.01)
    looks.flow(5 * HALF_SECONDS)
    assert looks.cadence.patience_seconds < max(FLOOR_SECONDS + 0.01, patience / 4)


def test_each_alarm_doubles_the_patience_and_good_data_halve_it() -> None:
    """A false alarm is not repeated at once, and a later freeze is seen as soon as before."""
    looks = Looks()
    looks.flow(LEARN_SECONDS + 1)
    waits = []
    for _ in range(3):
        waits.append(looks.until_alarm())
        looks.flow(2)  # the snapshot that comes with each subscription
    assert waits == pytest.approx([5, 10, 20], abs=1)
    looks.flow(4 * HALF_SECONDS)
    assert looks.until_alarm() == 6


def test_dials_that_never_deliver_are_given_more_and_more_time() -> None:
    """A busy source's too: nothing is known about how long it takes to come back."""
    looks = Looks()
    looks.flow(LEARN_SECONDS + 1)
    assert [looks.until_alarm() for _ in range(6)] == [6, 121, 241, 481, 961, 961]


def test_a_dial_is_no_silence() -> None:
    """What it took to connect and to subscribe is neither learned nor counted."""
    looks = Looks()
    looks.flow(LEARN_SECONDS + 1)
    for _ in range(3):
        looks.look(delivers=False)
    looks.cadence.begin()
    looks.pause(20)
    assert looks.cadence.patience_seconds == FLOOR_SECONDS


def test_a_process_that_was_held_up_has_heard_no_silence() -> None:
    """A minute between two looks counts as two seconds, and a clock that steps back as none."""
    looks = Looks()
    looks.flow(LEARN_SECONDS + 1)
    for step in (60.0, -30.0):
        looks.now += step
        assert not looks.look(delivers=False)
    assert looks.cadence.silent_seconds == pytest.approx(2.0)


def test_what_is_not_known_to_be_busy_is_left_alone_where_it_is_one_of_many() -> None:
    """A market that trades every four seconds may stop for an hour."""
    looks = Looks(otherwise_seconds=math.inf)
    for _ in range(100):
        looks.pause(4)
    for _ in range(3_600):
        assert not looks.look(delivers=False)


@pytest.mark.parametrize("rate", [1, 5, 30])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_market_with_bursts_and_lulls_raises_no_false_alarm(rate: float, seed: int) -> None:
    """Three hours at a rate that varies by a factor of twenty from one ten seconds to the next."""
    generator = random.Random(seed)
    cadence, pair = Cadence(MOST_SECONDS, MOST_SECONDS, 5.0, 60.0), Cadence(MOST_SECONDS, math.inf, 10.0, 300.0)
    delivered, now_rate = 0, rate
    for second in range(3 * 3_600):
        if generator.random() < 0.1:
            now_rate = rate * generator.lognormvariate(-0.5, 1.0)
        delivered += generator.random() > math.exp(-now_rate)
        assert not cadence.look(float(second), delivered)
        assert not pair.look(float(second), delivered)


def test_records_pass_and_leave_their_time() -> None:
    """The real sink gets them."""
    taken: list[tuple[Pair, object]] = []

    class Sink:
        def record(self, pair: Pair, record: object) -> None:
            taken.append((pair, record))

        def interrupted(self, pairs: Iterable[Pair], from_ns: int, cause: str, detail: str) -> None: ...

    records, trade = LastRecords(Sink()), Trade(7, None, "1", 1.0, 1.0, None)
    records.record(BUSY, trade)
    assert taken == [(BUSY, trade)]
    assert records.last_ns == {BUSY: 7}


class Watched:
    """A watch over pairs that deliver once a second, or do not."""

    def __init__(self) -> None:
        self.last_ns: dict[Pair, int] = {}
        self.watch = Watch(MOST_SECONDS, self.last_ns)
        self.now = 0

    def look(self, *delivering: Pair) -> Silence | None:
        self.now += 1
        self.last_ns.update(dict.fromkeys(delivering, self.now))
        return self.watch.look(float(self.now), max(self.last_ns.values(), default=0), [BUSY, OTHER, QUIET])

    def flow(self, seconds: float, pairs: Sequence[Pair]) -> None:
        for _ in range(int(seconds)):
            assert self.look(*pairs) is None

    def until_told(self, *delivering: Pair) -> tuple[int, list[Pair] | None]:
        for seconds in range(1, 1_000):
            if (silence := self.look(*delivering)) is not None:
                return seconds, silence.pairs
        raise AssertionError("nothing was told")


def test_a_busy_pair_that_stops_among_others_is_told() -> None:
    """Once, and again after a longer while; a pair that was never busy is not."""
    watched = Watched()
    watched.flow(PAIR_LEARN_SECONDS + 1, [BUSY, OTHER])
    assert watched.until_told(BUSY) == (PAIR_FLOOR_SECONDS + 1, [OTHER])
    assert watched.until_told(BUSY) == (2 * MOST_SECONDS + 1, [OTHER])


def test_a_channel_of_slow_pairs_is_one_busy_source() -> None:
    """No pair of it is busy, so none is missed; all of them together are."""
    watched = Watched()
    for _ in range(int(PAIR_LEARN_SECONDS) // 8 + 1):
        watched.flow(4, [BUSY, QUIET])
        watched.flow(4, [OTHER, QUIET])
    assert watched.until_told(QUIET) == (PAIR_FLOOR_SECONDS + 1, [BUSY, OTHER])


def test_a_connection_that_is_silent_is_told_as_a_whole() -> None:
    """Its pairs have heard nothing, for the others did not either."""
    watched = Watched()
    watched.flow(PAIR_LEARN_SECONDS + 1, [BUSY, OTHER])
    assert watched.until_told() == (FLOOR_SECONDS + 1, None)
    watched.watch.begin()
    assert watched.until_told() == (2 * MOST_SECONDS + 1, None)
