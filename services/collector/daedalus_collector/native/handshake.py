"""The HTTP part of opening a WebSocket (RFC 6455, 4.1 and 4.2.2). Pure."""

from __future__ import annotations

import base64
import hashlib
from typing import NamedTuple
from urllib.parse import urlsplit

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Address(NamedTuple):
    host: str
    port: int
    target: str
    """Path and query."""
    host_header: str
    tls: bool


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    """Names as in Retry-After."""


def address(url: str) -> Address:
    """Of a ws:// or wss:// address. Raises ValueError for any other."""
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"expected ws://host or wss://host, was {url!r}")
    tls = parts.scheme == "wss"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(parts.hostname, parts.port or (443 if tls else 80), target, parts.netloc, tls)


def request(to: Address, key: bytes) -> bytes:
    return (
        f"GET {to.target} HTTP/1.1\r\nHost: {to.host_header}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\nUser-Agent: daedalus\r\n\r\n"
    ).encode()


def answer(head: bytes) -> Answer:
    """What the server said, up to the empty line. Raises ValueError for what is no HTTP."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status, *_ = first.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(f"expected HTTP/1.1, was {first[:100]!r}")
    pairs = (line.partition(":") for line in lines if line)
    return Answer(int(status), {name.strip().title(): value.strip() for name, _, value in pairs})


def accepts(said: Answer, key: bytes) -> bool:
    """Whether the server took the WebSocket that this key began."""
    expected = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()  # noqa: S324  # the protocol's own
    return said.headers.get("Sec-Websocket-Accept") == expected
