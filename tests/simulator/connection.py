"""One client's WebSocket: a bounded outbox, the task that empties it, and the faults that strike it on the way out.

Frames are counted when they are handed to the live socket. What still waits in the outbox when the connection ends was
never sent and is not counted.
"""

import asyncio
import itertools
import socket
import struct
import time
from collections import deque

from aiohttp import WSCloseCode, web

from simulator.counts import Counts
from simulator.frame import Frame

# A client that lets this much pile up is disconnected, as the exchanges do with slow consumers.
OUTBOX_BYTES = 64 * 1024 * 1024
# For a client to take part in the close handshake.
CLOSE_SECONDS = 2.0
# Above this a generator that goes as fast as the socket takes it waits.
COMFORTABLE_BYTES = 256 * 1024

_numbers = itertools.count(1)


class Connection:
    def __init__(self, exchange: str, ws: web.WebSocketResponse, transport: asyncio.Transport, counts: Counts) -> None:
        self.exchange = exchange
        self.number = next(_numbers)
        self._ws, self._transport, self._counts = ws, transport, counts
        self._outbox: deque[Frame] = deque()
        self._outbox_bytes = 0
        self._wake, self._roomy, self._empty = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._frozen_until = 0.0
        self._skip_channel = ""
        self._delay_seconds = 0.0
        self._roomy.set()
        self._empty.set()

    # -- what exchanges use

    def send(self, frame: Frame) -> None:
        """Queue a frame. Returning promises nothing: a fault or a disconnect may still keep it from the socket."""
        if self._closing is not None:
            return
        self._outbox.append(frame)
        self._outbox_bytes += len(frame.payload)
        self._empty.clear()
        self._wake.set()
        if self._outbox_bytes > COMFORTABLE_BYTES:
            self._roomy.clear()
        if self._outbox_bytes > OUTBOX_BYTES:
            self.close(WSCloseCode.POLICY_VIOLATION, "slow consumer")

    def close(self, code: int = WSCloseCode.GOING_AWAY, reason: str = "") -> None:
        """Begin the close handshake; a client that takes no part in it is cut off."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._shut(code, reason))
            self._discard()

    async def _shut(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._ws.close(code=code, message=reason.encode())
        except (TimeoutError, ConnectionError):
            self._transport.abort()

    # -- what the server uses

    async def deliver(self) -> None:
        """Empty the outbox for as long as the connection lives. Ends without an error when the client goes away."""
        try:
            while True:
                while self._outbox:
                    frame = self._outbox.popleft()
                    self._outbox_bytes -= len(frame.payload)
                    await self._write(frame)
                    if self._outbox_bytes < COMFORTABLE_BYTES:
                        self._roomy.set()
                self._empty.set()
                self._wake.clear()
                await self._wake.wait()
        except ConnectionError:
            self.close()  # the reader sees the end too and tidies up

    async def _write(self, frame: Frame) -> None:
        if self._delay_seconds:
            await asyncio.sleep(self._delay_seconds)
        if frame.opcode.name == "TEXT" and not frame.pong and time.monotonic() < self._frozen_until:
            self._counts.dropped(self.exchange, frame)
        elif frame.channel and frame.channel == self._skip_channel:
            self._skip_channel = ""
            self._counts.dropped(self.exchange, frame)
        elif self._closing is None:
            await self._ws.send_frame(frame.payload, frame.opcode)
            self._counts.written(self.exchange, frame)

    async def roomy(self) -> None:
        """Wait until the outbox is short, or the connection is at its end."""
        await self._roomy.wait()

    async def empty(self) -> None:
        """Wait until everything queued was written, or the connection is at its end."""
        await self._empty.wait()

    async def ended(self) -> None:
        """Wait for the close handshake, if one was begun; nobody waits for this connection's outbox any more."""
        self._discard()
        if self._closing is not None:
            await self._closing

    def _discard(self) -> None:
        self._outbox.clear()
        self._outbox_bytes = 0
        self._roomy.set()
        self._empty.set()

    # -- faults

    def reset(self) -> None:
        """TCP RST: no Close frame, what was in flight is gone."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._discard()
        self._transport.abort()

    def freeze(self, seconds: float) -> None:
        """No more frames for that long. They are made and dropped, so that a gap shows afterwards; pings are answered."""
        self._frozen_until = time.monotonic() + seconds

    def slow(self, seconds: float) -> None:
        """Wait so long before each frame; 0 ends it."""
        self._delay_seconds = seconds

    def skip_next(self, channel: str) -> None:
        """Drop the next frame of that channel."""
        self._skip_channel = channel
