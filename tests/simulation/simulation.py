"""Lives through a seed, and tells whether what must hold did hold."""

from __future__ import annotations

import gc
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from simulation.invariants import check
from simulation.plan import plan_of
from simulation.seams import installed
from simulation.world import World

FAILED = Path(__file__).parent / "failed_seeds.txt"
"""Every seed that ever failed, with what it showed."""
_COLLECT_EVERY = 20
_MEMORY = Path("/dev/shm")  # a folder of our own is made in it


class SeedError(AssertionError):
    """A seed that did not hold. Run it alone to see what happened."""


def simulate(seed: int, root: Path) -> World:
    """Raises SeedError."""
    world = World(plan_of(seed), root)
    with installed(world.seams()):
        try:
            world.run()
            check(world)
        except Exception as error:
            raise SeedError(
                f"seed {seed}: {type(error).__name__}: {error}\n{world.plan}\n{world.writers.endings}"
            ) from error
    return world


def simulate_all(seeds: Iterable[int]) -> Iterator[tuple[int, SeedError | None]]:
    """Each seed and how it failed, if it did. Logs are off meanwhile."""
    with silence(), _without_collector(), _memory() as memory:
        for seed in seeds:
            root = memory / str(seed)
            root.mkdir()
            failure = None
            try:
                simulate(seed, root)
            except SeedError as error:
                failure = error
            shutil.rmtree(root)
            if seed % _COLLECT_EVERY == 0:
                gc.collect()
            yield seed, failure


def failed_seeds() -> list[int]:
    return [int(line.split()[0]) for line in FAILED.read_text().splitlines() if line[:1].isdigit()]


@contextmanager
def _without_collector() -> Iterator[None]:
    """A fifth of the time, and a life that is not touched from outside. What was there before is not looked at again."""
    was = gc.isenabled()
    gc.disable()
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if was:
            gc.enable()


@contextmanager
def _memory() -> Iterator[Path]:
    """A folder that needs no disk where there is one."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        yield Path(folder)


@contextmanager
def silence() -> Iterator[None]:
    """What the writer logs costs more than what it does."""
    was = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False
    )
    try:
        yield
    finally:
        structlog.configure(**was)
