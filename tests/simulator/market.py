"""A seeded generated market: books, trades with dense increasing ids, 24 h tickers. Pure: the time is an argument.

Two markets with the same products, seed and sequence of calls are equal. The 24 h window does not roll: it grows from
where it began. Trades take their prices from the book and leave it as it is.
"""

import random
from collections import deque
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from simulator.book import Book, Change
from simulator.product import Product

# Coinbase and Kraken send about this many trades when a client subscribes.
RECENT_TRADES = 50
# What REST still knows.
HISTORY_TRADES = 20_000
# Of the quote currency; what a product has traded when it is first looked at.
DAY_TURNOVER = 50_000_000
DAY_NS = 86_400 * 1_000_000_000


class Trade(Struct, frozen=True, gc=False):
    id: int
    price: int
    amount: int
    side: str
    """The taker's: ``buy`` or ``sell``."""
    time_ns: int


class BookUpdate(Struct, frozen=True):
    first_id: int
    last_id: int
    changes: tuple[Change, ...]


class Ticker(Struct, frozen=True):
    """Prices and amounts in the product's steps; ``quote_volume`` in price steps times amount steps."""

    open_ns: int
    first_trade_id: int
    last_trade_id: int
    open: int
    high: int
    low: int
    last: int
    last_amount: int
    volume: int
    quote_volume: int
    bid: int
    bid_amount: int
    ask: int
    ask_amount: int


class _Product:
    def __init__(self, product: Product, levels: int, seed: str) -> None:
        self.random = random.Random(f"{seed}:trade")
        self.book = Book(product, levels, random.Random(f"{seed}:book"))
        self.history: deque[Trade] = deque(maxlen=HISTORY_TRADES)
        price = product.start_price
        self.opened_ns: int | None = None
        self.next_id = self.first_id = self.random.randrange(1_000_000, 9_000_000)
        self.open = price * 99 // 100
        self.low, self.high = price * 97 // 100, price * 103 // 100
        self.volume = DAY_TURNOVER * 10 ** (product.price_decimals + product.amount_decimals) // price
        self.quote_volume = self.volume * price
        self.last, self.last_amount = price, self.book.amount()


class Market:
    """The products of one exchange."""

    def __init__(self, products: Sequence[Product], *, seed: int = 1, levels: int = 100) -> None:
        self.products = {product.symbol: product for product in products}
        self.delisted: set[str] = set()
        """Still in the REST list, but not traded. Kraken tells."""
        self.rest_ids_from = 0
        """What a trade's id is more over REST: on KuCoin and HTX it is not the stream's."""
        self._seed, self._levels = seed, levels
        self._states: dict[str, _Product] = {}

    def _state(self, symbol: str) -> _Product:
        if symbol not in self._states:  # made when first asked for: 1,700 products cost nothing until subscribed
            self._states[symbol] = _Product(self.products[symbol], self._levels, f"{self._seed}:{symbol}")
        return self._states[symbol]

    def book(self, symbol: str) -> Book:
        return self._state(symbol).book

    def update_book(self, symbol: str) -> BookUpdate:
        book = self._state(symbol).book
        first = book.update_id + 1
        changes = book.update()
        return BookUpdate(first, book.update_id, changes)

    def trade(self, symbol: str, time_ns: int) -> Trade:
        """The next trade, at the best price of the side it takes from."""
        state = self._state(symbol)
        buys = state.random.random() < 0.5
        price = (state.book.ask if buys else state.book.bid).price(0)
        amount = max(1, int(state.last_amount * 0.2 + state.book.amount() * 0.1))
        trade = Trade(state.next_id, price, amount, "buy" if buys else "sell", time_ns)
        state.next_id += 1
        state.last, state.last_amount = price, amount
        state.high, state.low = max(state.high, price), min(state.low, price)
        state.volume += amount
        state.quote_volume += amount * price
        state.history.append(trade)
        return trade

    def batch_size(self, symbol: str) -> int:
        """How many trades the exchange puts into its next frame, where it batches."""
        return self._state(symbol).random.choice((1, 1, 1, 2, 3))

    def recent_trades(self, symbol: str, time_ns: int) -> list[Trade]:
        """Oldest first, never empty: a product that has not traded yet is given a history."""
        history = self._state(symbol).history
        if not history:
            for number in range(RECENT_TRADES // 5, 0, -1):
                self.trade(symbol, time_ns - number * 1_000_000_000)
        return self.history(symbol)[-RECENT_TRADES:]

    def history(self, symbol: str) -> list[Trade]:
        """Oldest first, as far back as REST goes."""
        return list(self._state(symbol).history)

    def last_trades(self, symbol: str, limit: int) -> list[Trade]:
        """As REST tells them, newest first."""
        told = self.history(symbol)[-limit:]
        return [replace(trade, id=trade.id + self.rest_ids_from) for trade in reversed(told)]

    def ticker(self, symbol: str, time_ns: int) -> Ticker:
        state = self._state(symbol)
        if state.opened_ns is None:
            state.opened_ns = time_ns - DAY_NS
        book = state.book
        bid, ask = book.bid.price(0), book.ask.price(0)
        return Ticker(
            open_ns=state.opened_ns, first_trade_id=state.first_id, last_trade_id=state.next_id - 1,
            open=state.open, high=state.high, low=state.low, last=state.last, last_amount=state.last_amount,
            volume=state.volume, quote_volume=state.quote_volume,
            bid=bid, bid_amount=book.bid.amounts[bid], ask=ask, ask_amount=book.ask.amounts[ask],
        )  # fmt: skip
