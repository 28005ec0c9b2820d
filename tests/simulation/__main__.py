"""`python -m simulation --seeds 100000` lives through many seeds on all cores; `--seed 4711` through one, and tells all of it."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from simulation.simulation import SeedError, simulate, simulate_all

_CHUNK = 250


def main() -> int:
    """1 when a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="only this one, with all that the writer logs")
    wanted = parser.parse_args()
    if wanted.seed is not None:
        return _tell(wanted.seed)
    begun, failed = time.monotonic(), list[str]()
    chunks = [
        range(at, min(at + _CHUNK, wanted.first + wanted.seeds))
        for at in range(wanted.first, wanted.first + wanted.seeds, _CHUNK)
    ]
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        for failures in processes.map(_failures, chunks):
            for failure in failures:
                print(failure, flush=True)
            failed += failures
    print(f"{wanted.seeds} seeds from {wanted.first} in {time.monotonic() - begun:.0f} s, {len(failed)} failed")
    return 1 if failed else 0


def _failures(seeds: range) -> list[str]:
    return [str(failure) for _, failure in simulate_all(seeds) if failure is not None]


def _tell(seed: int) -> int:
    with tempfile.TemporaryDirectory() as root:
        try:
            world = simulate(seed, Path(root))
        except SeedError as error:
            print(error)
            return 1
    print(f"seed {seed} held: {world.plan}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
