"""How long to wait before the next attempt. Pure: the random number is an argument."""

from __future__ import annotations

FIRST_SECONDS = 0.5
CAP_SECONDS = 60.0
REFUSED_SECONDS = 60.0
"""Between attempts while the store refuses us: somebody has to act first."""

_MISSING_FIRST_SECONDS = 0.25
_MISSING_CAP_SECONDS = 60.0
MISSING_SECONDS = 3600.0
"""How long a committed segment may stay out of ready/: a writer that crashed between its entry and its rename finishes
the rename at its next start."""


def delay_seconds(attempt: int, random: float, *, refused: bool = False) -> float:
    """After attempt number `attempt`, counted from 0: doubles up to 60 s; `random` in [0, 1) takes up to half of it."""
    if refused:
        return REFUSED_SECONDS
    return min(CAP_SECONDS, FIRST_SECONDS * 2.0 ** min(attempt, 10)) * (1.0 - 0.5 * random)


def missing_delay_seconds(age_seconds: float) -> float:
    """Before looking again for the file of an entry of this age: as long as it has waited already, up to 60 s."""
    return min(_MISSING_CAP_SECONDS, max(_MISSING_FIRST_SECONDS, age_seconds))


def is_gone(age_seconds: float, *, in_active: bool) -> bool:
    """Whether a segment that is neither in ready/ nor in S3 is given up."""
    return not in_active and age_seconds > MISSING_SECONDS
