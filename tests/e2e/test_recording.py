"""The whole project, with simulated exchanges: start, record, crash, stop. The tests of this file follow each other."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from e2e.images import files
from e2e.project import USER, Project, wait_for
from e2e.recorded import Identity, acknowledged, in_files

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

ONE_SHOTS = {"folders"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project("daedalus-e2e", tmp_path_factory.mktemp("recording"), files("compose/simulated.yml"))
    try:
        project.up()
        yield project
    finally:
        project.down()


def test_every_container_is_healthy_soon(project: Project) -> None:
    """Two minutes after `docker compose up` every container is healthy, and the folders' one-shot has ended well."""
    states = {service: container["State"] for service, container in project.containers().items()}
    assert {name: states[name]["Status"] for name in ONE_SHOTS} == dict.fromkeys(ONE_SHOTS, "exited")
    healthy = {name: state["Health"]["Status"] for name, state in states.items() if name not in ONE_SHOTS}
    assert healthy == dict.fromkeys(healthy, "healthy")
    assert len(healthy) == 7
    assert project.started_seconds < 120


def test_containers_are_confined(project: Project) -> None:
    """No container runs as root, has a capability, or can write to its own file system."""
    for service, container in project.containers().items():
        if service in ONE_SHOTS:
            continue
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert host["Memory"] > 0, service
        user = project.compose("exec", "-T", service, "sh", "-c", "id -u").strip()
        assert user in {str(USER), "10001"}, service


def test_rows_arrive_in_ready(project: Project) -> None:
    """Each exchange and channel has rows in ready/ soon, with segments of ten seconds."""
    wanted = {
        (exchange, channel)
        for exchange in ("coinbaseadvanced", "kraken")
        for channel in ("trade", "ticker", "orderbook")
    }
    wait_for("rows of every channel", lambda: wanted <= {key[:2] for key in in_files(project.ready)}, 60)


def test_the_supervisor_shows_what_runs(project: Project) -> None:
    """Its page answers on the published port, and its metrics tell of the other services."""
    assert project.get("supervisor", 9100, "/")
    assert b"daedalus_build_info" in project.get("supervisor", 9100, "/metrics")


def test_prometheus_reaches_every_process(project: Project) -> None:
    """With the profile monitoring, Prometheus has read the rules and scrapes each of our processes."""
    project.compose("--profile", "monitoring", "up", "--detach", "--build", "prometheus")

    def scraped() -> bool:
        answer = json.loads(project.get("prometheus", 9090, "/api/v1/targets?state=active"))
        targets = answer["data"]["activeTargets"]
        return len(targets) == 5 and all(target["health"] == "up" for target in targets)

    wait_for("five targets that are up", scraped, 60)
    assert json.loads(project.get("prometheus", 9090, "/api/v1/rules"))["data"]["groups"]
    project.compose("--profile", "monitoring", "rm", "--force", "--stop", "prometheus")


@pytest.mark.parametrize("service", ["writer", "nats"])
def test_a_killed_process_is_restarted(project: Project, service: str) -> None:
    """After `kill -9` Docker restarts the container, and it and the writer become healthy again."""
    restarts = project.containers()[service]["RestartCount"]
    project.kill(service)
    wait_for("the restart", lambda: project.containers()[service]["RestartCount"] == restarts + 1, 30)

    def healthy() -> bool:
        containers = project.containers()
        return all(containers[name]["State"]["Health"]["Status"] == "healthy" for name in (service, "writer"))

    wait_for(f"a healthy {service} and writer", healthy, 60)


def test_starts_are_remembered_over_a_restart(project: Project) -> None:
    """The writer's file of its starts outlives the container's restart: a crash loop can be held back."""
    instance = project.containers()["writer"]["Config"]["Hostname"]
    starts = json.loads(project.compose("exec", "-T", "writer", "cat", f"/tmp/daedalus-writer-{instance}.starts"))
    assert len(starts) >= 2


async def test_what_was_sent_is_recorded_once(project: Project) -> None:
    """After these crashes every trade that the exchanges sent, and every record that JetStream acknowledged, is one row."""
    report = json.loads(project.get("simulator", 9000, "/sim/pause", post=True))
    sent = {
        (named, symbol.replace("/", "-")): count["records"]
        for named, simulated in (("coinbaseadvanced", "coinbase"), ("kraken", "kraken"))
        for symbol, count in report["counts"][simulated]["trade"].items()
    }
    assert len(sent) == 4
    assert min(sent.values()) > 10
    await assert_all_is_recorded(project)
    rows = in_files(project.ready)
    assert Counter((exchange, symbol) for exchange, channel, symbol, *_ in rows if channel == "trade") == sent


def test_memory_stays_below_the_warning_mark(project: Project) -> None:
    """Each container uses less than three quarters of its limit."""
    percent = project.memory_percent()
    assert len(percent) == 7
    assert {service: used for service, used in percent.items() if used >= 75} == {}


async def test_a_stop_is_clean(project: Project) -> None:
    """`docker compose stop` ends every process with exit code 0 and leaves no file in active/; started again, it goes on
    where it stood."""
    project.get("simulator", 9000, "/sim/resume", post=True)
    before = sum(in_files(project.ready).values())
    wait_for("more rows", lambda: sum(in_files(project.ready).values()) > before, 60)
    project.compose("stop")
    codes = {service: container["State"]["ExitCode"] for service, container in project.containers().items()}
    assert codes == dict.fromkeys(codes, 0)
    assert [path for path in project.active.rglob("*") if path.is_file()] == []
    project.compose("start")
    wait_for("a paused simulator", lambda: project.get("simulator", 9000, "/sim/pause", post=True), 60)
    await assert_all_is_recorded(project)


async def assert_all_is_recorded(project: Project, seconds: float = 40) -> None:
    """The streams and the files hold the same records, each once, soon after the market has come to rest."""
    records: Counter[Identity] = Counter()
    rows: Counter[Identity] = Counter()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        records = await acknowledged(f"nats://{project.address('nats', 4222)}")
        rows = in_files(project.ready)
        if rows == records:
            return
        await asyncio.sleep(1)
    missing, surplus = records - rows, rows - records
    raise AssertionError(
        f"of {records.total()} acknowledged records {missing.total()} are no row, as {list(missing)[:3]}, and "
        f"{surplus.total()} rows are twice or were never acknowledged, as {list(surplus)[:3]}"
    )
