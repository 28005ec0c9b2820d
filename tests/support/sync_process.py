"""A real `daedalus-sync` process for a test, killable, with its own configuration."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from support.s3 import ACCESS_KEY, SECRET_KEY


class SyncProcess:
    """Started by `start()`; its log is one file over all its starts."""

    def __init__(self, directory: Path, nats_url: str, storage: dict[str, object]) -> None:
        self.root = directory / "data"
        self.root.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._log = directory / "sync.log"
        self._config = directory / "config.yaml"
        document = {
            "nats": {"url": nats_url},
            "storage": {"root": str(self.root), **storage},
            "supervisor": {"poll_seconds": 0.2, "sync_shutdown_timeout": 20},
        }
        self._config.write_text(yaml.safe_dump(document))
        self._process: subprocess.Popen[bytes] | None = None
        self._told = 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def start(self, *, secret_key: str = SECRET_KEY) -> None:
        starts = self._directory / f"starts-{time.monotonic_ns()}"  # the governor would hold back the sixth start
        starts.mkdir()
        environment = os.environ | {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": secret_key,
            "TMPDIR": str(starts),
        }
        self._told = len(self.log)
        command = [sys.executable, "-m", "daedalus_sync", "--config", str(self._config), "--log-level", "debug"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def kill(self) -> None:
        """`kill -9`, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> int:
        """A clean stop; returns the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)

    def wait(self) -> int:
        """Wait for an end that it comes to by itself."""
        assert self._process is not None
        return self._process.wait(20)

    def ready(self) -> str:
        """What /readyz says; '' before the process answers."""
        return self._get("/readyz")

    def metric(self, name: str) -> float:
        """A metric without labels, or the sum over its labels; 0 before the process answers."""
        found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", self._get("/metrics"), re.MULTILINE)
        return sum(map(float, found))

    def _get(self, path: str) -> str:
        port = re.search(r"service was started.*http_port=(\d+)", self.log[self._told :])
        if port is None:
            return ""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}{path}", timeout=5) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return ""
