"""Which trades of one symbol were recorded already: exchanges send the last ones again after a reconnect. Pure."""

from __future__ import annotations

GENERATION = 1_000
"""Kraken repeats 50 trades after a reconnect, Coinbase about 100: ten times that."""


class RecentIds:
    """Remembers the last `GENERATION` to twice `GENERATION` ids: two sets, the older one is let go when the newer is full."""

    __slots__ = ("_generation", "_newer", "_older")

    def __init__(self, generation: int = GENERATION) -> None:
        self._generation = generation
        self._newer: set[int | str] = set()
        self._older: set[int | str] = set()

    def add(self, id_: str) -> bool:
        """Remember an id; False when it was known."""
        key = _small(id_)
        if key in self._newer or key in self._older:
            return False
        if len(self._newer) >= self._generation:
            self._older, self._newer = self._newer, set()
        self._newer.add(key)
        return True

    def __contains__(self, id_: str) -> bool:
        key = _small(id_)
        return key in self._newer or key in self._older

    def forget(self, id_: str) -> None:
        """The trade was not recorded after all."""
        key = _small(id_)
        self._newer.discard(key)
        self._older.discard(key)

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)


def _small(id_: str) -> int | str:
    """Half of the memory where an id is a number, as it is on most exchanges; one with a leading zero is another id."""
    return int(id_) if id_.isascii() and id_.isdecimal() and id_[0] != "0" else id_
