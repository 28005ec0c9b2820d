"""The project of docker-compose.yml under test: a name, a data folder and ports of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testcontainers.compose import DockerCompose

from e2e.images import ROOT

USER = os.getuid() or 10001
"""Whom the containers run as: ourselves, but never root."""


class Project:
    """Built and started by `up()`, gone after `down()`. Its .env is ours, whatever the developer's says."""

    def __init__(self, name: str, folder: Path, files: list[str], settings: str = "") -> None:
        self.name = name
        self.data = folder / "data"
        environment = folder / "project.env"
        environment.write_text(
            f"COMPOSE_PROJECT_NAME={name}\nDAEDALUS_DATA={self.data}\nDAEDALUS_UID={USER}\nDAEDALUS_GID={USER}\n"
            f"NATS_PORT=0\nSUPERVISOR_PORT=0\nSIMULATOR_PORT=0\nS3_PORT=0\nPROMETHEUS_PORT=0\n{settings}"
        )
        self._compose = DockerCompose(ROOT, files, env_file=str(environment))
        self.started_seconds = 0.0
        """How long it took until every container was healthy."""

    @property
    def ready(self) -> Path:
        return self.data / "raw" / "ready"

    @property
    def active(self) -> Path:
        return self.data / "raw" / "active"

    def up(self) -> None:
        """Build, then start and wait until all is healthy. Fails with the ends of the logs."""
        try:
            self.compose("build", "--quiet")
            start = time.monotonic()
            self._compose.start()
            self.started_seconds = time.monotonic() - start
        except subprocess.CalledProcessError as error:
            raise AssertionError(f"{error.stderr.decode()[-2000:]}\n{self.log_tails()}") from error

    def down(self) -> None:
        self.compose("--profile", "*", "down", "--volumes")

    def compose(self, *arguments: str) -> str:
        """Run a compose command; its output."""
        command = [*self._compose.docker_compose_command(), "--ansi", "never", *arguments]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode()

    def containers(self) -> dict[str, dict[str, Any]]:
        """Service → what `docker inspect` says of its container, stopped ones too."""
        identifiers = self.compose("ps", "--all", "--quiet").split()
        if not identifiers:
            return {}
        inspected = json.loads(
            subprocess.run(["docker", "inspect", *identifiers], check=True, capture_output=True).stdout
        )
        return {container["Config"]["Labels"]["com.docker.compose.service"]: container for container in inspected}

    def memory_percent(self) -> dict[str, float]:
        """Running service → how much of its memory limit it uses, as `docker stats` has it."""
        names = {container["Name"].lstrip("/"): service for service, container in self.containers().items()}
        command = ["docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemPerc}}"]
        stats = subprocess.run(command, check=True, capture_output=True).stdout.decode()
        rows = [line.split() for line in stats.splitlines()]
        return {names[name]: float(percent.rstrip("%")) for name, percent in rows if name in names}

    def kill(self, service: str) -> None:
        """`kill -9` of the process below the container's init: what Docker sees is a crash, not a stop."""
        self.compose("exec", "-T", service, "sh", "-c", "kill -9 $(cat /proc/1/task/1/children)")

    def address(self, service: str, port: int) -> str:
        """Where a published port is on this host, as host:port."""
        host, published = self._compose.get_service_host_and_port(service, port)
        return f"{host}:{published}"

    def get(self, service: str, port: int, path: str, *, post: bool = False) -> bytes:
        address = f"http://{self.address(service, port)}{path}"
        with urllib.request.urlopen(
            urllib.request.Request(address, method="POST" if post else "GET"), timeout=30
        ) as answer:
            body: bytes = answer.read()
            return body

    def log_tails(self, lines: int = 25) -> str:
        """What happened last, of every container: for the report of a failure."""
        states = [
            f"{service}: {json.dumps(container['State'].get('Health', container['State']))[:600]}"
            for service, container in self.containers().items()
        ]
        return "\n".join([*states, self.compose("logs", "--no-color", "--tail", str(lines))])


def wait_for(what: str, condition: Callable[[], Any], seconds: float, pause_seconds: float = 0.5) -> Any:
    """Ask until the answer is true, and return it. Fails after `seconds`."""
    deadline = time.monotonic() + seconds
    last: Any = None
    while time.monotonic() < deadline:
        try:
            last = condition()
        except (OSError, urllib.error.URLError) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(pause_seconds)
    raise AssertionError(f"expected {what} within {seconds:.0f} s, last was {last!r}")
