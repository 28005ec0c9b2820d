"""Real Daedalus processes for a test: killed, stopped, and loud when they do not do as expected."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from local.nats_server import free_port
from local.process import Process as LocalProcess
from support.launcher import Launched


class Process(LocalProcess):
    """`start` again after `kill` is a restart."""

    def __init__(
        self,
        service: str,
        config: Path,
        directory: Path,
        *arguments: str,
        name: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`name` is the instance; two processes under one name are one replica, started again."""
        port = free_port()
        name = name or f"{service}-{port}"
        super().__init__(service, config, directory, *arguments, name=name, port=port, environment=environment)
        self._directory = directory

    def start(self) -> None:
        for starts in self._directory.glob("*.starts"):
            starts.unlink()  # else the governor holds a process back that a test kills ten times a minute
        module, *arguments = self._command[self._command.index("-m") + 1 :]
        launched = Launched(module, arguments, self._environment, self.log, self.log)
        self._process = launched  # type: ignore[assignment]  # the same face

    def forget(self, variable: str) -> str:
        """The next start is without this variable in its environment; returns what it was."""
        return self._environment.pop(variable, "")

    @property
    def running(self) -> bool:
        return self.exit_code is None

    def wait_ready(self, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not self.ready():
            assert self.running, f"{self.name} ended:\n{self.told()}"
            assert time.monotonic() < deadline, f"{self.name} is not ready: {self.get('/readyz')}\n{self.told()}"
            time.sleep(0.05)

    def stop(self, seconds: float = 60.0) -> int:
        """SIGTERM, and the exit code."""
        self.terminate()
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop:\n{self.told()}") from None
