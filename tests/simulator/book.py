"""One evolving order book: bounded, never crossed, its mid price on a random walk around where it began. Pure."""

import random
from bisect import bisect_left, insort

from msgspec import Struct

from simulator.product import Product

# Chance that an update moves the price, and that a wide spread is closed to one tick.
MOVE, TIGHTEN = 0.35, 0.5
# How many levels an update touches besides a move; Binance BTCUSDT at 100 ms has more, a quiet product fewer.
TOUCHED = (1, 4)
# Mean distance from the top of a touched level, in levels.
TOUCHED_DEPTH = 6.0
# Coinbase BTC-USD shows about this many a side; deeper, the lowest bid would come near zero.
MOST_LEVELS = 20_000


class Change(Struct, frozen=True, gc=False):
    """The new absolute ``amount`` at ``price``; 0 removes the level. Integers of the product's steps."""

    side: str
    """``bid`` or ``ask``."""
    price: int
    amount: int


class Side:
    """The levels of one side. ``sign`` is +1 for bids, -1 for asks: the best price is the largest ``sign * price``."""

    def __init__(self, name: str, sign: int) -> None:
        self.name, self.sign = name, sign
        self.amounts: dict[int, int] = {}
        self._keys: list[int] = []

    def __len__(self) -> int:
        return len(self._keys)

    def price(self, depth: int) -> int:
        """The price of the level ``depth`` below the top, which is 0; -1 is the far end."""
        return self._keys[-1 - depth] * self.sign

    def put(self, price: int, amount: int) -> Change:
        key = price * self.sign
        if amount:
            if price not in self.amounts:
                insort(self._keys, key)
            self.amounts[price] = amount
        elif price in self.amounts:
            del self.amounts[price], self._keys[bisect_left(self._keys, key)]
        return Change(self.name, price, amount)

    def levels(self, limit: int) -> list[tuple[int, int]]:
        """Best first: (price, amount)."""
        return [(key * self.sign, self.amounts[key * self.sign]) for key in self._keys[: -limit - 1 : -1]]


class Book:
    """``levels`` on each side. ``update_id`` counts changed levels, as Binance's u does."""

    def __init__(self, product: Product, levels: int, generator: random.Random) -> None:
        if not 1 <= levels <= MOST_LEVELS:
            raise ValueError(f"levels: expected 1 to {MOST_LEVELS}, was {levels}")
        self._random = generator
        self._start = product.start_price
        self._levels = levels
        self._gap = max(1, self._start // 60_000)
        self._lot = 10**product.amount_decimals * 1000 / (product.start_price / 10**product.price_decimals)
        self.bid, self.ask = Side("bid", +1), Side("ask", -1)
        self.update_id = generator.randrange(1_000_000, 2_000_000)
        self.bid.put(self._start - 1, self.amount())
        self.ask.put(self._start, self.amount())
        for side in (self.bid, self.ask):
            while len(side) < levels:
                self._lengthen(side)

    def amount(self) -> int:
        """A plausible size: around a thousand of the quote currency, log-normal."""
        return max(1, int(self._lot * self._random.lognormvariate(0.0, 1.5)))

    def update(self) -> tuple[Change, ...]:
        """Let the book take one step; the changed levels, at least one of them among the best of a side."""
        changes: dict[tuple[str, int], Change] = {}
        if self._random.random() < MOVE:
            self._move(changes)
        for number in range(self._random.randint(*TOUCHED)):
            side = self.bid if self._random.random() < 0.5 else self.ask
            depth = 0 if number == 0 else min(int(self._random.expovariate(1 / TOUCHED_DEPTH)), len(side) - 1)
            self._note(changes, side.put(side.price(depth), self.amount()))
        for side in (self.bid, self.ask):
            while len(side) > self._levels:
                self._note(changes, side.put(side.price(-1), 0))
            while len(side) < self._levels:
                self._note(changes, self._lengthen(side))
        self.update_id += len(changes)
        return tuple(changes.values())

    def _move(self, changes: dict[tuple[str, int], Change]) -> None:
        """One best level is consumed and its price becomes the best of the other side: no crossing is possible."""
        drift = (self.ask.price(0) - self._start) / self._start
        upwards = self._random.random() < min(0.9, max(0.1, 0.5 - 5 * drift))
        taken, other = (self.ask, self.bid) if upwards else (self.bid, self.ask)
        price = taken.price(0)
        self._note(changes, taken.put(price, 0))
        if not len(taken):
            self._note(changes, taken.put(price + other.sign * self._gap, self.amount()))
        self._note(changes, other.put(price, self.amount()))
        if self.ask.price(0) - self.bid.price(0) > 1 and self._random.random() < TIGHTEN:
            self._note(changes, taken.put(other.price(0) + other.sign, self.amount()))

    def _lengthen(self, side: Side) -> Change:
        gap = self._random.randint(1, 2 * self._gap)
        return side.put(max(1, side.price(-1) - side.sign * gap), self.amount())

    @staticmethod
    def _note(changes: dict[tuple[str, int], Change], change: Change) -> None:
        changes[change.side, change.price] = change
