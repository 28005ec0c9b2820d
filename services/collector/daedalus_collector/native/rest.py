"""REST answers of an exchange: fetched one after another, at a pace, as bytes.

A connection for each, in a thread: they are few, and one that was kept may have died unnoticed. aiohttp would be 10 MB in
a process that needs it for nothing else.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlencode, urlsplit

from daedalus.errors import TransientError
from daedalus_collector.native import tls
from daedalus_collector.retry_after import retry_after_seconds

REQUEST_SECONDS = 30.0
UNHEARD_SECONDS = 10.0
"""For a connection, and without a byte of the answer."""
MOST_BYTES = 100_000_000
"""Of an answer; Binance's list of markets has 15 MB."""
PIECE_BYTES = 65_536
SHOWN_CHARACTERS = 200


class RestError(TransientError):
    """No answer. `retry_seconds`: what the exchange asked to wait, at the least."""

    def __init__(self, message: str, retry_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class Rest:
    """`burst` requests at once, then one each `pause_seconds`: both below the exchange's limit for the heaviest of them."""

    def __init__(self, pause_seconds: float, burst: int) -> None:
        self._pause_seconds = pause_seconds
        self._credit_seconds = pause_seconds * (burst - 1)
        self._free_at = 0.0
        self._turn = asyncio.Lock()

    def paced(self, pause_seconds: float, burst: int) -> Rest:
        """The same, at another pace."""
        return Rest(pause_seconds, burst)

    async def get(self, url: str, query: Mapping[str, str]) -> bytes:
        """Raises RestError."""
        async with self._turn:
            now = time.monotonic()
            due = max(self._free_at, now)
            self._free_at = due + self._pause_seconds
            await asyncio.sleep(max(0.0, due - self._credit_seconds - now))
            try:
                async with asyncio.timeout(REQUEST_SECONDS):
                    status, headers, body = await asyncio.to_thread(_ask, url, query)
            except (OSError, TimeoutError, HTTPException, EOFError, ValueError, zlib.error) as error:
                raise RestError(f"{url}: {type(error).__name__}: {error}"[:SHOWN_CHARACTERS]) from error
        if status != 200:
            shown = body[:SHOWN_CHARACTERS].decode(errors="replace")
            raise RestError(f"{url}: expected 200, was {status} {shown}", retry_after_seconds(headers, status))
        return body


def _ask(url: str, query: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body. In a thread, which ends by itself when nobody waits for it any more."""
    parts, until = urlsplit(url), time.monotonic() + REQUEST_SECONDS
    host = parts.hostname or ""
    connection = (
        HTTPSConnection(host, parts.port, timeout=UNHEARD_SECONDS, context=tls.context())
        if parts.scheme == "https"
        else HTTPConnection(host, parts.port, timeout=UNHEARD_SECONDS)
    )
    with closing(connection):
        headers = {"Connection": "close", "Accept-Encoding": "gzip", "User-Agent": "daedalus"}
        connection.request("GET", f"{parts.path}?{urlencode(query)}", headers=headers)
        response = connection.getresponse()
        body = bytearray()
        while piece := response.read(PIECE_BYTES):
            body += piece
            if (size := len(body) + (response.length or 0)) > MOST_BYTES:
                raise ValueError(f"expected at the most {MOST_BYTES} bytes, was {size}")
            if time.monotonic() > until:
                raise TimeoutError
        if response.length:  # `read` with a size takes what there is
            raise EOFError(f"expected {response.length} bytes more")
    if response.headers.get("Content-Encoding") == "gzip":
        unpacking = zlib.decompressobj(wbits=31)
        body = bytearray(unpacking.decompress(body, MOST_BYTES))
        if not unpacking.eof:
            raise EOFError(f"expected the end of a gzip stream within {MOST_BYTES} bytes")
    return response.status, dict(response.headers), bytes(body)
