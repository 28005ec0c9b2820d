"""What was found, as lines for people or as JSON. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from daedalus_writer.verify.defect import Defect, Kind
from daedalus_writer.verify.gaps import GapKey, Gaps, GapSum
from daedalus_writer.verify.inspection import Result

INTACT, DAMAGED, USAGE, GAPS_ONLY = 0, 1, 2, 3


class Summary:
    """Counts files, whatever becomes of them."""

    def __init__(self) -> None:
        self.files = 0
        self.rows = 0
        self.size_bytes = 0
        self.complete = 0
        self.with_gaps = 0
        self.defects: dict[Kind, int] = {"damaged": 0, "missing": 0, "doubled": 0, "unknown": 0}
        self.not_compared = 0
        self.gaps = Gaps()

    def add(self, result: Result) -> None:
        if result.state == "vanished":
            return
        self.files += 1
        self.rows += result.rows
        self.size_bytes += result.size_bytes
        self.not_compared += result.not_compared
        self.complete += result.state == "complete"
        self.with_gaps += result.state == "gaps"
        self.gaps.merge(result.gaps)
        if result.defect is not None:
            self.add_defect(result.defect)

    def add_defect(self, defect: Defect) -> None:
        self.defects[defect.kind] += 1

    def exit_code(self, *, strict: bool) -> int:
        if any(self.defects.values()):
            return DAMAGED
        return GAPS_ONLY if strict and (self.with_gaps or self.gaps.count) else INTACT


def defect_line(shown: str, defect: Defect) -> str:
    return printable(f"{defect.kind:<8} {shown}: expected {defect.expected}, found {defect.found}")


def gap_line(key: GapKey, one: GapSum) -> str:
    exchange, symbol, channel = key
    causes = ", ".join(f"{cause} {count:,}" for cause, count in one.causes.most_common())
    unknown = f" and an unknown number in {_counted(one.unknown, 'gap')}" if one.unknown else ""
    known = f"{_counted(one.records, 'record')}{unknown} missing"
    length = _duration(one.duration_ns)
    return printable(
        f"gaps     {exchange} {symbol} {channel}: {_counted(one.gaps, 'gap')}, {length}, {known}; {causes}"
    )


def summary_line(summary: Summary) -> str:
    defects = summary.defects
    older = f", {summary.not_compared:,} older than the catalog" if summary.not_compared else ""
    return (
        f"{_counted(summary.files, 'file')}, {_counted(summary.rows, 'row')}, {_size(summary.size_bytes)}: "
        f"{summary.complete:,} complete, {summary.with_gaps:,} with gaps, {defects['damaged']:,} damaged, "
        f"{defects['missing']:,} missing, {defects['doubled']:,} doubled, {defects['unknown']:,} not in the catalog{older}"
    )


def defect_json(shown: str, defect: Defect) -> str:
    expected, found = printable(defect.expected), printable(defect.found)
    return _json(finding=defect.kind, path=printable(shown), expected=expected, found=found)


def gap_json(key: GapKey, one: GapSum) -> str:
    exchange, symbol, channel = key
    return _json(
        finding="gaps",
        exchange=exchange,
        symbol=symbol,
        channel=channel,
        gaps=one.gaps,
        duration_seconds=one.duration_ns / 1e9,
        known_records=one.records,
        gaps_of_unknown_size=one.unknown,
        causes=dict(one.causes),
    )


def summary_json(summary: Summary, catalog: str, exit_code: int) -> str:
    """`catalog`: read, unreachable or not asked."""
    return _json(
        finding="summary",
        files=summary.files,
        rows=summary.rows,
        size_bytes=summary.size_bytes,
        complete=summary.complete,
        with_gaps=summary.with_gaps,
        **summary.defects,
        older_than_catalog=summary.not_compared,
        gaps=summary.gaps.count,
        catalog=catalog,
        exit_code=exit_code,
    )


def printable(text: str) -> str:
    """Nothing in a name can steer a terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _json(**fields: Any) -> str:
    return msgspec.json.encode(fields).decode()


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size(size_bytes: int) -> str:
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= power:
            return f"{size_bytes / power:.1f} {unit}"
    return f"{size_bytes} bytes"


def _duration(duration_ns: int) -> str:
    seconds = duration_ns / 1e9
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:,.1f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
