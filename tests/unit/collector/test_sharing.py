"""Who records what, and when a symbol may be let go."""

from __future__ import annotations

import random

import pytest

from daedalus.lease import ranked, rendezvous
from daedalus_collector.feed import Pair
from daedalus_collector.sharing import ON_THE_WAY_NS, Carried, Share, Takeovers

SYMBOLS = [f"C{number}/USD" for number in range(40)]
SILENT_NS = 3 * ON_THE_WAY_NS


def share(instance: str = "a", redundancy: int = 1, symbols: list[str] | None = None) -> Share:
    made = Share(instance, SYMBOLS if symbols is None else symbols, redundancy, SILENT_NS)
    made.recorded = made.wanted(0, 0)
    return made


@pytest.mark.parametrize("seed", range(10))
def test_rank_keeps_its_order_when_one_goes(seed: int) -> None:
    """Everyone computes the same, the first is rendezvous's, and who goes moves nobody else."""
    chance = random.Random(seed)
    members = [f"m{number}" for number in range(chance.randint(1, 8))]
    for symbol in SYMBOLS:
        order = ranked(chance.sample(members, len(members)), symbol)
        assert sorted(order) == sorted(members)
        assert order[0] == rendezvous(members, symbol)
        gone = chance.choice(members)
        assert ranked([one for one in members if one != gone], symbol) == [one for one in order if one != gone]


@pytest.mark.parametrize("redundancy", [1, 2, 3])
def test_each_symbol_has_as_many_owners_as_asked(redundancy: int) -> None:
    """Or as many as there are; over all replicas the symbols are spread."""
    replicas = [Share(name, SYMBOLS, redundancy, SILENT_NS) for name in "abc"]
    for replica in replicas:
        replica.joined("abc")
    wanted = [replica.wanted(0, 0) for replica in replicas]
    assert all(sum(symbol in some for some in wanted) == redundancy for symbol in SYMBOLS)
    assert all(wanted)
    replicas[0].joined("a")
    assert replicas[0].wanted(0, 0) == set(SYMBOLS)


def test_a_symbol_is_kept_until_its_new_owner_carries_it_and_our_last_is_stored() -> None:
    """However long that takes; the others stay whatever happens."""
    replica = share()
    assert replica.recorded == set(SYMBOLS)
    replica.joined(["a", "b"])
    own = {symbol for symbol in SYMBOLS if rendezvous(["a", "b"], symbol) == "a"}
    moving = sorted(set(SYMBOLS) - own)
    assert own
    assert moving
    assert replica.wanted(10**9, 10**9) == set(SYMBOLS)
    now_ns = 2 * 10**9
    replica.hear(Carried("b", now_ns, moving[:1]), now_ns)
    stored_ns = now_ns + ON_THE_WAY_NS
    assert replica.wanted(now_ns, now_ns - 1) == set(SYMBOLS), "what we received until then is not stored"
    assert replica.wanted(stored_ns, stored_ns - 1) == set(SYMBOLS), "nor what was on its way to us"
    assert replica.wanted(stored_ns, stored_ns) == set(SYMBOLS) - {moving[0]}
    assert replica.wanted(now_ns + SILENT_NS + 1, now_ns + SILENT_NS) == set(SYMBOLS), "an old word is not believed"


def test_a_stop_hands_everything_over() -> None:
    """With others it waits for them; alone it goes at once."""
    replica = share(symbols=["C1/USD"])
    replica.joined(["a", "b"])
    replica.recorded = {"C1/USD"}
    replica.leaving = True
    replica.joined(["a", "b"])
    assert replica.wanted(10, 10) == {"C1/USD"}
    replica.hear(Carried("b", 20, ["C1/USD"]), 20)
    replica.wanted(20, 19)
    assert replica.wanted(21 + ON_THE_WAY_NS, 20 + ON_THE_WAY_NS) == set()
    replica.joined([])
    assert replica.wanted(21, 0) == set()


PAIR = Pair("trade", "C1/USD")


def test_a_vouched_takeover_is_no_gap() -> None:
    """Somebody carried the symbol and has stored all until our first record: nothing is told."""
    replica, takeovers = share(), Takeovers(100, 10)
    replica.joined(["a", "b"])
    takeovers.took([PAIR], 1_000)
    takeovers.hear(Carried("b", 2 * ON_THE_WAY_NS, ["C1/USD"]))
    assert takeovers.waits(PAIR), "before our first record nobody can vouch for it"
    takeovers.began(PAIR, 1_050)
    replica.hear(Carried("b", 1_049, ["C1/USD"]), 1_060)
    takeovers.hear(Carried("b", 1_049 + ON_THE_WAY_NS, ["C1/USD"]))
    assert takeovers.unvouched(replica, 1_060) == [], "its records until then, and what was on its way, may be lost yet"
    takeovers.hear(Carried("b", 1_050 + ON_THE_WAY_NS, ["C1/USD"]))
    assert len(takeovers) == 0
    assert takeovers.unvouched(replica, 10**9) == []


def test_a_takeover_that_nobody_vouches_for_is_told_once() -> None:
    """When all others say that they do not carry it, or after the patience; with the time of the first record. Before that
    record nothing is told while another one carries the pair, however long it takes."""
    replica, takeovers = share(), Takeovers(100, 10)
    replica.joined(["a", "b"])
    takeovers.took([PAIR, Pair("ticker", "C2/USD")], 1_000)
    takeovers.began(PAIR, 1_010)
    replica.hear(Carried("b", 1_020, ["C2/USD"]), 1_020)
    assert takeovers.begun({"C1/USD", "C2/USD"}) == [(PAIR, 1_010)], "what has no record yet is the next one's to judge"
    assert takeovers.begun({"C2/USD"}) == []
    assert takeovers.unvouched(replica, 1_020) == [], "what the others received until then may not be stored yet"
    assert takeovers.unvouched(replica, 1_030) == [(PAIR, 1_010)]
    assert takeovers.unvouched(replica, 1_100) == []
    assert takeovers.unvouched(replica, 1_020 + SILENT_NS) == []
    assert takeovers.unvouched(replica, 1_021 + SILENT_NS) == [(Pair("ticker", "C2/USD"), None)]
    assert len(takeovers) == 0
