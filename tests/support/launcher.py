"""`python -m <module>` as a process of its own, without the second that its imports take on a slow core.

A server of `multiprocessing` has imported the libraries, and no module of Daedalus; each process is forked from it, then runs
the module from its first line. Signals, exit code, environment and output are those of any other process.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_IMPORTED = (
    "daedalus_writer",  # its `__init__`, which has a word to say on how pyarrow begins
    *("pyarrow.parquet", "nats", "aiohttp", "msgspec", "structlog", "yaml", "prometheus_client", "boto3"),
)
_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(list(_IMPORTED))


class Launched:
    """Has the face of `subprocess.Popen`."""

    def __init__(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], out: Path, err: Path
    ) -> None:
        """What it prints is appended to `out` and `err`."""
        told = (module, list(arguments), dict(environment), str(out), str(err))
        self._process = _FORKING.Process(target=_run, args=told, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        self._asked = threading.Lock()
        _launched.append(self)

    def poll(self) -> int | None:
        with self._asked:  # its end can be read once
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        multiprocessing.connection.wait([self._process.sentinel], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def begin() -> None:
    """Let the server import while the caller does something else. Not before a fork: its child would take it for its own."""
    multiprocessing.forkserver.ensure_running()


class Ended(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(module: str, *arguments: str, seconds: float = 60.0) -> Ended:
    """To its end. Raises subprocess.TimeoutExpired."""
    with tempfile.TemporaryDirectory() as directory:
        out, err = Path(directory, "out"), Path(directory, "err")
        launched = Launched(module, arguments, os.environ, out, err)
        try:
            code = launched.wait(seconds)
        finally:
            launched.kill()
        return Ended(code, out.read_text(), err.read_text())


def _run(module: str, arguments: Sequence[str], environment: Mapping[str, str], out: str, err: str) -> None:
    os.setsid()  # a Ctrl-C at the terminal is not meant for it
    for path, number in ((out, 1), (err, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


_launched: list[Launched] = []


@atexit.register
def _kill_all() -> None:
    """Before `multiprocessing` would wait for them; one of them may be frozen."""
    for launched in _launched:
        with contextlib.suppress(ProcessLookupError):
            launched.kill()
