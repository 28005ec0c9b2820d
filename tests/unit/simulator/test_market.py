"""The generated market."""

import itertools
import random

import pytest

from simulator.book import Book
from simulator.fixed import decimal, rescaled, rfc3339
from simulator.market import Market
from simulator.pacing import Rates, Schedule, Source
from simulator.product import products


def _run(market: Market, steps: int) -> list[object]:
    symbol = "BTC/USD"
    return [
        event
        for time_ns in range(steps)
        for event in (market.trade(symbol, time_ns), market.update_book(symbol), market.ticker(symbol, time_ns))
    ]


def test_a_market_is_determined_by_its_seed() -> None:
    """The same seed makes the same events, another seed makes others."""
    listed = products("coinbase", 3)
    first, again, other = (_run(Market(listed, seed=seed), 200) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("symbol", ["BTC/USD", "ADA/USD", "SIM0016/USD"])
@pytest.mark.parametrize("levels", [1, 20])
def test_a_book_never_crosses_and_keeps_its_depth(symbol: str, levels: int) -> None:
    """After every update each side has its levels, all of them positive, and the best bid is below the best ask."""
    (product,) = products("coinbase", 0, [symbol])
    book = Book(product, levels, random.Random(1))
    for _ in range(2_000):
        book.update()
        bids, asks = book.bid.levels(levels + 1), book.ask.levels(levels + 1)
        assert len(bids) == len(asks) == levels
        assert 0 < bids[0][0] < asks[0][0]
        assert min(amount for _, amount in bids + asks) > 0
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
    assert book.bid.levels(1)[0][0] != product.start_price - 1, "the price never moved"
    assert 0.5 < book.bid.price(0) / product.start_price < 2


def test_the_changes_of_an_update_carry_the_book_from_one_state_to_the_next() -> None:
    """A client that applies every change holds the same levels as the market."""
    market = Market(products("binance", 1), levels=30)
    book = market.book("BTC/USDT")
    held = {"bid": dict(book.bid.levels(99)), "ask": dict(book.ask.levels(99))}
    last = book.update_id
    for _ in range(1_000):
        update = market.update_book("BTC/USDT")
        assert update.first_id == last + 1
        last = update.last_id
        for change in update.changes:
            held[change.side].pop(change.price, None)
            if change.amount:
                held[change.side][change.price] = change.amount
        assert held == {"bid": book.bid.amounts, "ask": book.ask.amounts}


def test_trade_ids_are_dense_and_trades_stay_within_the_24_hours_of_the_ticker() -> None:
    """Ids rise by one, and the ticker's last, high, low and volume follow the trades."""
    market = Market(products("kraken", 1))
    before = market.ticker("BTC/USD", 0)
    trades = [market.trade("BTC/USD", time_ns) for time_ns in range(500)]
    assert all(after.id == trade.id + 1 for trade, after in itertools.pairwise(trades))
    ticker = market.ticker("BTC/USD", 500)
    assert ticker.last == trades[-1].price
    assert ticker.last_trade_id == trades[-1].id
    assert ticker.volume - before.volume == sum(trade.amount for trade in trades)
    assert all(ticker.low <= trade.price <= ticker.high for trade in trades)


def test_any_number_of_products_can_be_listed() -> None:
    """1,700 products have 1,700 symbols, and each price is enough ticks from zero to walk."""
    listed = products("binance", 1_700)
    assert len({product.symbol for product in listed}) == 1_700
    assert min(product.start_price for product in listed) >= 100_000


def test_a_symbol_without_a_quote_is_refused() -> None:
    """The message names the exchange and the symbol."""
    with pytest.raises(ValueError, match=r"coinbase.*'BTCUSD'"):
        products("coinbase", 0, ["BTCUSD"])


def test_numbers_and_times_are_printed_as_the_exchanges_do() -> None:
    """All decimals, no exponent, no float in between; times in UTC with as many digits as asked for."""
    assert decimal(6183764, 2) == "61837.64"
    assert decimal(1, 8) == "0.00000001"
    assert decimal(-5, 2) == "-0.05"
    assert decimal(42, 0) == "42"
    assert (rescaled(123, 2, 4), rescaled(12345, 4, 2)) == (12300, 123)
    assert rfc3339(1_786_562_868_098_821_666, 9) == "2026-08-12T19:27:48.098821666Z"
    assert rfc3339(1_786_562_868_098_821_666, 6) == "2026-08-12T19:27:48.098821Z"


def test_a_schedule_keeps_the_rate_and_catches_up_within_bounds() -> None:
    """10 s at 5/s are about 50 events; after a stall of an hour one second is caught up, not an hour."""
    schedule, source = Schedule(Rates(trades=5), random.Random(1)), Source("coinbase", "trade", "BTC/USD")
    schedule.add(source, 0.0)
    schedule.add(source, 0.0)

    def events_until(now: float) -> int:
        count = 0
        while entry := schedule.take(now):
            schedule.again(*entry, 1, now)
            count += 1
        return count

    assert 40 < sum(events_until(tick / 100) for tick in range(1_000)) < 60
    assert events_until(3_600.0) < 12


def test_a_rate_of_zero_never_fires() -> None:
    """Such a channel is left to bursts."""
    schedule = Schedule(Rates(trades=0), random.Random(1))
    schedule.add(Source("coinbase", "trade", "BTC/USD"), 0.0)
    assert schedule.take(1e9) is None
