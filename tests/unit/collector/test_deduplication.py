from __future__ import annotations

from daedalus_collector.deduplication import RecentIds


def test_a_known_id_is_refused() -> None:
    """The second time an id comes, it is told apart."""
    ids = RecentIds()
    assert ids.add("1")
    assert not ids.add("1")
    assert ids.add("2")


def test_at_least_a_generation_is_remembered_and_memory_is_bounded() -> None:
    """Of a long run of ids the last generation is always known, and never more than two are kept."""
    ids = RecentIds(generation=10)
    for number in range(1_000):
        assert ids.add(str(number))
        assert len(ids) <= 20
        assert not any(ids.add(str(known)) for known in range(max(0, number - 9), number + 1))
    assert ids.add("0"), "an id of long ago is forgotten"


def test_a_forgotten_id_is_welcome_again() -> None:
    """A trade that could not be recorded may be recorded when the exchange repeats it."""
    ids = RecentIds()
    ids.add("1")
    ids.forget("1")
    assert ids.add("1")


def test_ids_that_read_as_one_number_are_several() -> None:
    """Whatever an exchange calls its trades: what is kept as a number is the id again."""
    ids = RecentIds()
    for id_ in ("7", "07", "0", "00", "", "-7", "+7", " 7", "7_0", "70", "\u0667", "7e1", "9" * 30):
        assert id_ not in ids
        assert ids.add(id_)
        assert id_ in ids
