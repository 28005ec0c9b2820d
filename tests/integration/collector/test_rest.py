"""REST over a real socket: every way in which an answer may come, or not."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from daedalus_collector.native import rest
from daedalus_collector.native.rest import Rest, RestError

BODY = b'{"symbols":["' + b"x" * 100_000 + b'"]}'
OK = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def server(answer: bytes, *, hangs: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Its address, and the heads of what it was asked."""
    asked: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        if hangs:
            await over.wait()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/api/depth", asked
    finally:
        over.set()
        listening.close()


def chunked(body: bytes) -> bytes:
    pieces = [body[first : first + 70_001] for first in range(0, len(body), 70_001)]
    return b"".join(b"%x;name=value\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"content-length: %d\r\n\r\n" % len(BODY) + BODY,
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(BODY),
        OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(gzip.compress(BODY)),
        OK + b"\r\n" + BODY,
    ],
    ids=["length", "chunked", "gzip", "end"],
)
async def test_an_answer_is_read_whole(answer: bytes) -> None:
    """Whatever tells its length."""
    async with server(answer) as (url, asked):
        assert await Rest(0, 1).get(url, {"symbol": "A&B", "limit": "5"}) == BODY
    assert asked[0].startswith(b"GET /api/depth?symbol=A%26B&limit=5 HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        OK + b"Content-Length: 50\r\n\r\n{}",
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(BODY)[:80_000],
        OK + b"Transfer-Encoding: chunked\r\n\r\nno number\r\n",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\ngzip",
        OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(BODY)[:-9],
        OK + b"Content-Length: 1000000000\r\n\r\n",
        OK + b"X: " + b"x" * 100_000,
    ],
    ids=[
        "nothing",
        "no HTTP",
        "short",
        "chunk cut off",
        "no chunk",
        "no gzip",
        "gzip cut off",
        "too long",
        "long head",
    ],
)
async def test_what_is_no_answer_is_an_error(answer: bytes) -> None:
    """Half an answer is none."""
    async with server(answer) as (url, _):
        with pytest.raises(RestError, match=r"127\.0\.0\.1"):
            await Rest(0, 1).get(url, {})


async def test_silence_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that vanished in the middle."""
    monkeypatch.setattr(rest, "UNHEARD_SECONDS", 0.05)
    async with server(OK + b"Content-Length: 50\r\n\r\n{", hangs=True) as (url, _):
        with pytest.raises(RestError, match="TimeoutError"):
            await Rest(0, 1).get(url, {})


async def test_a_refusal_says_how_long_to_wait() -> None:
    """With what the exchange said."""
    async with server(b"HTTP/1.1 429 Too Many\r\nretry-after: 7\r\nContent-Length: 4\r\n\r\nslow") as (url, _):
        with pytest.raises(RestError, match="was 429 slow") as raised:
            await Rest(0, 1).get(url, {})
    assert raised.value.retry_seconds == 7.0
