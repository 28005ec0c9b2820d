"""The WebSocket client on bytes, without a network."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time
from itertools import count, pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daedalus_collector.native import handshake, websocket
from daedalus_collector.native.websocket import RefusedError, WebSocket

URL = "ws://host:9000/path?x=1"


class Line:
    """In place of a transport."""

    def __init__(self) -> None:
        self.written = b""
        self.ended = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.ended = True

    abort = close

    def is_closing(self) -> bool:
        return self.ended


def begun() -> tuple[WebSocket, Line, list[bytes]]:
    messages: list[bytes] = []
    made = WebSocket(handshake.address(URL), lambda message, _received_ns: messages.append(message))
    line: Any = Line()
    made.connection_made(line)
    return made, line, messages


def feed(made: WebSocket, data: bytes, *, drained: bool = True) -> None:
    """As the event loop does it, and the timer of what gathers."""
    while data:
        buffer = made.get_buffer(-1)
        taken = min(len(buffer), len(data))
        assert taken > 0
        buffer[:taken] = data[:taken]
        made.buffer_updated(taken)
        data = data[taken:]
    if drained:
        made.drain()


def accepted(line: Line) -> bytes:
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", line.written)
    assert key is not None
    answer = base64.b64encode(hashlib.sha1(key[1] + handshake.GUID).digest())
    return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nsec-websocket-accept: " + answer + b"\r\n\r\n"


def frame(payload: bytes, first: int = 0x81) -> bytes:
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 65_536:
        return bytes((first, 126)) + length.to_bytes(2, "big") + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload


def opened() -> tuple[WebSocket, Line, list[bytes]]:
    made, line, messages = begun()
    feed(made, accepted(line))
    line.written = b""
    return made, line, messages


def unmasked(written: bytes) -> tuple[int, bytes]:
    """First byte and payload of a short frame of a client."""
    assert written[1] & 0x80, "clients mask"
    mask, payload = written[2:6], written[6:]
    return written[0], bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload))


async def test_every_message_comes_out_however_the_bytes_arrive() -> None:
    """Handshake and frames of every length, cut anywhere, read in whatever company."""

    @given(
        sizes=st.lists(st.sampled_from([0, 1, 125, 126, 300, 70_000]), max_size=8),
        cuts=st.lists(st.integers(0, 400), max_size=12),
        drained=st.randoms(use_true_random=False),
    )
    def check(sizes: list[int], cuts: list[int], drained: Random) -> None:
        made, line, messages = begun()
        sent = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
        stream = accepted(line) + b"".join(map(frame, sent))
        for start, end in pairwise([0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]):
            feed(made, stream[start:end], drained=drained.random() < 0.5)
        made.drain()
        assert messages == sent
        assert made.opened.result() is None
        assert not line.ended

    check()


async def test_each_message_has_the_time_of_its_last_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it waits for others, and whatever came since."""
    clock = count(1)
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    made, line, _ = begun()
    stamped: list[tuple[bytes, int]] = []
    made._on_message = lambda message, received_ns: stamped.append((message, received_ns))
    feed(made, accepted(line))  # 1
    for piece in (b"one", b"two"):  # 2, 3
        feed(made, frame(piece), drained=False)
    feed(made, frame(b"three")[:3], drained=False)  # 4
    feed(made, frame(b"three")[3:] + frame(b"four"), drained=False)  # 5
    assert stamped == []
    assert made.heard_ns == 5
    feed(made, frame(b"five")[:3])  # 6
    feed(made, frame(b"five")[3:])  # 7
    assert stamped == [(b"one", 2), (b"two", 3), (b"three", 5), (b"four", 5), (b"five", 7)]


