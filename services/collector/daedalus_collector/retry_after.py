"""How long an exchange asks to be left alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

TOO_MANY = (418, 429)
"""418 is Binance's ban after too many 429 (developers.binance.com, Spot REST API, "IP limits")."""
LEAST_SECONDS = 10.0
"""After "too many" without a word of how long."""
MOST_SECONDS = 900.0
"""Of what is asked, so that a strange header does not end the recording."""


def retry_after_seconds(headers: Mapping[str, str] | None, status: int) -> float:
    """From the header Retry-After, seconds or a date; 0 when nothing is asked."""
    named = {name.lower(): value for name, value in (headers or {}).items()}
    told = named.get("retry-after", "")
    seconds = float(told) if told.isdecimal() else _until(told, named.get("date", ""))
    if seconds > 0:
        return min(MOST_SECONDS, seconds)
    return LEAST_SECONDS if status in TOO_MANY else 0.0


def _until(date: str, sent: str) -> float:
    """From when it was sent, as the exchange says too, and else from now; so our clock may be wrong. 0 for what is no date."""
    until, since = _seconds(date), _seconds(sent)
    return 0.0 if until is None else until - (time.time() if since is None else since)


def _seconds(date: str) -> float | None:
    """Of an HTTP date, since 1970; None for what is none."""
    try:
        found = parsedate_to_datetime(date)
    except ValueError:
        return None
    return found.replace(tzinfo=found.tzinfo or UTC).timestamp()


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
