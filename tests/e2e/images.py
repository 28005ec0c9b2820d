"""Where the images of other projects' servers come from: a registry, or compose/offline.yml."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASE = "docker-compose.yml"
PULL_SECONDS = 120


@functools.cache
def files(*overrides: str) -> list[str]:
    """The compose files to use on this host, for the overrides that are asked for."""
    return [BASE, *overrides, *(["compose/offline.yml"] if offline() else [])]


@functools.cache
def offline() -> bool:
    """OFFLINE=1 or OFFLINE=0 says so; else a registry is there when the smallest image we need is, or can be pulled."""
    if (said := os.environ.get("OFFLINE", "")) != "":
        return said != "0"
    config = subprocess.run(
        ["docker", "compose", "--env-file", os.devnull, "-f", BASE, "config", "--format", "json"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    image = json.loads(config.stdout)["services"]["nats"]["image"]
    if _succeeds(["docker", "image", "inspect", image], seconds=30):
        return False
    return not _succeeds(["docker", "pull", "--quiet", image], seconds=PULL_SECONDS)


def _succeeds(command: list[str], seconds: float) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True, timeout=seconds).returncode == 0
    except subprocess.TimeoutExpired:
        return False
