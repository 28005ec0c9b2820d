"""`make demo`, and the same load with everything killed under it."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import duckdb

from daedalus.config_file import load
from daedalus_writer.segment_file import read_rows
from local.demo import Simulator, configuration
from local.figures import how_to_query, in_jetstream, in_parquet, query, table
from local.pipeline import Pipeline, wait_until

REPOSITORY = Path(__file__).parents[3]


def test_demo_ends_with_nothing_lost(tmp_path: Path) -> None:
    """The demo ends by itself with a table in which every stage has what the exchange sent, and a query that runs."""
    command = [sys.executable, "-m", "local", "demo", "--seconds", "5", "--root", str(tmp_path / "demo")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "compose")}
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = re.findall(r"^(\w+) +(\w*) +([\d,]+) +([\d,]+) +([\d,]+) +([\d,]+) +([-\d,]+)$", ended.stdout, re.MULTILINE)
    assert [line[:2] for line in lines] == [
        *[(name, channel) for name in ("binance", "coinbaseadvanced") for channel in ("orderbook", "ticker", "trade")],
        ("all", ""),
    ]
    for *_, sent, received, stored, committed, lost in lines:
        assert sent == received == stored == committed != "0"
        assert lost == "0"
    assert [path for path in (tmp_path / "demo/raw/active").rglob("*") if path.is_file()] == []
    printed = re.search(r'python -c "import duckdb; duckdb\.sql\(\\"(.*)\\"\)\.show\(\)"', ended.stdout)
    assert printed is not None
    rows = duckdb.execute(printed[1]).fetchall()
    assert len(rows) == 6
    assert sum(row[2] for row in rows) == int(lines[2][2].replace(",", "")) + int(lines[5][2].replace(",", ""))


def test_everything_killed_under_load(tmp_path: Path) -> None:
    """The writer, then a collector, then nats are killed with -9 in the middle of the demo's load: after their restart
    Parquet holds what JetStream holds, each record once, and the collector's absence is written down. The README's examples run on what was recorded."""
    simulator = Simulator(tmp_path)
    pipeline = Pipeline(configuration(tmp_path, simulator.url), {"DAEDALUS__INGESTION__SEGMENT_MAX_AGE_SECONDS": "2"})
    try:
        pipeline.start()
        assert wait_until(lambda: all(process.ready() for process in pipeline.processes), 30), told(pipeline)
        for kill in (pipeline.writer.kill, pipeline.collectors[1].kill, pipeline.nats.kill):
            under_load(pipeline, kill)
        simulator.ask("POST", "/sim/pause")
        assert wait_until(
            lambda: all(one.metric("daedalus_collector_outbox_records") == 0 for one in pipeline.collectors), 15
        )
        stored = asyncio.run(in_jetstream(pipeline))
        assert pipeline.stop() == []
    except BaseException:
        pipeline.kill()
        raise
    finally:
        simulator.stop()
    assert sum(stored.values()) > 2_000
    assert in_parquet(tmp_path) == stored
    ids = Counter(
        (row["exchange"], row["symbol"], row["id"])
        for path in (tmp_path / "raw/ready/ccxt/trade").rglob("*.parquet")
        for row in read_rows(path)
    )
    assert max(ids.values()) == 1
    gaps = [row for path in (tmp_path / "raw/ready/ccxt/gap").rglob("*.parquet") for row in read_rows(path)]
    down = {(gap["symbol"], gap["channel"]) for gap in gaps if gap["cause"] == "collector_down"}
    assert {gap["exchange"] for gap in gaps if gap["cause"] == "collector_down"} == {"coinbaseadvanced"}
    assert down == {
        (f"{base}-USD", channel) for base in ("BTC", "ETH", "SOL") for channel in ("trade", "ticker", "orderbook")
    }
    for code, word in zip(readme_examples(), ("BTC-USD", "BTC-USD", "collector_down"), strict=True):
        ran = subprocess.run(
            [sys.executable, "-c", code], cwd=working_directory(tmp_path), capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        assert word in ran.stdout


def readme_examples() -> list[str]:
    """The Python that the README shows: DuckDB, Polars, pyarrow."""
    return re.findall(r"^```python\n(.*?)^```", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def working_directory(root: Path) -> Path:
    """A directory in which `data` is the root, as the README has it."""
    directory = root / "working"
    directory.mkdir(exist_ok=True)
    if not (directory / "data").exists():
        (directory / "data").symlink_to(root)
    return directory


def under_load(pipeline: Pipeline, kill: Callable[[], None]) -> None:
    """Two seconds of load, the kill, and on until everything is ready again."""
    time.sleep(2)
    kill()
    if kill == pipeline.nats.kill:
        time.sleep(1)
        pipeline.nats.start()

    def recovered() -> bool:
        pipeline.restart_ended()
        return all(process.exit_code is None and process.ready() for process in pipeline.processes)

    assert wait_until(recovered, 45), told(pipeline)


def told(pipeline: Pipeline) -> str:
    return "\n".join(f"--- {one.name}: {one.get('/readyz')}\n{one.told(1500)}" for one in pipeline.processes)


def test_table_counts_what_is_lost_and_what_is_doubled() -> None:
    """The demo's table shows a loss, and a doubling as a negative one; neither hides the other."""
    sent = Counter({("a", "trade"): 10, ("b", "trade"): 10})
    text, wrong = table({"sent": sent, "in Parquet": Counter({("a", "trade"): 8, ("b", "trade"): 12})})
    assert wrong == 4
    assert re.findall(r"(-?\d+)$", text, re.MULTILINE) == ["2", "-2", "0"]
    assert table({"sent": sent, "in Parquet": sent})[1] == 0


def test_nothing_recorded_is_said(tmp_path: Path) -> None:
    """Without a single segment there is no query to offer, and that is said."""
    assert how_to_query(tmp_path).startswith("No segment was committed yet")
    assert str(tmp_path) in query(tmp_path)


def test_demo_configuration_is_valid(tmp_path: Path) -> None:
    """The demo's configuration passes the same checks as a user's."""
    config = load(configuration(tmp_path, "http://127.0.0.1:1"), {})
    assert set(config.ccxt.exchanges) == {"binance", "coinbaseadvanced"}
