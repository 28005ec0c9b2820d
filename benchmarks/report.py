"""Rows of figures: the table on the terminal, benchmarks/latest.json, and the one in docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

LATEST = Path(__file__).parent / "latest.json"
DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_FIGURES = re.compile(r"(<!-- figures -->\n).*?(<!-- /figures -->)", re.DOTALL)


class Row(msgspec.Struct, frozen=True):
    """One figure, ours against the peer's."""

    name: str
    ours: float
    peer: float
    ratio: float
    """ours ÷ peer."""
    unit: str
    lower_is_better: bool = True


Note = Callable[[str], None]
"""Prints a line of what is worth knowing beside the rows."""


def row(name: str, ours: float, peer: float, unit: str) -> Row:
    return Row(name, round(ours, 3), round(peer, 3), round(ours / peer, 4), unit)


def table(rows: Iterable[Row]) -> str:
    lines = [f"{'':24}{'ours':>10}{'peer':>10}{'ours/peer':>11}  unit"]
    lines += [f"{one.name:24}{one.ours:>10.2f}{one.peer:>10.2f}{_share(one.ratio):>11}  {one.unit}" for one in rows]
    return "\n".join(lines)


def merge(rows: Iterable[Row], file: Path = LATEST) -> None:
    """Put rows into the file, and into the document: each replaces the one of its name, the others stay."""
    latest = {one.name: one for one in msgspec.json.decode(file.read_bytes(), type=list[Row])} if file.exists() else {}
    latest |= {one.name: one for one in rows}
    ordered = [latest[name] for name in sorted(latest)]
    file.write_bytes(msgspec.json.format(msgspec.json.encode(ordered), indent=2) + b"\n")
    DOCUMENT.write_text(_FIGURES.sub(lambda found: found[1] + _figures(ordered) + found[2], DOCUMENT.read_text()))


def _figures(rows: Iterable[Row]) -> str:
    """The table of docs/benchmarks.md."""
    lines = [
        f"Last run {time.strftime('%Y-%m-%d')}: {os.cpu_count()} shared cores ({platform.machine()}), "
        f"Python {platform.python_version()}.\n",
        "| figure | ours | peer | ours ÷ peer | unit |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| `{one.name}` | {one.ours:.2f} | {one.peer:.2f} | {_share(one.ratio)} | {one.unit} |" for one in rows]
    return "\n".join(lines) + "\n"


def _share(ratio: float) -> str:
    return f"1/{1 / ratio:.1f}" if 0 < ratio < 1 else f"{ratio:.2f}"
