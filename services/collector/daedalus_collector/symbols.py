"""Which symbols a list of names and patterns means on an exchange. Pure.

A name is taken as it stands, so that a wrong one is told and not passed over. In a pattern `*` stands for any characters
but `/` and `:`, so that a pattern without `:` means spot markets only: `*/USD` is not `BTC/USD:BTC`. `*` alone means every
market. Patterns take active markets only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple


class Resolved(NamedTuple):
    asked: dict[str, list[str]]
    """Channel → unified symbols, each once: names first, then what the patterns match, sorted."""
    unmatched: dict[str, list[str]]
    """Channel → patterns that match nothing."""


class Change(NamedTuple):
    """From one list to the next, as (channel, symbol)."""

    added: frozenset[tuple[str, str]]
    removed: frozenset[tuple[str, str]]


def is_pattern(text: str) -> bool:
    return "*" in text


def has_patterns(asked: Mapping[str, Iterable[str]]) -> bool:
    return any(is_pattern(text) for texts in asked.values() for text in texts)


def active(markets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The symbols of ccxt's `markets` that are traded now; an exchange that does not say is believed."""
    return sorted(symbol for symbol, market in markets.items() if market.get("active") is not False)


def matching(pattern: str, listed: Iterable[str]) -> list[str]:
    if pattern == "*":
        return sorted(listed)
    expression = re.compile("[^/:]*".join(map(re.escape, pattern.split("*"))))
    return sorted(symbol for symbol in listed if expression.fullmatch(symbol))


def resolve(asked: Mapping[str, Iterable[str]], listed: Collection[str]) -> Resolved:
    """`asked`: channel → names and patterns. `listed`: the active symbols of the exchange."""
    found: dict[str, list[str]] = {}
    unmatched: dict[str, list[str]] = {}
    for channel, texts in asked.items():
        symbols = {text: None for text in texts if not is_pattern(text)}
        for pattern in filter(is_pattern, texts):
            matched = matching(pattern, listed)
            symbols |= dict.fromkeys(matched)
            if not matched:
                unmatched.setdefault(channel, []).append(pattern)
        found[channel] = list(symbols)
    return Resolved(found, unmatched)


def change(before: Mapping[str, Iterable[str]], after: Mapping[str, Iterable[str]]) -> Change:
    old, new = (
        frozenset((channel, symbol) for channel, symbols in asked.items() for symbol in symbols)
        for asked in (before, after)
    )
    return Change(new - old, old - new)
