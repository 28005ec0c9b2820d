"""`python -m chaos --rounds 200`: real writers and a real server, killed, frozen, cut off. `--first 4711 --rounds 1`: one again."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from chaos.round import Plan, Round, plan_of
from daedalus import logs


class Life(NamedTuple):
    """What became of a round."""

    plan: Plan
    happened: Counter[str]
    problem: str
    """'' when it held."""


def main() -> int:
    """1 when a round failed; its directory is left."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first round")
    parser.add_argument("--jobs", type=int, default=3, help="rounds at a time: each waits most of its time")
    wanted = parser.parse_args()
    plans = [plan_of(seed) for seed in range(wanted.first, wanted.first + wanted.rounds)]
    plans.sort(key=lambda plan: -plan.seconds)  # a long one that came last would be waited for alone
    happened, failed, begun = Counter[str](), 0, time.monotonic()
    with ProcessPoolExecutor(wanted.jobs) as processes:
        for future in as_completed([processes.submit(_live, plan) for plan in plans]):
            life = future.result()
            print(f"round {life.plan.seed} {'failed' if life.problem else 'held'}: {life.plan}", flush=True)
            if life.problem:
                failed += 1
                print(life.problem, flush=True)
            happened += life.happened
    print(", ".join(f"{what} {count}" for what, count in sorted(happened.items())))
    print(f"{wanted.rounds} rounds in {time.monotonic() - begun:.0f} s, {failed} failed")
    return 1 if failed else 0


def _live(plan: Plan) -> Life:
    """In a process of its own. The directory of a round that held is removed."""
    logs.configure("chaos", "error")
    directory = Path(tempfile.mkdtemp(prefix=f"chaos-{plan.seed}-"))
    one = Round(plan, directory)
    try:
        asyncio.run(one.live())
    except Exception:  # noqa: BLE001  # whatever it is, the other rounds go on
        return Life(plan, one.happened, f"its files are in {directory}\n{traceback.format_exc()}")
    shutil.rmtree(directory)
    return Life(plan, one.happened, "")


if __name__ == "__main__":
    sys.exit(main())
