"""Half of the seeds that every run of the tests lives through; `make simulate` has as many as you like."""

from __future__ import annotations

import pytest

from simulation.simulation import SEEDS_OF_A_TEST, simulate_all


@pytest.mark.parametrize("first", range(0 * 10_000, 0 * 10_000 + SEEDS_OF_A_TEST, 250))
def test_seeds(first: int) -> None:
    """Whatever fails and whenever: each acknowledged record is in ready/ once, and catalog, footers and files agree."""
    failures = [failure for _, failure in simulate_all(range(first, first + 250)) if failure is not None]
    if failures:
        raise failures[0]
