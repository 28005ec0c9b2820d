"""Which symbols patterns mean."""

from __future__ import annotations

import pytest

from daedalus_collector.symbols import active, change, matching, resolve

LISTED = ["BTC/USD", "ETH/USD", "BTC/EUR", "BTC/USD:BTC", "BTC/USDT:USDT", "ETH/USDT:USDT", "BTC/USDT:USDT-261225"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", sorted(LISTED)),
        ("*/USD", ["BTC/USD", "ETH/USD"]),
        ("BTC/*", ["BTC/EUR", "BTC/USD"]),
        ("BTC/*:USDT", ["BTC/USDT:USDT"]),
        ("*/*:USDT-*", ["BTC/USDT:USDT-261225"]),
        ("*/*", ["BTC/EUR", "BTC/USD", "ETH/USD"]),
        ("B*/U*D", ["BTC/USD"]),
        ("*/USD.", []),
        ("btc/*", []),
    ],
)
def test_what_a_pattern_matches(pattern: str, expected: list[str]) -> None:
    """`*` stands for anything but the separators; the rest stands for itself."""
    assert matching(pattern, LISTED) == expected


def test_names_stay_and_each_symbol_comes_once() -> None:
    """A name is kept although nobody lists it, so that it is told; a pattern that matches nothing is told as well."""
    resolved = resolve({"trade": ["XYZ/USD", "BTC/USD", "*/USD", "*/GBP"], "ticker": ["BTC/USD"]}, LISTED)
    assert resolved.asked == {"trade": ["XYZ/USD", "BTC/USD", "ETH/USD"], "ticker": ["BTC/USD"]}
    assert resolved.unmatched == {"trade": ["*/GBP"]}


def test_only_active_markets_count() -> None:
    """Delisted ones do not; where an exchange says nothing, a market is active."""
    assert active({"A/B": {"active": True}, "C/D": {"active": False}, "E/F": {"active": None}, "G/H": {}}) == [
        "A/B", "E/F", "G/H",
    ]  # fmt: skip


def test_change_is_by_channel() -> None:
    """What came and what went."""
    changed = change({"trade": ["A/B", "C/D"]}, {"trade": ["C/D"], "ticker": ["C/D"]})
    assert set(changed.added) == {("ticker", "C/D")}
    assert set(changed.removed) == {("trade", "A/B")}