async def test_what_has_gathered_is_read_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a timer, or at once when it is much."""
    monkeypatch.setattr(websocket, "GATHER_SECONDS", 0.0)
    made, _, messages = opened()
    feed(made, frame(b"few"), drained=False)
    assert messages == []
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert messages == [b"few"]
    many = [b"x" * 1_000] * (websocket.MANY_BYTES // 1_000 + 1)
    feed(made, b"".join(map(frame, many)), drained=False)
    assert messages == [b"few", *many]


async def test_what_came_before_the_end_is_handed_on() -> None:
    """A lost line loses nothing that was received."""
    made, _, messages = opened()
    feed(made, frame(b"last"), drained=False)
    made.connection_lost(None)
    assert messages == [b"last"]


async def test_fragments_make_one_message_around_a_ping() -> None:
    """Control frames may stand between them; a ping is answered with its own payload."""
    made, line, messages = opened()
    feed(made, frame(b"one ", 0x01) + frame(b"here?", 0x89) + frame(b"two ", 0x00) + frame(b"three", 0x80))
    assert messages == [b"one two three"]
    assert unmasked(line.written) == (0x8A, b"here?")


async def test_a_close_is_answered_and_told() -> None:
    """With code and reason; nothing is handed on afterwards."""
    made, line, messages = opened()
    feed(made, frame((1001).to_bytes(2, "big") + b"bye", 0x88) + frame(b"late"))
    assert unmasked(line.written) == (0x88, (1001).to_bytes(2, "big"))
    assert line.ended
    made.connection_lost(None)
    assert made.closed.result() == "closed by the exchange with code 1001, bye"
    assert messages == []


async def test_what_is_sent_is_masked() -> None:
    """Text of any length comes out as it went in."""
    made, line, _ = opened()
    made.send(b'{"type":"subscribe"}')
    assert unmasked(line.written) == (0x81, b'{"type":"subscribe"}')
    line.written = b""
    made.send(b"x" * 1_000)
    assert line.written[1] == 0x80 | 126
    assert len(line.written) == 8 + 1_000


@pytest.mark.parametrize(
    ("answer", "told", "seconds"),
    [
        (b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\n\r\n", "with 429", 7.0),
        (b"HTTP/1.1 503 No\r\n\r\nsorry", "with 503", 0.0),
        (b"HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: nonsense\r\n\r\n", "with 101", 0.0),
    ],
)
async def test_a_refusal_is_told(answer: bytes, told: str, seconds: float) -> None:
    """With its status, and how long to wait."""
    made, line, _ = begun()
    feed(made, answer)
    with pytest.raises(RefusedError, match=told) as raised:
        await made.opened
    assert raised.value.retry_seconds == seconds
    assert line.ended


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n\r\n", b"x" * 70_000])
async def test_what_is_no_http_is_an_end(answer: bytes) -> None:
    """Another protocol, or a head without end."""
    made, line, _ = begun()
    feed(made, answer)
    assert line.ended
    made.connection_lost(None)
    with pytest.raises(RefusedError):
        await made.opened


async def test_a_message_beyond_the_bound_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one frame or in many."""
    monkeypatch.setattr(websocket, "MOST_BYTES", 1_000)
    made, line, messages = opened()
    feed(made, frame(b"x" * 2_000)[:100])
    assert line.ended
    made, line, messages = opened()
    for _ in range(3):
        feed(made, frame(b"x" * 600, 0x01))
    assert line.ended
    assert messages == []


async def test_a_compressed_frame_is_an_end() -> None:
    """No extension was offered."""
    made, line, messages = opened()
    feed(made, frame(b"x", 0xC1))
    assert line.ended
    assert messages == []


async def test_a_peer_that_does_not_close_is_cut_off() -> None:
    """`close` waits so long, and hands nothing on meanwhile."""
    made, line, messages = opened()
    closing = asyncio.ensure_future(made.close(0.01))
    await asyncio.sleep(0)
    feed(made, frame(b"late"))
    await closing
    assert line.ended
    assert messages == []


@pytest.mark.parametrize("url", ["http://host/", "ws:///x", "host"])
def test_other_addresses_are_errors(url: str) -> None:
    """Only ws and wss."""
    with pytest.raises(ValueError, match="expected ws://host"):
        handshake.address(url)


def test_an_address_has_its_parts() -> None:
    """Default ports, and the target with its query."""
    assert handshake.address(URL) == ("host", 9000, "/path?x=1", "host:9000", False)
    assert handshake.address("wss://host") == ("host", 443, "/", "host", True)
