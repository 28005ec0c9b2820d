"""A TCP proxy that fails on purpose: each new connection takes the next fault from a list, and none when it is empty."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Literal

Fault = Literal["cut", "lose_response", "slow_down"]

_CUT_BYTES = 100_000
_SLOW_DOWN_BODY = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
_SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s"
)


class FaultProxy:
    """cut: the connection ends after 100 kB of the request. lose_response: the request gets through, its answer does
    not come back. slow_down: 503, and nothing gets through.
    """

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self.faults: list[Fault] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                fault = self.faults.pop(0) if self.faults else None
                threading.Thread(target=self._serve, args=(client, fault), daemon=True).start()

    def _serve(self, client: socket.socket, fault: Fault | None) -> None:
        with client, contextlib.suppress(OSError):
            if fault == "slow_down":
                client.recv(65_536)
                client.sendall(_SLOW_DOWN % (len(_SLOW_DOWN_BODY), _SLOW_DOWN_BODY))
                return
            with socket.create_connection(("127.0.0.1", self._upstream_port)) as server:
                threading.Thread(target=self._requests, args=(client, server, fault), daemon=True).start()
                for answer in _chunks(server):
                    if fault == "lose_response" and not answer.startswith(b"HTTP/1.1 100"):
                        break
                    client.sendall(answer)
                client.shutdown(socket.SHUT_RDWR)

    def _requests(self, client: socket.socket, server: socket.socket, fault: Fault | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            for request in _chunks(client):
                server.sendall(request)
                passed += len(request)
                if fault == "cut" and passed > _CUT_BYTES:
                    break
            server.shutdown(socket.SHUT_RDWR)


def _chunks(source: socket.socket) -> Iterator[bytes]:
    while data := source.recv(65_536):
        yield data
