"""Real Daedalus processes for a test: started, killed with -9, stopped, with their logs at hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from support.nats import free_port


class Process:
    """One `daedalus-<service>` process. `start` again after `kill` is a restart."""

    def __init__(self, service: str, config: Path, directory: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.service = service
        self.port = free_port()
        self.log = directory / f"{service}-{self.port}.log"
        self._command = [
            sys.executable,
            *("-m", f"daedalus_{service}", "--config", str(config), "--instance", f"{service}-test"),
            *("--http-port", str(self.port), *arguments),
        ]
        self._environment = {**os.environ, "TMPDIR": str(directory), **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for starts in self.log.parent.glob("*.starts"):
            starts.unlink()  # else the governor holds a process back that a test kills ten times a minute
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)

    def wait_ready(self, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while (said := self.get("/readyz")) != "ok\n":
            assert self._process is not None
            assert self._process.poll() is None, f"{self.service} ended:\n{self.log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"{self.service} is not ready: {said}\n{self.log.read_text()[-4000:]}"
            time.sleep(0.05)

    def get(self, path: str) -> str:
        """What the process answers, whatever the status; '' when it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return ""

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = [line for line in self.get("/metrics").splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """`kill -9`."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def stop(self, seconds: float = 60.0) -> int:
        """SIGTERM, and the exit code."""
        assert self._process is not None
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"{self.service} did not stop:\n{self.log.read_text()[-4000:]}") from None

    def wait(self, seconds: float = 60.0) -> int:
        """Wait for the process to end by itself; its exit code."""
        assert self._process is not None
        return self._process.wait(seconds)
