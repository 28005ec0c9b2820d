"""The composition of docker-compose.yml as plain processes: nats, a collector per exchange, writer, sync, supervisor."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from daedalus import config_file
from daedalus.config import Config
from daedalus.errors import EXIT_CONFIG, ConfigError
from local.nats_server import NatsServer, port_or_free
from local.process import Process

RESTART_SECONDS = 2.0
NATS_PORT, SUPERVISOR_PORT = 4222, 9100
_SYNC_SECONDS = 15.0
"""How long a stop waits for the last segments to reach S3; the next run sends what is left."""


class Pipeline:
    """Everything that records, below one directory. Processes that end are started again, as Docker would."""

    def __init__(self, config_path: Path, environment: dict[str, str]) -> None:
        """Raises ConfigError."""
        self.config: Config = config_file.load(config_path, {**os.environ, **environment})
        self.root = Path(self.config.storage.root)
        if not self.config.ccxt.exchanges:
            raise ConfigError([f"{config_path}: ccxt.exchanges: expected at least one exchange, was none"])
        logs = self.root / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self.nats = NatsServer(self.root / "nats", port=port_or_free(NATS_PORT))
        environment = {**environment, "DAEDALUS__NATS__URL": self.nats.url}

        def process(service: str, *arguments: str, name: str = "", port: int = 0) -> Process:
            return Process(service, config_path, logs, *arguments, name=name, port=port, environment=environment)

        self.collectors = [
            process("collector", "--exchange", exchange, name=f"collector-{exchange}")
            for exchange in self.config.ccxt.exchanges
        ]
        self.writer = process("writer")
        self.sync = process("sync")
        self.supervisor = process("supervisor", port=port_or_free(SUPERVISOR_PORT))
        self._ended: dict[str, float] = {}

    @property
    def processes(self) -> list[Process]:
        return [*self.collectors, self.writer, self.sync, self.supervisor]

    def start(self) -> None:
        self.nats.start()
        for process in self.processes:
            process.start()

    def restart_ended(self) -> list[str]:
        """Start again what ended 2 s ago or more; returns what there is to tell.

        Raises ConfigError when a process refused its configuration: starting it again cannot help.
        """
        told = []
        for process in self.processes:
            code = process.exit_code
            if code is None:
                continue
            if code == EXIT_CONFIG:
                raise ConfigError([f"{process.name} refused its configuration:\n{process.told(2000)}"])
            ended = self._ended.setdefault(process.name, time.monotonic())
            if time.monotonic() - ended >= RESTART_SECONDS:
                del self._ended[process.name]
                process.start()
                told.append(f"{process.name} ended with exit code {code} and was started again; its log: {process.log}")
        return told

    def stop(self) -> list[str]:
        """Stop along the flow, each once the one before it has drained; returns what did not end as it should."""
        for collector in self.collectors:
            collector.terminate()
        told = [problem for collector in self.collectors if (problem := self._ended_badly(collector))]
        wait_until(lambda: self.writer.metric("daedalus_writer_pending_messages") == 0, 60.0)
        self.writer.terminate()
        told += filter(None, [self._ended_badly(self.writer)])
        if self.config.storage.backend == "s3":
            wait_until(lambda: self.sync.metric("daedalus_sync_pending_segments") == 0, _SYNC_SECONDS)
        for process in (self.sync, self.supervisor):
            process.terminate()
        told += [problem for process in (self.sync, self.supervisor) if (problem := self._ended_badly(process))]
        self.nats.stop()
        return told

    def kill(self) -> None:
        """End everything at once; the next start recovers."""
        for process in self.processes:
            if process.exit_code is None:
                process.kill()
        self.nats.stop()

    @staticmethod
    def _ended_badly(process: Process) -> str | None:
        try:
            code = process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()
            return f"{process.name} did not stop in 120 s and was killed; its log: {process.log}"
        return f"{process.name} ended with exit code {code}; its log: {process.log}" if code else None


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll a callable until it is true or the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
