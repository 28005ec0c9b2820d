"""REST answers of an exchange: fetched one after another, at a pace, as bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import aiohttp

from daedalus.errors import TransientError
from daedalus_collector.retry_after import retry_after_seconds

REQUEST_SECONDS = 30.0
UNHEARD_SECONDS = 10.0
"""Without a byte of the answer: the peer of a pooled connection may have vanished, and another is dialled."""
SHOWN_CHARACTERS = 200


class RestError(TransientError):
    """No answer. `retry_seconds`: what the exchange asked to wait, at the least."""

    def __init__(self, message: str, retry_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class Rest:
    """`burst` requests at once, then one each `pause_seconds`: both below the exchange's limit for the heaviest of them."""

    def __init__(self, http: aiohttp.ClientSession, pause_seconds: float, burst: int) -> None:
        self._http = http
        self._pause_seconds = pause_seconds
        self._credit_seconds = pause_seconds * (burst - 1)
        self._free_at = 0.0
        self._turn = asyncio.Lock()

    def paced(self, pause_seconds: float, burst: int) -> Rest:
        """The same, at another pace."""
        return Rest(self._http, pause_seconds, burst)

    async def get(self, url: str, query: Mapping[str, str]) -> bytes:
        """Raises RestError."""
        async with self._turn:
            now = time.monotonic()
            due = max(self._free_at, now)
            self._free_at = due + self._pause_seconds
            await asyncio.sleep(max(0.0, due - self._credit_seconds - now))
            unheard = aiohttp.ClientTimeout(sock_connect=UNHEARD_SECONDS, sock_read=UNHEARD_SECONDS)
            try:
                async with (
                    asyncio.timeout(REQUEST_SECONDS),
                    self._http.get(url, params=query, timeout=unheard) as response,
                ):
                    body = await response.read()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise RestError(f"{url}: {type(error).__name__}: {error}"[:SHOWN_CHARACTERS]) from error
        if response.status != 200:
            shown = body[:SHOWN_CHARACTERS].decode(errors="replace")
            wait = retry_after_seconds(response.headers, response.status)
            raise RestError(f"{url}: expected 200, was {response.status} {shown}", wait)
        return body
