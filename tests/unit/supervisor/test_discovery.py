"""Who is there: reading answers, and the roster."""

from __future__ import annotations

import json

import pytest

from daedalus_supervisor.discovery import FORGET_SECONDS, MAX_SERVICES, Answer, Roster, read_answer
from support.observations import collector, writer


def envelope(name: str, data: object) -> bytes:
    return json.dumps({"name": name, "id": "X1", "endpoints": [{"name": "status", "data": data}]}).encode()


STATUS = {"service": "writer", "instance": "w", "ready": True, "uptime_seconds": 3.5, "metrics": {"a": 1.0}}


def states(roster: Roster, now: float) -> dict[str, bool]:
    return {one.answer.instance: one.missing for one in roster.seen(now)}


def test_answer_is_read() -> None:
    """The status stands in the data of an endpoint."""
    read = read_answer(envelope("daedalus-writer", STATUS))
    assert read is not None
    assert read[0] == "X1"
    assert (read[1].instance, read[1].uptime_seconds, read[1].metrics) == ("w", 3.5, {"a": 1.0})


def test_nan_in_metrics_is_read() -> None:
    """nats-py writes a NaN as it comes, which is no JSON; the answer counts all the same."""
    assert read_answer(envelope("daedalus-writer", {**STATUS, "metrics": {"a": float("nan")}})) is not None


def test_other_services_are_passed_over() -> None:
    """Others may use services discovery on the same server."""
    assert read_answer(envelope("somebody-else", STATUS)) is None


@pytest.mark.parametrize(
    "message",
    [
        b"not json",
        b"[]",
        envelope("daedalus-writer", {"service": 7}),
        envelope("daedalus-writer", {**STATUS, "metrics": {"a": "x"}}),
        envelope("daedalus-sync", STATUS),
    ],
)
def test_unreadable_answer_is_a_value_error(message: bytes) -> None:
    """What cannot be read, or speaks for another service, is refused."""
    with pytest.raises(ValueError, match=r"."):
        read_answer(message)


def test_missing_after_two_unanswered_questions() -> None:
    """One lost answer is nothing; two make a service missing."""
    roster = Roster()
    roster.note([writer()], 0.0)
    roster.note([], 5.0)
    assert states(roster, 5.0) == {"writer-1": False}
    roster.note([], 10.0)
    assert states(roster, 10.0) == {"writer-1": True}


def test_comes_back() -> None:
    """An answer ends being missing."""
    roster = Roster()
    for now, answers in enumerate([[writer()], [], [], [writer()]]):
        roster.note(answers, float(now))
    assert states(roster, 3.0) == {"writer-1": False}


def test_forgotten_after_an_hour() -> None:
    """Who is missing is shown for an hour, then no more."""
    roster = Roster()
    roster.note([writer()], 0.0)
    assert states(roster, FORGET_SECONDS)
    assert not states(roster, FORGET_SECONDS + 1)


def test_number_is_bounded() -> None:
    """Whoever invents instances pushes out the oldest only."""
    roster = Roster()
    for number in range(MAX_SERVICES + 10):
        roster.note([Answer("writer", str(number))], float(number))
    assert len(roster.seen(0.0)) <= MAX_SERVICES


def test_new_container_takes_the_place_of_the_missing_one() -> None:
    """A container that was made anew has a new name: the old one is not called missing for an hour."""
    roster = Roster()
    roster.note([collector(instance="old"), writer()], 0.0)
    for now in (5.0, 10.0):
        roster.note([collector(instance="new"), writer()], now)
    assert states(roster, 10.0) == {"new": False, "writer-1": False}


def test_another_exchange_takes_nobodys_place() -> None:
    """A new collector of another exchange does not hide a missing one."""
    roster = Roster()
    roster.note([collector("kraken", "old")], 0.0)
    for now in (5.0, 10.0):
        roster.note([collector("coinbaseadvanced", "new")], now)
    assert states(roster, 10.0) == {"new": False, "old": True}


def test_one_newcomer_takes_one_place() -> None:
    """Two replicas went, one came: one is missing still."""
    roster = Roster()
    roster.note([collector(instance="a"), collector(instance="b")], 0.0)
    for now in (5.0, 10.0, 15.0):
        roster.note([collector(instance="c")], now)
    assert sorted(states(roster, 15.0).values()) == [False, True]


def test_two_collectors_under_one_name() -> None:
    """Two exchanges recorded on one host, under its name, are two collectors."""
    roster = Roster()
    roster.note([collector("kraken", "host"), collector("coinbaseadvanced", "host")], 0.0)
    assert len(roster.seen(0.0)) == 2
