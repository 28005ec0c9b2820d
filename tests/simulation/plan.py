"""What a seed stands for: how the world is set up, and what goes wrong in it, and when."""

from __future__ import annotations

from random import Random
from typing import Literal, get_args

import msgspec

from daedalus_writer.steps import STEPS

FAULT_SECONDS = 3.0
"""Things go wrong for so long; then everything has to come right."""

Fault = Literal[
    "kill",
    "kill_server",
    "disconnect",
    "lost_answers",
    "slow_network",
    "unavailable",
    "mangled_deliveries",
    "freeze",
    "second_writer",
    "full_disk",
    "slow_disk",
    "clock_forward",
    "clock_back",
    "power_cut",
]
FAULTS: tuple[Fault, ...] = get_args(Fault)


class Death(msgspec.Struct, frozen=True):
    """Where a run of a writer is killed: after so many of its turns on the loop, of its calls of the operating system
    that change a file, or when it passes a step for the n-th time.
    """

    by: str
    """`turn`, `call`, or a step."""
    count: int
    frozen_seconds: float = 0.0
    """Above 0: it does not die, it is frozen for so long; only by turns."""


class Plan(msgspec.Struct, frozen=True):
    seed: int
    shards: int
    by_lease: bool
    """Replicas share the shards by lease; else writers simply follow, or meet, each other."""
    replicas: int
    parquet: bool
    always_synced: bool
    """What a power cut took is told by the server's time: in such a world no clock goes back. The server's `sync_interval: always`; else a power cut takes what it stored last."""
    batches: int
    """Of each shard."""
    starts_before_hour_seconds: float
    segment_seconds: float
    quiet_seconds: float
    """How long the last writer stays after all is read: the stream is trimmed every 30 s, as a rule."""
    trim_seconds: float
    """Between two looks of a writer for what it may trim."""
    faults: list[tuple[float, Fault]]
    deaths: list[Death]
    """Of the first runs of writers, one after the other."""


def plan_of(seed: int) -> Plan:
    random = Random(seed)
    faults = sorted(
        (random.uniform(0.0, FAULT_SECONDS), random.choice(FAULTS)) for _ in range(random.choice((0, 1, 1, 2, 2, 3, 4)))
    )
    if "power_cut" in {fault for _, fault in faults}:
        faults = [(at, "clock_forward" if fault == "clock_back" else fault) for at, fault in faults]
    by_lease = random.random() < 0.08
    return Plan(
        seed=seed,
        shards=random.randint(1, 3) if by_lease else 1,
        by_lease=by_lease,
        replicas=random.randint(1, 3) if by_lease else 1,
        parquet=random.random() < 0.02,
        always_synced=random.random() < 0.5,
        batches=random.randint(2, 10),
        starts_before_hour_seconds=random.uniform(0.0, 4.0) if random.random() < 0.5 else 1800.0,
        segment_seconds=random.choice((0.3, 1.0, 3600.0)),
        quiet_seconds=31.0 if random.random() < 0.02 else 0.0,
        faults=faults,
        deaths=[_death(random) for _ in range(random.choice((0, 0, 1, 1, 2, 3)))],
        trim_seconds=random.choice((0.0, 1.0, 30.0)),
    )


def _death(random: Random) -> Death:
    by = random.choice(("turn", "call", "step"))
    if by == "turn":
        return Death(by, random.randint(1, 200), random.choice((0.0, random.uniform(0.2, 4.0))))
    if by == "call":
        return Death(by, random.randint(1, 40))
    return Death(random.choice(STEPS), random.randint(1, 3))
