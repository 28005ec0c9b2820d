"""How long an exchange asks to be left alone."""

from __future__ import annotations

from collections.abc import Mapping

TOO_MANY = (418, 429)
"""418 is Binance's ban after too many 429 (developers.binance.com, Spot REST API, "IP limits")."""
LEAST_SECONDS = 10.0
"""After "too many" without a word of how long."""
MOST_SECONDS = 900.0
"""Of what is asked, so that a strange header does not end the recording."""


def retry_after_seconds(headers: Mapping[str, str] | None, status: int) -> float:
    """From the header Retry-After in seconds; 0 when nothing is asked."""
    told = next((value for name, value in (headers or {}).items() if name.lower() == "retry-after"), "")
    if told.isdigit():
        return min(MOST_SECONDS, float(told))
    return LEAST_SECONDS if status in TOO_MANY else 0.0


def asked_seconds(error: object) -> float:
    """From what a dial failed with: the answer to a WebSocket's handshake, as aiohttp raises it, in an error of ccxt or
    bare; 0 when nothing is asked.
    """
    refusal = next(iter(getattr(error, "args", ())), None)
    for found in error, refusal:
        status, headers = getattr(found, "status", None), getattr(found, "headers", None)
        if isinstance(status, int) and isinstance(headers, Mapping):
            return retry_after_seconds(headers, status)
    return 0.0
