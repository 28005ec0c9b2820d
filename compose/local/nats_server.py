"""A nats-server with JetStream on this machine, from its wheel: its own port, its own store, killable."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

CONFIG = """
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor_port}"
max_payload: 1MB
jetstream {{
  store_dir: "{store}"
  max_memory_store: 64MB
  max_file_store: {max_file}
  sync_interval: {sync_interval}
}}
"""


PORTS = range(10_000, 32_000)
"""Below those that Linux (from 32,768) and macOS (from 49,152) give to outgoing connections: one of these could be had by
somebody before the server listens there, or while it is started again."""


def free_port(among: range = PORTS) -> int:
    """A port on 127.0.0.1 where nobody listens."""
    chance = random.SystemRandom()
    while True:
        with socket.socket() as probe:
            port = chance.choice(among)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def port_or_free(port: int) -> int:
    """The port, if nobody listens there, else any free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return free_port()
    return port


class NatsServer:
    """Started by `start()`; `kill()` is -9; started again it comes up on the same port with the same store."""

    def __init__(
        self, directory: Path, *, port: int = 0, sync_interval: str = "always", max_file: str = "20GB"
    ) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.monitor_port = free_port()
        self.store = directory / "jetstream"
        directory.mkdir(parents=True, exist_ok=True)
        self._config = directory / "nats.conf"
        self._config.write_text(
            CONFIG.format(
                port=self.port,
                monitor_port=self.monitor_port,
                store=self.store,
                max_file=max_file,
                sync_interval=sync_interval,
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start and wait until JetStream is ready."""
        binary = shutil.which("nats-server", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        assert binary is not None, "nats-server is missing: run `make env`"
        with (self.directory / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary, "-c", str(self._config)], stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 30
        while not self._healthy():
            assert self._process.poll() is None, (self.directory / "nats.log").read_text()
            assert time.monotonic() < deadline, "nats-server did not become healthy in 30 s"
            time.sleep(0.02)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor_port}/healthz", timeout=1) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """`kill -9`, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(30)
