"""A WebSocket client for many small frames: bytes are stamped where they arrive, and read in company (RFC 6455).

Waking a task for every frame, as aiohttp's reader does, costs as much as all that is done with it afterwards; so does
reading each by itself, because other work has driven the code for it out of the processor's caches. So nothing but the
stamp is done at each arrival, and what has gathered is read 20 times a second: `drain`. No extension is offered, so
frames are never compressed.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import time
from collections.abc import Callable
from typing import cast

from daedalus.errors import TransientError
from daedalus_collector.native import handshake
from daedalus_collector.retry_after import retry_after_seconds

MOST_BYTES = 64_000_000
"""Of one message: Coinbase sends whole books, 4 MB for 40,000 levels."""
MOST_HEAD_BYTES = 16_384
BUFFER_BYTES = 65_536
"""Where bytes gather: what one read takes goes where there is room already, and not into 256 kB made each time."""
MANY_BYTES = BUFFER_BYTES // 2
"""They are read at once: a burst does not wait."""
GATHER_SECONDS = 0.05
"""They are read so long after the first of them, at the latest. A record lingers longer in its batch."""
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FIN = 0x80

OnMessage = Callable[[bytes, int], None]
"""A text or binary message and the time when its last bytes were received, in nanoseconds: some time after that, but
always in order. Must not raise.
"""


class RefusedError(TransientError):
    """The server answered, and not with a WebSocket. `retry_seconds`: what it asked to wait, at the least."""

    def __init__(self, message: str, retry_seconds: float) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class WebSocket(asyncio.BufferedProtocol):
    """`opened` and `closed` are its two events; the result of `closed` says why it ended."""

    def __init__(self, to: handshake.Address, on_message: OnMessage) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[str] = loop.create_future()
        self.heard_ns = 0
        """When anything came last; pongs too."""
        self._to = to
        self._key = base64.b64encode(os.urandom(16))
        self._on_message: OnMessage | None = on_message
        self._transport: asyncio.Transport | None = None
        self._view = memoryview(bytearray(BUFFER_BYTES))
        self._filled = 0
        self._needed = 0
        """Bytes that the buffer must hold before looking at it again makes sense."""
        self._enough = 0
        """So many are read at once."""
        self._arrivals: list[tuple[int, int]] = []
        """Where each of the reads since the last drain ended in the buffer, and when it came."""
        self._timer: asyncio.TimerHandle | None = None
        self._call_later = loop.call_later
        self._fragments: list[bytes] = []
        self._why = ""

    # -- what the connection does

    def send(self, text: bytes) -> None:
        self._frame(TEXT, text)

    def ping(self) -> None:
        self._frame(PING, b"")

    def drain(self) -> None:
        """Hand on what has arrived. To be called before anything else that must not come before it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._filled < self._needed or not self._arrivals:
            return
        begin = 0 if self.opened.done() else self._head()
        rest = self._read(begin) if self.opened.done() else begin
        if rest:
            left = self._filled - rest
            if left:
                self._view[:left] = bytes(self._view[rest : self._filled])
            self._filled = left
        self._arrivals.clear()
        if max(self._needed, self._filled + 1) > len(self._view):
            self._grow(max(self._needed, 2 * len(self._view)))
        elif len(self._view) > BUFFER_BYTES and self._filled == 0:
            self._grow(BUFFER_BYTES)
        self._enough = max(self._needed, MANY_BYTES) if self.opened.done() else 0

    async def close(self, seconds: float) -> None:
        """Hand nothing on any more, say goodbye, and cut the line when the peer takes no part in that."""
        self._on_message = None
        self._frame(CLOSE, (1000).to_bytes(2, "big"))
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self.closed)
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """Cut the line."""
        self._on_message = None
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(handshake.request(self._to, self._key))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # one size serves
        return self._view[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self.heard_ns = received_ns = time.time_ns()
        self._filled = filled = self._filled + nbytes
        self._arrivals.append((filled, received_ns))
        if filled >= self._enough:
            self.drain()
        elif self._timer is None:
            self._timer = self._call_later(GATHER_SECONDS, self.drain)

    def connection_lost(self, exc: Exception | None) -> None:
        self.drain()
        self._transport = None
        why = self._why or (f"{type(exc).__name__}: {exc}" if exc is not None else "closed without a word")
        if not self.opened.done():
            self.opened.set_exception(RefusedError(why, 0.0))
        if not self.closed.done():
            self.closed.set_result(why)

    # -- inside

    def _grow(self, size: int) -> None:
        """Another buffer with what is in this one: for a message that is longer, and back."""
        view = memoryview(bytearray(size))
        view[: self._filled] = self._view[: self._filled]
        self._view = view

    def _head(self) -> int:
        """Take the server's answer; returns where it ends."""
        head, end, _ = bytes(self._view[: self._filled]).partition(b"\r\n\r\n")
        if not end:
            if len(head) > MOST_HEAD_BYTES:
                self._end("the answer to the handshake does not end")
            return 0
        try:
            said = handshake.answer(head)
        except ValueError as error:
            self._end(str(error))
            return self._filled
        if said.status == 101 and handshake.accepts(said, self._key):
            self.opened.set_result(None)
            return len(head) + len(end)
        wait = retry_after_seconds(said.headers, said.status)
        self.opened.set_exception(RefusedError(f"the exchange refused the connection with {said.status}", wait))
        self._end(f"refused with {said.status}")
        return self._filled

    def _read(self, at: int) -> int:
        """Hand on every whole frame; returns where the rest begins, and notes how much is needed to go on."""
        view, end, arrivals = self._view, self._filled, iter(self._arrivals)
        arrived, received_ns = next(arrivals)
        while end - at >= 2:
            length, start = view[at + 1], at + 2
            if length == 126:
                start += 2
                length = int.from_bytes(view[at + 2 : start], "big")
            elif length == 127:
                start += 8
                length = int.from_bytes(view[at + 2 : start], "big")
            if start > end:
                break
            stop = start + length
            if stop > end:
                if length > MOST_BYTES:
                    self._end(f"a message of {length} bytes")
                    return end
                self._needed = stop - at
                return at
            while arrived < stop:
                arrived, received_ns = next(arrivals)
            first = view[at]
            if first == FIN | TEXT or first == FIN | BINARY:  # the hot path
                if self._on_message is not None:
                    self._on_message(bytes(view[start:stop]), received_ns)
            else:
                self._other(first, bytes(view[start:stop]), received_ns)
            at = stop
        self._needed = 0
        return at

    def _other(self, first: int, payload: bytes, received_ns: int) -> None:
        opcode = first & 0x0F
        if first & 0x70:
            self._end("a frame with an extension that was not agreed on")
        elif opcode in (0, TEXT, BINARY):
            self._fragments.append(payload)
            if sum(map(len, self._fragments)) > MOST_BYTES:
                self._end(f"a message of more than {MOST_BYTES} bytes")
            elif first & FIN:
                message = b"".join(self._fragments)
                self._fragments.clear()
                if self._on_message is not None:
                    self._on_message(message, received_ns)
        elif opcode == PING:
            self._frame(PONG, payload)
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big") if payload else 1005
            reason = payload[2:].decode(errors="replace")
            self._why = f"closed by the exchange with code {code}{f', {reason}' if reason else ''}"
            self._frame(CLOSE, payload[:2])
            self._end(self._why)

    def _frame(self, opcode: int, payload: bytes) -> None:
        """Clients mask what they send."""
        if self._transport is None or self._transport.is_closing():
            return
        length = len(payload)
        if length < 126:
            head = bytes((FIN | opcode, FIN | length))
        elif length < 65_536:
            head = bytes((FIN | opcode, FIN | 126)) + length.to_bytes(2, "big")
        else:
            head = bytes((FIN | opcode, FIN | 127)) + length.to_bytes(8, "big")
        mask = os.urandom(4)
        stream = (mask * (length // 4 + 1))[:length]
        masked = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
        self._transport.write(head + mask + masked.to_bytes(length, "big"))

    def _end(self, why: str) -> None:
        """Nothing more is read; the peer sees the end of the line."""
        self._why = self._why or why
        self._on_message = None
        if self._transport is not None:
            self._transport.close()


async def dial(url: str, context: ssl.SSLContext | None, on_message: OnMessage, seconds: float) -> WebSocket:
    """An open WebSocket. Raises RefusedError, OSError, TimeoutError."""
    to = handshake.address(url)
    websocket = None
    try:
        async with asyncio.timeout(seconds):
            _, websocket = await asyncio.get_running_loop().create_connection(
                lambda: WebSocket(to, on_message), to.host, to.port, ssl=context if to.tls else None
            )
            await websocket.opened
    except BaseException:
        if websocket is not None:
            websocket.opened.cancel()
            websocket.abort()
        raise
    return websocket
