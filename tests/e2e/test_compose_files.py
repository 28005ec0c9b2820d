"""The compose files by themselves: Compose reads every combination, and .env.example tells the truth."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from daedalus import config_file
from e2e.images import ROOT

pytestmark = pytest.mark.e2e

OVERRIDES = ("compose/simulated.yml", "compose/offline.yml")
PROFILES = ("s3", "monitoring")


def config(files: list[str], profiles: list[str], settings: str = os.devnull) -> dict[str, object]:
    command = ["docker", "compose", "--env-file", settings]
    command += [word for file in files for word in ("-f", file)] + [
        word for name in profiles for word in ("--profile", name)
    ]
    done = subprocess.run([*command, "config"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "a variable without a default"
    document: dict[str, object] = yaml.safe_load(done.stdout)
    return document


@pytest.mark.parametrize(
    "overrides", [*itertools.combinations(OVERRIDES, 0), *itertools.combinations(OVERRIDES, 1), OVERRIDES]
)
@pytest.mark.parametrize("profiles", [(), ("s3",), ("monitoring",), PROFILES])
def test_every_combination_is_valid(overrides: tuple[str, ...], profiles: tuple[str, ...]) -> None:
    """Compose accepts the files with each set of overrides and profiles, without a warning."""
    config(["docker-compose.yml", *overrides], list(profiles))


def test_the_example_names_every_variable_with_its_default() -> None:
    """Each variable of docker-compose.yml stands in .env.example, with the same default, and no other does."""
    text = re.sub(r"^\s*#.*$", "", (ROOT / "docker-compose.yml").read_text(), flags=re.MULTILINE)
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    passed_on = re.findall(r"\b((?:AWS|DAEDALUS)_\w+):(?=\s*(?:$|[,}]))", text, flags=re.MULTILINE)
    used = dict.fromkeys(passed_on, "") | used | {"COMPOSE_PROFILES": ""}
    example = dict(re.findall(r"^#([A-Z0-9_]+)=(.*)$", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    assert example == used


def test_each_exchange_of_the_configuration_has_a_collector() -> None:
    """config.yaml and docker-compose.yml name the same exchanges, and so does what simulates them."""
    services = config(["docker-compose.yml"], [])["services"]
    assert isinstance(services, dict)
    collectors = {name.removeprefix("collector-") for name in services if name.startswith("collector-")}
    for path in (Path("config.yaml"), Path("compose/simulated-config.yaml")):
        assert set(config_file.load(ROOT / path, {}).ccxt.exchanges) == collectors
    assert all(services[f"collector-{name}"]["command"] == ["--exchange", name] for name in collectors)


def test_s3_env_is_a_whole_configuration() -> None:
    """The lines of compose/s3.env switch the profile on and hand sync a destination and credentials."""
    services = config(["docker-compose.yml"], [], str(ROOT / "compose/s3.env"))["services"]
    assert isinstance(services, dict)
    assert "s3" in services
    environment = services["sync"]["environment"]
    loaded = config_file.load(
        ROOT / "config.yaml", {key: str(value) for key, value in environment.items() if value is not None}
    )
    assert loaded.storage.backend == "s3"
    assert loaded.storage.endpoint_url == "http://s3:8333"
    assert environment["AWS_SECRET_ACCESS_KEY"] == services["s3"]["environment"]["AWS_SECRET_ACCESS_KEY"]
    assert f"-bucket={loaded.storage.bucket}" in services["s3"]["command"]
