"""A few of the seeds; `make simulate`, which .ci/run calls, lives through 10,000, or as many as you like."""

from __future__ import annotations

import pytest

from simulation.simulation import simulate_all


@pytest.mark.parametrize("first", [0, 100])
def test_seeds(first: int) -> None:
    """Whatever fails and whenever: each acknowledged record is in ready/ once, and catalog, footers and files agree."""
    failures = [failure for _, failure in simulate_all(range(first, first + 100)) if failure is not None]
    if failures:
        raise failures[0]
