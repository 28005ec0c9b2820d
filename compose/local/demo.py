"""A minute of the whole pipeline against the exchange simulator, ended by itself with a table: nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

from local.figures import CHANNELS, Figures, LiveLine, how_to_query, in_jetstream, in_parquet, table
from local.nats_server import free_port
from local.pipeline import Pipeline, wait_until

SYMBOLS = {
    "binance": ["BTC/USDT", "ETH/USDT", "SOL/USDT"],
    "coinbaseadvanced": ["BTC/USD", "ETH/USD", "SOL/USD"],
}
_READY_SECONDS = 60.0

SIMULATED = {"binance": "binance", "coinbaseadvanced": "coinbase"}
"""Configured name → the simulator's."""


def run(root: Path, seconds: float) -> int:
    """Record for `seconds`, drain, count; 0 when every record that the exchanges sent is in Parquet, once."""
    root = root.resolve()
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    simulator = Simulator(root)
    pipeline = Pipeline(configuration(root, simulator.url), {})
    try:
        pipeline.start()
        print(
            f"Recording two simulated exchanges for {seconds:.0f} s into {root}; status page http://127.0.0.1:{pipeline.supervisor.port}/"
        )
        wait_until_ready(pipeline)
        watch(pipeline, seconds)
        simulator.ask("POST", "/sim/pause")
        sent = simulator.sent()
        wait_until(lambda: sum(received(pipeline).values()) >= sum(sent.values()), 10.0)
        wait_until(
            lambda: all(one.metric("daedalus_collector_outbox_records") == 0 for one in pipeline.collectors), 15.0
        )
        columns = {
            "sent by the exchange": sent,
            "received": received(pipeline),
            "in JetStream": asyncio.run(in_jetstream(pipeline)),
        }
        problems = pipeline.stop()
    except BaseException:
        pipeline.kill()
        raise
    finally:
        simulator.stop()
    text, wrong = table({**columns, "in Parquet": in_parquet(root)})
    print(f"\n{text}\n", *problems, how_to_query(root), sep="\n")
    return 1 if problems or wrong else 0


def wait_until_ready(pipeline: Pipeline) -> None:
    """Raises RuntimeError when a process does not get ready."""
    if not wait_until(lambda: all(process.ready() for process in pipeline.processes), _READY_SECONDS):
        said = "".join(f"\n{one.name}: {one.get('/readyz')}" for one in pipeline.processes if not one.ready())
        raise RuntimeError(f"not everything became ready in {_READY_SECONDS:.0f} s:{said}")


def watch(pipeline: Pipeline, seconds: float) -> None:
    live, deadline = LiveLine(pipeline), time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))
        for line in pipeline.restart_ended():
            print(f"\r\033[K{line}")
        print(f"\r\033[K{live.text()}", end="" if sys.stdout.isatty() else "\n", flush=True)


def received(pipeline: Pipeline) -> Figures:
    found: Figures = Counter()
    for collector in pipeline.collectors:
        for key, value in collector.metrics("daedalus_collector_received_records_total").items():
            if key[1] in CHANNELS:
                found[key] += int(value)
    return found


def configuration(root: Path, url: str) -> Path:
    """The demo's config.yaml."""
    path = root / "config.yaml"
    exchanges = {
        name: {
            "channels": dict.fromkeys(("watchTrades", "watchTicker", "watchOrderBook"), symbols),
            "endpoint": url,
        }
        for name, symbols in SYMBOLS.items()
    }
    path.write_text(
        json.dumps({"ccxt": {"exchanges": exchanges}, "storage": {"root": str(root)}}, indent=2)
    )  # JSON is YAML
    return path


class Simulator:
    """The exchange simulator as a process."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        symbols = [f"{SIMULATED[name]}:{symbol}" for name in SYMBOLS for symbol in SYMBOLS[name]]
        command = [
            *(sys.executable, "-m", "simulator", "--port", str(port)),
            *(word for name in SYMBOLS for word in ("--exchange", SIMULATED[name])),
            *(word for symbol in symbols for word in ("--symbol", symbol)),
            *("--trades-per-second", "20", "--tickers-per-second", "10", "--books-per-second", "20"),
        ]
        tests = Path(__file__).parents[2] / "tests"
        with (directory / "simulator.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(tests)}, start_new_session=True
            )
        if not wait_until(lambda: self.ask("GET", "/sim/healthz") is not None, 20.0):
            raise RuntimeError(f"the simulator did not start: {(directory / 'simulator.log').read_text()}")

    def ask(self, method: str, path: str) -> dict[str, object] | None:
        """The JSON it answers; None when it does not."""
        request = urllib.request.Request(f"{self.url}{path}", method=method)  # our own address
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # our own address
                answer: dict[str, object] = json.load(response)
                return answer
        except OSError:
            return None

    def sent(self) -> Figures:
        """Records that were written to sockets, under the configured names."""
        answer = self.ask("GET", "/sim/counts")
        counts = json.loads(json.dumps((answer or {}).get("counts", {})))
        found: Figures = Counter()
        for name, simulated in SIMULATED.items():
            for channel, symbols in counts.get(simulated, {}).items():
                found[name, channel] += sum(symbol["records"] for symbol in symbols.values())
        return found

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
