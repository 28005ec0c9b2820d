"""The HTTP face of a process: /metrics, /livez, /readyz, and the pages a service adds.

It runs in a thread of its own, so that it still answers, and says so, when the event loop does not turn.

    python -m daedalus.web http://127.0.0.1:9100/readyz      the containers' health check: exit 0 when it answers 200
"""

from __future__ import annotations

import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from daedalus.health import Health

Page = Callable[[], tuple[str, bytes]]
"""Returns the content type and the body."""


class WebServer:
    """Serves until closed. `port` 0 takes a free one; `self.port` is the one it has. `pages` may be added to later."""

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, health: Health, pages: Mapping[str, Page]
    ) -> None:
        def metrics() -> tuple[str, bytes]:
            return CONTENT_TYPE_LATEST, generate_latest(registry)

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path in ("/livez", "/readyz"):
                    problem = health.live()
                    problems = health.problems() if path == "/readyz" else {"loop": problem} if problem else {}
                    lines = [f"{name}: {why}\n" for name, why in problems.items()]
                    self._answer(503 if lines else 200, "text/plain; charset=utf-8", "".join(lines).encode() or b"ok\n")
                elif (page := metrics if path == "/metrics" else pages.get(path)) is not None:
                    self._answer(200, *page())
                else:
                    known = " ".join(["/livez", "/readyz", "/metrics", *pages])
                    self._answer(404, "text/plain; charset=utf-8", f"not here; there are: {known}\n".encode())

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Scrapes are not worth a line."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="web", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def probe(url: str) -> int:
    """0 when the address answers 200; prints what it said otherwise."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310  # our own address
            return 0 if response.status == 200 else 1
    except urllib.error.HTTPError as error:
        print(error.read().decode(errors="replace"), end="")  # noqa: T201
    except OSError as error:
        print(error)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(probe(sys.argv[1]))
