from __future__ import annotations

from typing import Any

import pytest

from daedalus.config import Nats
from daedalus_collector.recall import Recall
from daedalus_collector.stored import Tail


class Recalling(Recall):
    """Of the instance `one`, with a stream that holds the frames of these runs."""

    def __init__(self, runs: dict[str, int]) -> None:
        js: Any = None
        super().__init__(js, Nats(), "kraken", "one", "b9")
        self.runs = runs

    async def _tail(self, *_: object) -> Tail | None:
        return Tail(runs=self.runs) if self.runs else None


@pytest.mark.parametrize(
    ("runs", "others", "until_ns"),
    [
        ({}, [], None),
        ({"one.b1": 5, "one.b2": 7, "two.b1": 9}, ["two"], 7),
        ({"two.b1": 9}, ["two"], None),
        ({"two.b1": 9, "three.b1": 8}, [], 9),
    ],
)
async def test_frames_go_on_from_the_same_replicas_last_run(
    runs: dict[str, int], others: list[str], until_ns: int | None
) -> None:
    """Another replica that lives has frames of its own connections; where nobody lives, any run was the last."""
    assert await Recalling(runs).frames_until_ns(others) == until_ns
