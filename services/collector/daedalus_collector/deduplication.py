"""Which trades of one symbol were recorded already: exchanges send the last ones again after a reconnect. Pure."""

from __future__ import annotations

GENERATION = 1_000
"""Kraken repeats 50 trades after a reconnect, Coinbase about 100: ten times that."""


class RecentIds:
    """Remembers the last `GENERATION` to twice `GENERATION` ids: two sets, the older one is let go when the newer is full."""

    __slots__ = ("_generation", "_newer", "_older")

    def __init__(self, generation: int = GENERATION) -> None:
        self._generation = generation
        self._newer: set[str] = set()
        self._older: set[str] = set()

    def add(self, id_: str) -> bool:
        """Remember an id; False when it was known."""
        if id_ in self._newer or id_ in self._older:
            return False
        if len(self._newer) >= self._generation:
            self._older, self._newer = self._newer, set()
        self._newer.add(id_)
        return True

    def __contains__(self, id_: str) -> bool:
        return id_ in self._newer or id_ in self._older

    def forget(self, id_: str) -> None:
        """The trade was not recorded after all."""
        self._newer.discard(id_)
        self._older.discard(id_)

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)
