"""The seeds that once showed a mistake, and the simulation's own promise: the same seed is the same life."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulation.simulation import failed_seeds, silence, simulate, simulate_all


def test_seeds_that_ever_failed() -> None:
    """What was mended once stays mended."""
    for _, failure in simulate_all(failed_seeds()):
        if failure is not None:
            raise failure


@pytest.mark.parametrize("seed", [1, 7, 19])
def test_same_seed_same_life(tmp_path: Path, seed: int) -> None:
    """A seed that failed can be looked at again: everything happens in the same order, at the same times."""
    lives = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        with silence():
            world = simulate(seed, tmp_path / name)
        stored = [(stream.name, *stream.messages.values()) for stream in world.server.streams()]
        lives.append((world.loop.turns, world.loop.time(), stored))
    assert lives[0] == lives[1]
