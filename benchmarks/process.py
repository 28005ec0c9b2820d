"""A process under measurement: its CPU time, its peak memory, what it writes."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.1
_CPU = ("user", "system", "children_user", "children_system")


class Measured:
    """Runs from the start; `end` or `wait` give the CPU seconds of its whole life."""

    def __init__(self, command: Sequence[str], directory: Path) -> None:
        self.log = directory / "process.log"
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                list(command), stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(directory)}
            )
        self._process = psutil.Process(self._popen.pid)
        self.peak_rss_bytes = 0
        self.written_bytes = 0
        """What reached the page cache on its way to the device; not lowered when a file is deleted soon after."""
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def cpu_seconds(self) -> float:
        """Until now; user and system, of all threads and of ended children."""
        times = self._process.cpu_times()
        return float(sum(getattr(times, field) for field in _CPU))

    def end(self) -> float:
        """Ask for a clean stop and wait; returns the CPU seconds of its life."""
        self._popen.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Safe to call whatever has happened."""
        self._over.set()
        if self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait()

    def wait(self, timeout_seconds: float = 1200) -> float:
        """Until it ends by itself; returns the CPU seconds of its life. Raises RuntimeError when it failed."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            pid, status, usage = os.wait4(self._popen.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                raise RuntimeError(f"still running after {timeout_seconds:.0f} s")
            time.sleep(0.02)
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        self._over.set()
        self._sampler.join()
        if self._popen.returncode != 0:
            raise RuntimeError(f"exit code {self._popen.returncode}: {self.log.read_text()[-2000:]}")
        self.peak_rss_bytes = max(self.peak_rss_bytes, usage.ru_maxrss * 1024)
        return usage.ru_utime + usage.ru_stime

    def _sample(self) -> None:
        io = Path(f"/proc/{self._popen.pid}/io")
        while not self._over.wait(SAMPLE_SECONDS):
            try:
                self.peak_rss_bytes = max(self.peak_rss_bytes, self._process.memory_info().rss)
                fields = dict(line.split(": ") for line in io.read_text().splitlines())
            except (psutil.Error, OSError):
                return
            self.written_bytes = int(fields["write_bytes"])
