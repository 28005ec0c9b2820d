"""The supervisor's process: its page, its metrics, its command line, its end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from daedalus_supervisor import status
from support import launcher
from support.eventually import eventually
from support.nats import NatsServer, free_port
from support.processes import Process
from support.promtool import NEEDS_PROMTOOL


def configured(directory: Path, url: str) -> Path:
    file = directory / "config.yaml"
    file.write_text(f'nats: {{url: "{url}"}}\nstorage: {{root: {directory}}}\nsupervisor: {{poll_seconds: 0.3}}\n')
    return file


@pytest.fixture
def supervisor(nats_server: NatsServer, tmp_path: Path) -> Iterator[Process]:
    process = Process("supervisor", configured(tmp_path, nats_server.url), tmp_path)
    process.start()
    yield process
    process.kill()


def command(*arguments: str) -> launcher.Ended:
    return launcher.run("daedalus_supervisor", "status", *arguments)


async def test_page_and_command(supervisor: Process, tmp_path: Path) -> None:
    """The page, status.json and the command tell the same report; the supervisor sees itself."""
    url = f"http://127.0.0.1:{supervisor.port}"
    await eventually(lambda: '"state":"ready"' in supervisor.get("/status.json"), "the supervisor is seen")
    assert status.decode(supervisor.get("/status.json").encode()).healthy
    assert "<h1>Daedalus</h1>" in supervisor.get("/")
    assert supervisor.ready()

    shown = command("--url", url)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Health: 0/0 collectors healthy" in shown.stdout

    asked = command("--config", str(tmp_path / "config.yaml"), "--json")
    assert asked.returncode == 1, "asked directly, a writer that is not there is told at once"
    states = {service["service"]: service["state"] for service in json.loads(asked.stdout)["services"]}
    assert states == {"supervisor": "ready", "writer": "absent"}

    assert supervisor.stop() == 0


def test_command_without_supervisor(tmp_path: Path) -> None:
    """Exit 2 when nobody can be asked, and 78 for a bad configuration."""
    missing = command("--url", f"http://127.0.0.1:{free_port()}")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "expected a supervisor" in missing.stderr
    bad = tmp_path / "bad.yaml"
    bad.write_text("nats: {shards: 0}\n")
    assert command("--config", str(bad)).returncode == 78


async def test_before_nats_is_there(tmp_path: Path) -> None:
    """Without NATS it reports that, on the page and as its readiness, and ends when told to."""
    server = NatsServer(tmp_path / "nats")
    process = Process("supervisor", configured(tmp_path, server.url), tmp_path)
    process.start()
    try:
        await eventually(lambda: "broker_away" in process.get("/status.json"), "NATS is missed")
        assert "is not connected" in process.get("/readyz")
        server.start()
        await eventually(process.ready, "NATS was found")
        assert process.stop() == 0
    finally:
        process.kill()
        server.stop()


@NEEDS_PROMTOOL
async def test_whole_exposition_passes_promtool(supervisor: Process) -> None:
    """/metrics as Prometheus gets it, the shared families included."""
    await eventually(supervisor.ready, "ready")
    lint = subprocess.run(
        ["promtool", "check", "metrics"], check=False, input=supervisor.get("/metrics"), capture_output=True, text=True
    )
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")
