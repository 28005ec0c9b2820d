"""The supervisor's own metrics."""

from __future__ import annotations

import subprocess
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from daedalus_supervisor.discovery import Answer
from daedalus_supervisor.metrics import Metrics, Reported
from support import golden
from support.observations import LIMITS, collector, healthy, reported, seen, writer
from support.promtool import NEEDS_PROMTOOL

GOLDEN = Path(__file__).parent / "golden" / "metrics.txt"


def exposition() -> str:
    registry = CollectorRegistry()
    Metrics(registry)
    evil = Answer('"}\n', "x", ready=True)
    report = reported(healthy(seen=seen(collector(outbox=45_000), writer(), evil)))
    Reported(registry, lambda: report, LIMITS)
    lines = generate_latest(registry).decode().splitlines(keepends=True)
    return "".join(line for line in lines if "_created" not in line)


def test_exposition() -> None:
    """Every family, to the letter. Names of services that nobody knows do not become labels."""
    golden.check(GOLDEN, exposition())


@NEEDS_PROMTOOL
def test_promtool_finds_nothing() -> None:
    """Names, units and help are as Prometheus wants them."""
    lint = subprocess.run(
        ["promtool", "check", "metrics"], check=False, input=exposition(), capture_output=True, text=True
    )
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")
