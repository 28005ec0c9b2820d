"""Figures as people read them."""

from __future__ import annotations


def count(value: float | None) -> str:
    """A whole number; `?` where nobody reported one."""
    return "?" if value is None else f"{value:,.0f}"


def rate(per_second: float) -> str:
    return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.1f}/s"


def megabytes(size_bytes: float) -> str:
    """In units of 1,000,000 bytes; a tenth counts only while it is small."""
    size_mb = size_bytes / 1e6
    return f"{size_mb:,.0f} MB" if size_mb >= 1_000 else f"{size_mb:,.1f} MB"


def duration(seconds: float) -> str:
    """The two largest units: `3 d 4 h`, `12 min 5 s`, `0.4 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    parts = [
        (whole // 86_400, "d"),
        (whole // 3_600 % 24, "h"),
        (whole // 60 % 60, "min"),
        (whole % 60, "s"),
    ]
    first = next(index for index, (value, _) in enumerate(parts) if value)
    return " ".join(f"{value} {unit}" for value, unit in parts[first : first + 2] if value)


def printable(text: str) -> str:
    """Names come from whoever may connect to NATS: no control characters, no newlines."""
    return "".join(character if character.isprintable() else "�" for character in text)
