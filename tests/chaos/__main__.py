"""`python -m chaos --rounds 200`: real writers and a real server, killed, frozen, cut off. `--first 4711 --rounds 1`: one again."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

from chaos.round import Round, plan_of


def main() -> int:
    """1 when a round failed; its directory is left."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first round")
    wanted = parser.parse_args()
    failed, begun = 0, time.monotonic()
    for seed in range(wanted.first, wanted.first + wanted.rounds):
        directory = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
        plan = plan_of(seed)
        try:
            asyncio.run(Round(plan, directory).live())
        except (AssertionError, OSError, TimeoutError) as error:
            failed += 1
            print(f"round {seed} failed, its files are in {directory}\n{plan}\n{error}", flush=True)
        else:
            print(f"round {seed} held: {plan}", flush=True)
            shutil.rmtree(directory)
    print(f"{wanted.rounds} rounds in {time.monotonic() - begun:.0f} s, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
