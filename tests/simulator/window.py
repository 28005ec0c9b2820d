"""The best levels of a book as a subscriber of that depth holds them, and what it has to be told when the book moves. Pure."""

from simulator.book import Book, Change


class Window:
    """``tells_all``: a level that leaves because better ones came is reported as removed, as OKX and Bybit do; without it
    the subscriber cuts it off by itself, as it must at Kraken."""

    def __init__(self, book: Book, depth: int, *, tells_all: bool = False) -> None:
        self._depth, self._tells_all = depth, tells_all
        self.bid, self.ask = dict(book.bid.levels(depth)), dict(book.ask.levels(depth))

    def move(self, book: Book) -> list[Change]:
        """Follow the book; what the subscriber has to be told."""
        changes: list[Change] = []
        for side, held in ((book.bid, self.bid), (book.ask, self.ask)):
            now = dict(side.levels(self._depth))
            there = now if self._tells_all else side.amounts
            changes += [Change(side.name, price, 0) for price in held if price not in there]
            changes += [Change(side.name, price, amount) for price, amount in now.items() if held.get(price) != amount]
            held.clear()
            held.update(now)
        return changes
