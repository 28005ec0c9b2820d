"""Fixed-point numbers and timestamps, printed the way the exchanges print them. Prices and amounts are integers of
their smallest step everywhere else, so no float ever rounds one."""

import functools
import time

NANOSECONDS = 1_000_000_000


def decimal(value: int, decimals: int) -> str:
    """``decimal(6183764, 2) == '61837.64'``: always all decimals."""
    if decimals == 0:
        return str(value)
    if value < 0:
        return "-" + decimal(-value, decimals)
    digits = f"{value:0{decimals + 1}d}"
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


def rescaled(value: int, decimals: int, wanted: int) -> int:
    """The same number with another number of decimals, cut off rather than rounded."""
    factor: int = 10 ** abs(wanted - decimals)
    return value * factor if wanted >= decimals else value // factor


@functools.lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def rfc3339(time_ns: int, digits: int) -> str:
    """UTC with ``digits`` (1 to 9) decimals of a second: ``2026-08-12T19:27:48.098821666Z``."""
    seconds, fraction = divmod(time_ns, NANOSECONDS)
    return f"{_second(seconds)}.{fraction:09d}"[: 20 + digits] + "Z"
