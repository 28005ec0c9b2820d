"""compose/prometheus, compose/grafana and docs/monitoring.md: valid, and about metrics and checks that exist."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

from daedalus_supervisor import checks
from support.promtool import NEEDS_PROMTOOL

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "compose" / "prometheus"
GRAFANA = ROOT / "compose" / "grafana"
DASHBOARD = GRAFANA / "dashboards" / "daedalus.json"
NAME = re.compile(r"\bdaedalus_[a-z0-9_]+")


def promtool(*arguments: str) -> None:
    run = subprocess.run(["promtool", *arguments], check=False, capture_output=True, text=True)
    assert run.returncode == 0, f"{run.stdout}{run.stderr}"


def rules() -> list[dict[str, str]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> list[str]:
    """Every query of the dashboard."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


@cache
def defined() -> frozenset[str]:
    """Every metric: the supervisor's as it exposes them, the others' as their sources name them, in full or after the
    collector's prefix.
    """
    names = set(NAME.findall((Path(__file__).parent / "golden" / "metrics.txt").read_text()))
    for service in ("collector", "writer", "sync"):
        folder = ROOT / "services" / service / f"daedalus_{service}"
        text = "".join(source.read_text() for source in folder.glob("*.py"))
        names |= set(NAME.findall(text))
        names |= {f"{folder.name}_{part}" for part in re.findall(r'[("]([a-z][a-z_]+)",\s+"[A-Z]', text)}
        names |= {f"{folder.name}_{part}" for part in re.findall(r"\{PREFIX\}_([a-z_]+)", text)}
        names |= {f"{folder.name}_{part}" for part in re.findall(r'_counter\("([a-z_]+)"', text)}
    return frozenset(names) | set(NAME.findall((ROOT / "shared" / "daedalus" / "service.py").read_text()))


@NEEDS_PROMTOOL
def test_promtool_accepts_the_configuration() -> None:
    """prometheus.yml and its rules are valid."""
    promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))


@NEEDS_PROMTOOL
def test_alerts_fire_when_they_should() -> None:
    """Each alert fires on the series that it is for, and not on the one beside it."""
    promtool("test", "rules", str(Path(__file__).parent / "alerts_test.yml"))


@pytest.mark.parametrize("expression", [rule["expr"] for rule in rules()] + expressions())
def test_every_queried_metric_exists(expression: str) -> None:
    """An alert or a panel about a metric that nobody exposes would stay silent for ever."""
    for name in NAME.findall(expression):
        family = re.sub(r"_(total|bucket|count|sum)$", "", name)
        assert family in defined() or name in defined(), name


def test_every_alert_is_tested_and_documented() -> None:
    """Each alert has a series that fires it, and a line in the document."""
    tests = (Path(__file__).parent / "alerts_test.yml").read_text()
    document = (ROOT / "docs" / "monitoring.md").read_text()
    for rule in rules():
        assert rule["alert"] in tests, rule["alert"]
        assert f"`{rule['alert']}`" in document, rule["alert"]


@pytest.mark.parametrize("check", checks.NAMES)
def test_every_check_is_documented(check: str) -> None:
    """Each finding that can appear has its line in the document."""
    assert f"`{check}`" in (ROOT / "docs" / "monitoring.md").read_text()


def test_every_service_is_scraped() -> None:
    """Each process of docker-compose.yml that has metrics is a target."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    expected = {name for name in services if re.match(r"collector-|(writer|sync|supervisor)$", name)}
    jobs = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    scraped = {name for job in jobs for discovery in job["dns_sd_configs"] for name in discovery["names"]}
    assert scraped == expected


def test_dashboard_is_provisioned() -> None:
    """The panels ask the datasource that is provisioned, and do not overlap."""
    (datasource,) = yaml.safe_load((GRAFANA / "datasources" / "prometheus.yaml").read_text())["datasources"]
    dashboard = json.loads(DASHBOARD.read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        assert panel.get("datasource", {"uid": datasource["uid"]})["uid"] == datasource["uid"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
