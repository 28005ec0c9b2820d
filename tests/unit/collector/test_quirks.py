from __future__ import annotations

import pytest

from daedalus.exchanges import EXCHANGE_IDS
from daedalus_collector import quirks


@pytest.mark.parametrize(
    ("exchange", "depth", "limit"),
    [
        ("kraken", 10, 10),
        ("kraken", 20, 25),
        ("kraken", 5000, 1000),
        ("bybit", 1, 50),
        ("binance", 20, 1000),
        ("binance", 2000, 5000),
        ("coinbase", 20, None),
    ],
)
def test_a_book_is_asked_for_at_the_smallest_depth_that_suffices(exchange: str, depth: int, limit: int | None) -> None:
    """And at the largest there is when none does; None where the exchange has one depth only."""
    assert quirks.book_limit(exchange, depth) == limit


def test_quirks_are_of_exchanges_that_exist() -> None:
    """A table's key that is misspelled would never be used."""
    ids = {*quirks.CONFIG, *quirks.BOOK_LIMITS, *quirks.KEPT_LEVELS, *quirks.BULK_SIZE, *quirks.DERIVED}
    ids |= set(quirks.QUOTE_TIME) | set(quirks.BIDASK_NONCE) | set(quirks.FUNDING) | set(quirks.LIQUIDATION_AMOUNT)
    ids |= {exchange for table in (quirks.PARAMS, quirks.BULK_CALLS, quirks.ONE_BY_ONE) for exchange, _ in table}
    assert ids <= EXCHANGE_IDS


def test_ticker_times_come_from_the_frame() -> None:
    """Binance's event time in milliseconds, Kraken's text; absent stays absent."""
    assert quirks.QUOTE_TIME["binance"]({"E": 1_672_515_782_136, "C": 5}) == 1_672_515_782_136_000
    assert quirks.QUOTE_TIME["binance"]({}) is None
    assert quirks.QUOTE_TIME["kraken"]({"timestamp": "2026-08-12T19:27:48.364886Z"}) == 1_786_562_868_364_886
    assert quirks.QUOTE_TIME["kraken"]({}) is None


def test_coinbase_answers_usdc_as_usd() -> None:
    """BTC/USD may be what somebody asked for as BTC/USDC."""
    assert quirks.asked_symbol("coinbase", "BTC/USD") == "BTC/USDC"
    assert quirks.asked_symbol("coinbase", "BTC/EUR") is None
    assert quirks.asked_symbol("kraken", "BTC/USD") is None
