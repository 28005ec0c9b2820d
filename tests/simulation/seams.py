"""Where the simulation takes the place of the machine: the names under which the writer's modules know its clock, its
files, its boot time, its dice. Nothing of the writer is replaced; only what it stands on.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psutil
import pyarrow.parquet as pq

from daedalus_writer.columns import record_batch
from daedalus_writer.segment_file import FORMATS
from daedalus_writer.steps import passed

_PACKAGES = ("daedalus_writer.", "daedalus.lease")
_KEPT = ("daedalus_writer.segment_file.FORMATS", "daedalus_writer.columns.record_batch", "daedalus_writer.steps.passed")


class Seam(NamedTuple):
    name: str
    real: object
    simulated: Any


def seams(*, clock: Any, files: Any, boot: Any, dice: Any, step: Any) -> list[Seam]:
    """`step` is called with each named step that the commit passes."""
    return [
        Seam("time", time, clock),
        Seam("os", os, files),
        Seam("psutil", psutil, boot),
        Seam("secrets", secrets, dice),
        Seam("passed", passed, step),
    ]


def plain_segments(form: Any, footers: Any, rows: Any) -> list[Seam]:
    """Instead of Parquet."""
    return [
        Seam("FORMATS", FORMATS, {"parquet": form}),
        Seam("pq", pq, footers),
        Seam("record_batch", record_batch, rows),
    ]


@contextmanager
def installed(wanted: Sequence[Seam]) -> Iterator[None]:
    """Every one of them has to be found somewhere: a seam that was moved away would test nothing."""
    replaced = []
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith(_PACKAGES):
            for seam in wanted:
                if module.__dict__.get(seam.name) is seam.real and f"{module_name}.{seam.name}" not in _KEPT:
                    setattr(module, seam.name, seam.simulated)
                    replaced.append((module, seam))
    try:
        missing = {seam.name for seam in wanted} - {seam.name for _, seam in replaced}
        assert not missing, f"expected the writer to use {sorted(missing)}, found no module that does"
        yield
    finally:
        for module, seam in replaced:
            setattr(module, seam.name, seam.real)
