"""The server that says what a recording says."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import aiohttp
import pytest

from simulator.recorded_exchange import RecordedExchange, Speech
from simulator.recording import rest_answers
from support.eventually import eventually

SPEECH = Speech(lambda asked: asked["streams"], lambda asked: [{"subscribed": asked["streams"]}])


async def test_a_client_gets_what_it_subscribed() -> None:
    """The answer first, then frames of its streams and those for everybody, in order; the rest it does not get."""
    async with (
        RecordedExchange(SPEECH, lambda *_: None) as exchange,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{exchange.url}/ws.example.com/v2") as client,
    ):
        await client.send_json({"streams": ["a", "b"]})
        assert await client.receive_json(timeout=5) == {"subscribed": ["a", "b"]}
        await eventually(lambda: exchange.streams == {"a", "b"}, "both are subscribed")
        for stream, frame in (("c", b"1"), ("b", b"2"), ("", b"3"), ("a", b"4")):
            await exchange.send(stream, frame)
        assert [await client.receive_json(timeout=5) for _ in range(3)] == [2, 3, 4]
        assert exchange.sent == 4


async def test_a_held_answer_waits() -> None:
    """Until it is released; the host is no part of the path, and what has no answer is not found."""
    async with (
        RecordedExchange(SPEECH, lambda path, query: query["of"].encode() if path == "/v1/book" else None) as exchange,
        aiohttp.ClientSession() as http,
    ):
        exchange.hold("/v1/book")
        asked = asyncio.create_task(http.get(f"{exchange.url}/api.example.com/v1/book/?of=btc"))
        assert (await http.get(f"{exchange.url}/api.example.com/v2/book")).status == 404
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asked), 0.1)
        exchange.release("/v1/book")
        assert await (await asked).read() == b"btc"


def test_rest_answers_of_a_capture(tmp_path: Path) -> None:
    """By path; frames, what was sent and where was connected are no answers."""
    path = tmp_path / "capture.gz"
    lines = [
        "https://x.com/api/v2/book/btcusd/ -> 1641343696.24: {}",
        "wss://x.com/ <-> 1641343690.5",
        'wss://x.com/ <- 1641343690.6: {"a": "https://x.com/b -> 1.5: c"}',
        "1641343690.7: {}",
    ]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert rest_answers(path) == {"/api/v2/book/btcusd": b"{}"}
