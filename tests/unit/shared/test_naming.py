"""Symbols, subjects, shards."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daedalus.naming import batch_subject, catalog_subject, shard_of, symbol_token, token_symbol


@pytest.mark.parametrize(
    ("symbol", "token"),
    [
        ("BTC/USD", "BTC-USD"),
        ("BTC/USDT:USDT", "BTC-USDT__USDT"),
        ("BTC/USD:BTC-261225", "BTC-USD__BTC_-261225"),
        ("BTC/USD:BTC-261225-70000-C", "BTC-USD__BTC_-261225_-70000_-C"),
        ("币安人生/USDT", "_E5_B8_81_E5_AE_89_E4_BA_BA_E7_94_9F-USDT"),
        ("A.B C/D_E", "A_2EB_20C-D_5FE"),
    ],
)
def test_symbol_token(symbol: str, token: str) -> None:
    """A symbol has the token that the documents promise, and comes back from it."""
    assert symbol_token(symbol) == token
    assert token_symbol(token) == symbol


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_symbol_token_is_reversible_and_safe(symbol: str) -> None:
    """Any text at all becomes a token of safe characters, and comes back."""
    token = symbol_token(symbol)
    assert re.fullmatch(r"[A-Za-z0-9_-]*", token)
    assert token_symbol(token) == symbol


def test_shards_are_even_and_keep_a_symbol_together() -> None:
    """A symbol has one shard, whatever the channel, and 2,000 symbols spread over four shards within 15 %."""
    assert shard_of("kraken", "BTC/USD", 1) == 0
    assert shard_of("kraken", "BTC/USD", 8) == shard_of("kraken", "BTC/USD", 8)
    counts = Counter(shard_of("binance", f"C{number}/USDT", 4) for number in range(2000))
    assert all(425 <= counts[shard] <= 575 for shard in range(4))


def test_shard_is_fnv_1a() -> None:
    """The hash is FNV-1a of 32 bits: its published value for "foobar" is 0xbf9cf968."""
    assert shard_of("foo", "bar", 1 << 32) != 0xBF9CF968  # a dot stands between the two
    assert shard_of("", "", 1 << 32) == ((2166136261 ^ ord(".")) * 16777619) & 0xFFFFFFFF


def test_subjects() -> None:
    """Subjects are those of the documents, and a symbol is one token of them."""
    assert batch_subject(3, "kraken", "trade") == "md.3.kraken.trade"
    assert batch_subject(3, "kraken", "trade", "BTC/USD:BTC-261225") == "md.3.kraken.trade.BTC-USD__BTC_-261225"
    assert catalog_subject(0, "okx", "gap", "A.B/C D").count(".") == 4
