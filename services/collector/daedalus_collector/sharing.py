"""Which symbols this replica records, and when it may let one go. Pure: time is an argument.

Each symbol belongs to the first `redundancy` live replicas by rendezvous rank. Who gets a symbol subscribes at once; who
had it keeps it until every new owner has said that it carries it. A time would do where a message does not come; but it
would be too short for an exchange that lets nobody in for a minute, and the message costs nothing.

A replica carries a symbol when every channel of it delivers and has no open gap. What it says besides is up to which
moment everything it received is stored. So a new owner knows that nothing lies between the other one's records and its
own first: somebody carried the symbol then, and has stored it. When nobody says so, that is a gap.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from daedalus.lease import ranked
from daedalus_collector.feed import Pair

ON_THE_WAY_NS = 1_000_000_000
"""A frame may come so much later to one replica than another one that was sent after it comes to another."""


class Carried(msgspec.Struct, frozen=True):
    """What a replica tells the others, a few times within the life of a lease."""

    instance: str
    stored_ns: int
    """All that it received before this moment is in JetStream."""
    symbols: list[str]


class Share:
    """The replicas of one exchange, as one of them sees them. `silent_ns`: for so long a message is believed."""

    def __init__(self, instance: str, symbols: Iterable[str], redundancy: int, silent_ns: int) -> None:
        self.recorded: set[str] = set()
        self.leaving = False
        """Nothing is ours any more; what we record goes to the others."""
        self._instance = instance
        self._symbols = list(symbols)
        self._redundancy = redundancy
        self._silent_ns = silent_ns
        self._live: list[str] = [instance]
        self._heard: dict[str, tuple[int, Carried]] = {}
        self._agreed_ns: dict[str, int] = {}

    @property
    def others(self) -> list[str]:
        return [member for member in self._live if member != self._instance]

    def listed(self, symbols: Iterable[str]) -> None:
        """What there is to record changed; what is not among it is let go at once."""
        self._symbols = list(symbols)
        self.recorded = self.recorded & set(self._symbols)

    def joined(self, members: Iterable[str]) -> None:
        """Who is there, as the leases say."""
        others = sorted(set(members) - {self._instance})
        self._live = others if self.leaving else [*others, self._instance]

    def around(self, now_ns: int) -> list[str]:
        """The others, and those who have given up their lease and still talk: they stop, and hand over."""
        leaving = {name for name, (at_ns, _) in self._heard.items() if now_ns - at_ns <= self._silent_ns // 2}
        return sorted({*self.others, *leaving})

    def hear(self, carried: Carried, now_ns: int) -> None:
        self._heard = {name: told for name, told in self._heard.items() if now_ns - told[0] <= self._silent_ns}
        if carried.instance != self._instance:
            self._heard[carried.instance] = (now_ns, carried)

    def owners(self, symbol: str) -> list[str]:
        return ranked(self._live, symbol)[: self._redundancy]

    def wanted(self, now_ns: int, stored_ns: int) -> set[str]:
        """What to record now: our own, and what its new owners do not carry yet. What we let go was stored, and was told
        to be ours, after they carried it and what was on its way to us then.
        """
        own = {symbol for symbol in self._symbols if self._instance in self.owners(symbol)}
        return own | {symbol for symbol in self.recorded - own if not self._may_go(symbol, now_ns, stored_ns)}

    def nobody_carries(self, symbol: str, now_ns: int) -> bool:
        """Each of the others has said what it carries, and this is not among it."""
        return all(
            self._says(member, now_ns) and not self._carries(member, symbol, now_ns) for member in self.around(now_ns)
        )

    def somebody_carries(self, symbol: str, now_ns: int) -> bool:
        return any(self._carries(member, symbol, now_ns) for member in self.around(now_ns))

    def _may_go(self, symbol: str, now_ns: int, stored_ns: int) -> bool:
        owners = self.owners(symbol)
        if not all(self._carries(owner, symbol, now_ns) for owner in owners):
            self._agreed_ns.pop(symbol, None)
            return False
        if owners and stored_ns < self._agreed_ns.setdefault(symbol, now_ns) + ON_THE_WAY_NS:
            return False
        self._agreed_ns.pop(symbol, None)
        return True

    def _says(self, member: str, now_ns: int) -> bool:
        return member in self._heard and now_ns - self._heard[member][0] <= self._silent_ns

    def _carries(self, member: str, symbol: str, now_ns: int) -> bool:
        return self._says(member, now_ns) and symbol in self._heard[member][1].symbols


class Takeovers:
    """Pairs that were taken while others were there: until one of them vouches for the time before the first record.

    `patience_ns`: for so long after the first record (or the taking, when none came) a word of the others is waited for.
    `stored_ns`: for so long at the least, though nobody says that it carries the pair: one that has just begun does not say
    so yet, and what it received until then is in the stream only after a moment.
    """

    def __init__(self, patience_ns: int, stored_ns: int) -> None:
        self._patience_ns = patience_ns
        self._stored_ns = stored_ns
        self._waiting: dict[Pair, tuple[int, int | None]] = {}
        """When it was taken; when its first record was received."""

    def __len__(self) -> int:
        return len(self._waiting)

    def took(self, pairs: Iterable[Pair], now_ns: int) -> None:
        for pair in pairs:
            self._waiting[pair] = (now_ns, None)

    def again(self, found: Iterable[tuple[Pair, int | None]], now_ns: int) -> None:
        """What was told could not be acted on: it is told again."""
        for pair, first_ns in found:
            self._waiting[pair] = (now_ns, first_ns)

    def begun(self, symbols: Collection[str]) -> list[tuple[Pair, int | None]]:
        """Those that deliver and that nobody has vouched for yet: for the end, when nobody can any more."""
        return [
            (pair, first_ns)
            for pair, (_, first_ns) in self._waiting.items()
            if first_ns is not None and pair.symbol in symbols
        ]

    def waits(self, pair: Pair) -> bool:
        return pair in self._waiting

    def dropped(self, symbols: Iterable[str]) -> None:
        gone = set(symbols)
        self._waiting = {pair: times for pair, times in self._waiting.items() if pair.symbol not in gone}

    def began(self, pair: Pair, received_ns: int) -> None:
        """The pair delivers, from that moment on."""
        times = self._waiting.get(pair)
        if times is not None and times[1] is None:
            self._waiting[pair] = (times[0], received_ns)

    def hear(self, carried: Carried) -> None:
        """Everything that the other one carried until our first record came, and was on its way, is stored: nothing is
        missing.
        """
        for pair, (_, first_ns) in list(self._waiting.items()):
            known = first_ns is not None and carried.stored_ns >= first_ns + ON_THE_WAY_NS
            if known and pair.symbol in carried.symbols:
                del self._waiting[pair]

    def unvouched(self, share: Share, now_ns: int) -> list[tuple[Pair, int | None]]:
        """What nobody vouches for, each told once: the pair and when its first record was received."""
        found = []
        for pair, (taken_ns, first_ns) in self._waiting.items():
            if first_ns is None and share.somebody_carries(pair.symbol, now_ns):
                continue  # until we have our first record, nothing is missing
            waited_ns = now_ns - (first_ns or taken_ns)
            alone = waited_ns > self._stored_ns and share.nobody_carries(pair.symbol, now_ns)
            if alone or waited_ns > self._patience_ns:
                found.append((pair, first_ns))
        for pair, _ in found:
            del self._waiting[pair]
        return found
