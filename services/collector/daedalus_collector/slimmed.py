"""ccxt's markets in a third of the memory: an exchange lists thousands, and a feed looks at those that were asked for.

None is left out, and each is found by its symbol and by its ids, because a frame may be about any of them: what an id
means, and whether it means one market or two, stays as it was.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def slimmed(exchange_class: Any, asked: Collection[str]) -> Any:
    """A subclass of a ccxt class that keeps `info`, the exchange's own answer, only of the asked symbols: some exchanges'
    streams, and checksums, read it. What several markets or currencies say alike is kept once, so it must not be changed.
    """

    class Slimmed(exchange_class):  # type: ignore[misc]  # ccxt has no types
        def set_markets(self, markets: Any, currencies: Any = None) -> Any:
            for market in self.to_array(markets):
                if market.get("symbol") not in asked:
                    market["info"] = {}  # before ccxt copies it: no moment takes more memory than this one
            for currency in (currencies or {}).values():
                currency["info"] = {}
            loaded: dict[str, dict[str, Any]] = super().set_markets(markets, currencies)
            for alike in self.markets_by_id.values():
                alike[:] = [_as_loaded(market, loaded) for market in alike]
            known: dict[str, Any] = {}
            for values in (*loaded.values(), *self.currencies.values()):
                for name, value in values.items():
                    if isinstance(value, dict | list):
                        values[name] = known.setdefault(repr(value), value)
            return loaded

    Slimmed.__name__ = exchange_class.__name__
    return Slimmed


def _as_loaded(market: Mapping[str, Any], loaded: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """By id ccxt keeps markets as they were parsed, by symbol copies of them with some defaults."""
    copy = loaded.get(market["symbol"])
    return copy if copy is not None and copy["id"] == market["id"] else market
