"""`make bench`: every suite in turn, one table, benchmarks/latest.json.

    python -m benchmarks [--quick] [SUITE …]

A suite is a function that measures, and returns rows; a new one is added to SUITES.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import collector, handlers, writer
from benchmarks.report import Note, Row, merge, table

SUITES: dict[str, Callable[[Path, bool, Note], list[Row]]] = {
    "writer": writer.measure,
    "handlers": handlers.measure,
    "collector": collector.measure,
}
"""Name → (a directory to work in, quick, where notes go) → rows."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measures Daedalus against what there is to beat.")
    parser.add_argument("suites", nargs="*", choices=[[], *SUITES], help="default: all")
    parser.add_argument(
        "--quick", action="store_true", help="under a minute, one round each; latest.json stays as it is"
    )
    arguments = parser.parse_args()
    began = time.monotonic()

    def note(text: str) -> None:
        print(f"[{time.monotonic() - began:4.0f} s] {text}", flush=True)

    note(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}; figures are CPU time, not wall time")
    rows: list[Row] = []
    for name in arguments.suites or SUITES:
        with tempfile.TemporaryDirectory(prefix="daedalus-bench-") as directory:
            rows += SUITES[name](Path(directory), arguments.quick, note)
    print(f"\n{table(rows)}")
    if not arguments.quick:
        merge(rows)


if __name__ == "__main__":
    main()
