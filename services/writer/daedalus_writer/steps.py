"""The named steps of a commit, and of `compact`, where a test can have the process killed.

`DAEDALUS_CRASH_AT=entry:3` kills the process with -9 when it passes the step `entry` for the third time. Nothing else
reads the variable, and without it a step costs one comparison.
"""

from __future__ import annotations

import os
import signal
from typing import Literal, get_args

Step = Literal[
    "taken",  # the chain is ours, nothing is recovered yet
    "recovered",
    "spooled",  # rows have left the memory
    "sealing",  # the file is begun
    "sealed",  # the file is durable
    "entry",  # the segment is committed, its file is not in ready/ yet
    "renamed",  # the file is in ready/, its directory is not durable yet
    "published",
    "checkpoint",
    "trimmed",
]
STEPS: tuple[str, ...] = get_args(Step)

CompactStep = Literal[
    "merging",  # the larger file is begun
    "merged",  # it is durable, and a new directory beside the old one is ready
    "replaced",  # it is committed, the old directory is still in its place
    "exchanged",  # the new directory is in its place
    "cleared",  # what came late is in the new directory
]
COMPACT_STEPS: tuple[str, ...] = get_args(CompactStep)

_step, _, _times = os.environ.get("DAEDALUS_CRASH_AT", "").partition(":")
_left = int(_times or 1)


def passed(step: Step | CompactStep) -> None:
    """Mark the place."""
    global _left  # noqa: PLW0603  # a process crashes once
    if step == _step:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
