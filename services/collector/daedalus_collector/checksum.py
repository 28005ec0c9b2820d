"""Kraken's book checksum. Pure.

CRC32 over the digits of the ten best asks, then bids: price and quantity with the market's decimals, without the point and
leading zeros (https://docs.kraken.com/api/docs/guides/spot-ws-book-v2, read 2026-11-23).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from itertools import islice

LEVELS = 10


def book_checksum(
    bids: Iterable[Sequence[float]], asks: Iterable[Sequence[float]], price_decimals: int, amount_decimals: int
) -> int:
    """Of (price, amount, …) levels, best first."""
    digits = "".join(
        _digits(price, price_decimals) + _digits(amount, amount_decimals)
        for side in (asks, bids)
        for price, amount, *_ in islice(side, LEVELS)
    )
    return zlib.crc32(digits.encode())


def _digits(number: float, decimals: int) -> str:
    return f"{number:.{decimals}f}".replace(".", "").lstrip("0")
