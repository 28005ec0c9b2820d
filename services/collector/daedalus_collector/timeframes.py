"""Which candles an exchange has. One that it lacks is told at the start: its stream would stay silent for ever."""

from __future__ import annotations

from typing import get_args

from daedalus.config import Exchange, Timeframe
from daedalus.errors import ConfigError
from daedalus.exchanges import ALIASES
from daedalus_collector.feeds import is_native

_NOT_STREAMED = dict.fromkeys(("binanceusdm", "binancecoinm"), ("1s",))
"""ccxt has one list for all of Binance, and says beside 1s "spot only" (ccxt/binance.py, describe, read 2026-11-23)."""


def check(name: str, exchange: Exchange) -> None:
    """`name` is the configured one. Raises ConfigError when candles are asked for that the exchange does not have."""
    if not exchange.channels.symbols().get("ohlcv"):
        return
    exchange_id = ALIASES.get(name, name)
    there = [one for one in _listed(name, exchange) if one not in _NOT_STREAMED.get(exchange_id, ())]
    if there and exchange.ohlcv_timeframe not in there:
        where, was = f"ccxt.exchanges.{name}.ohlcv_timeframe", exchange.ohlcv_timeframe
        raise ConfigError([f"{where}: expected what {exchange_id} has ({', '.join(there)}), was {was!r}"])


def _listed(name: str, exchange: Exchange) -> list[str]:
    """By ccxt, of those that the configuration can name; none where it does not say."""
    known = list(get_args(Timeframe))
    if is_native(name, exchange):
        return known  # Binance's
    from daedalus_collector import loader  # noqa: PLC0415  # 13 MB that a native feed does without

    there = loader.load(ALIASES.get(name, name))().timeframes or {}
    return [one for one in known if one in there]
