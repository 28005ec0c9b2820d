"""One Daedalus process on this machine: started, asked, stopped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from local.nats_server import free_port

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Process:
    """`python -m daedalus_<service>` with a port of its own for /metrics and /readyz; its log goes to a file."""

    def __init__(
        self,
        service: str,
        config: Path,
        directory: Path,
        *arguments: str,
        name: str = "",
        port: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.service = service
        self.name = name or service
        self.port = port or free_port()
        self.log = directory / f"{self.name}.log"
        self._command = [
            sys.executable,
            *("-m", f"daedalus_{service}", "--config", str(config), "--instance", self.name),
            *("--http-port", str(self.port), *arguments),
        ]
        self._environment = {**os.environ, "TMPDIR": str(directory), **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, in a session of its own: a Ctrl-C at the terminal is ours to pass on, in order."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def get(self, path: str) -> str:
        """What it answers, whatever the status; '' when it does not."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}{path}", timeout=5
            ) as response:  # our own address
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return ""

    def ready(self) -> bool:
        return self.get("/readyz") == "ok\n"

    def metrics(self, name: str) -> dict[tuple[str, str], float]:
        """A metric by its labels (exchange, channel), '' for one that it does not have; other labels are added up."""
        found: dict[tuple[str, str], float] = {}
        for sample, labels, value in _SAMPLE.findall(self.get("/metrics")):
            if sample == name:
                named = dict(_LABEL.findall(labels))
                key = (named.get("exchange", ""), named.get("channel", ""))
                found[key] = found.get(key, 0.0) + float(value)
        return found

    def metric(self, name: str) -> float:
        """The sum of a metric over all its labels."""
        return sum(self.metrics(name).values())

    def kill(self) -> None:
        """`kill -9`, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def terminate(self) -> None:
        """Ask for a clean stop."""
        if self.exit_code is None:
            assert self._process is not None
            self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> int:
        """Wait until it ended; its exit code. Raises subprocess.TimeoutExpired."""
        assert self._process is not None
        return self._process.wait(seconds)

    def told(self, characters: int = 4000) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""
