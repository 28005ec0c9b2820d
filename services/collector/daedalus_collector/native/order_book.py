"""One order book, kept from a snapshot and changes: the best levels as the bytes of a record, cheaply. Pure.

Each side is sorted with the best at the end: what moves is near the top, so an insertion shifts little, and a lookup is a
bisection. Prices and amounts are arrays of float64, of which the best levels are a slice; the keys beside them are the
prices, negative for asks, as a list, because a bisection of an array makes an object of each price it looks at.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from math import inf

Level = tuple[float, float]
"""Price and amount; an amount of 0 removes the level."""

NEAR = 32
"""Levels from the best on that are looked at first: what changes is mostly among them, and the rest of a long side is not
in the processor's caches.
"""
TRIM_SLACK = 500
"""A side is trimmed when it is this much above what is kept, so that it is not done for each change."""
_SWAP = sys.byteorder == "big"


class Side:
    """One side; `sign` is 1 for bids and -1 for asks. `kept`: levels, at the least, that are remembered; None: all."""

    __slots__ = ("_amounts", "_depth", "_kept", "_keys", "_most", "_prices", "_sign")

    def __init__(self, sign: int, depth: int, kept: int | None) -> None:
        self._sign = sign
        self._depth = depth
        self._kept = depth if kept is None else max(kept, depth)
        self._most = inf if kept is None else self._kept + TRIM_SLACK
        self.reset(())

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def best(self) -> float:
        """The best price times the sign; -inf when the side is empty."""
        return self._keys[-1] if self._keys else -inf

    def reset(self, levels: Iterable[Level]) -> None:
        sign = self._sign
        found = {price * sign: amount for price, amount in levels if amount}
        self._keys = sorted(found)
        self._prices = array("d", [key * sign for key in self._keys])
        self._amounts = array("d", map(found.__getitem__, self._keys))
        self._trim()

    def put(self, levels: Iterable[Level]) -> None:
        """Apply changes: new absolute amounts."""
        keys, prices, amounts, sign = self._keys, self._prices, self._amounts, self._sign
        for price, amount in levels:
            key = price * sign
            near = len(keys) - NEAR
            at = bisect_left(keys, key, near if near > 0 and keys[near] < key else 0)
            if at < len(keys) and keys[at] == key:
                if amount:
                    amounts[at] = amount
                else:
                    del keys[at], prices[at], amounts[at]
            elif amount:
                keys.insert(at, key)
                prices.insert(at, price)
                amounts.insert(at, amount)
        if len(keys) > self._most:
            self._trim()

    def columns(self) -> tuple[bytes, bytes]:
        """Prices and amounts of the best levels, best first, as little-endian float64."""
        last = -self._depth - 1
        prices, amounts = self._prices[:last:-1], self._amounts[:last:-1]
        if _SWAP:
            prices.byteswap()
            amounts.byteswap()
        return prices.tobytes(), amounts.tobytes()

    def _trim(self) -> None:
        if len(self._keys) > self._most:
            excess = len(self._keys) - self._kept
            del self._keys[:excess], self._prices[:excess], self._amounts[:excess]


class LocalBook:
    """Both sides. `depth`: levels of a record; `kept`: see Side."""

    __slots__ = ("asks", "bids")

    def __init__(self, depth: int, kept: int | None = None) -> None:
        self.bids = Side(1, depth, kept)
        self.asks = Side(-1, depth, kept)

    def reset(self, bids: Iterable[Level] = (), asks: Iterable[Level] = ()) -> None:
        self.bids.reset(bids)
        self.asks.reset(asks)

    @property
    def crossed(self) -> bool:
        """The best bid is not below the best ask: changes were missed, or applied in the wrong order."""
        return self.bids.best >= -self.asks.best
