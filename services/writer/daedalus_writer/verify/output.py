"""Prints: findings as they come on standard output; notes, errors and progress on standard error."""

from __future__ import annotations

import sys
import time

from daedalus_writer.verify import report
from daedalus_writer.verify.defect import Defect
from daedalus_writer.verify.report import Summary

_PROGRESS_SECONDS = 0.5
_CLEAR = "\r\x1b[K"


class Output:
    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._shows_progress = sys.stderr.isatty() and not quiet
        self._began = self._told = time.monotonic()
        self._clear = ""

    def defect(self, shown: str, defect: Defect) -> None:
        self._print((report.defect_json if self._as_json else report.defect_line)(shown, defect))

    def end(self, summary: Summary, catalog: str, exit_code: int) -> None:
        """Gaps and the summary."""
        self._take_progress_away()
        if self._quiet:
            return
        for key, one in sorted(summary.gaps.sums.items()):
            self._print((report.gap_json if self._as_json else report.gap_line)(key, one))
        if self._as_json:
            self._print(report.summary_json(summary, catalog, exit_code))
        else:
            self._print(report.summary_line(summary))

    def note(self, text: str) -> None:
        if not self._quiet:
            self.error(text)

    def error(self, text: str) -> None:
        self._take_progress_away()
        print(report.printable(text), file=sys.stderr)  # noqa: T201  # the command's answer

    def progress(self, summary: Summary) -> None:
        """At most twice a second, and only for people."""
        now = time.monotonic()
        if self._shows_progress and now - self._told > _PROGRESS_SECONDS:
            self._told, self._clear = now, _CLEAR
            speed = summary.size_bytes / 1e6 / (now - self._began)
            sys.stderr.write(f"{_CLEAR}{summary.files:,} files, {summary.size_bytes / 1e6:,.0f} MB, {speed:,.0f} MB/s")
            sys.stderr.flush()

    def _print(self, line: str) -> None:
        self._take_progress_away()
        print(line, flush=True)  # noqa: T201  # the command's answer

    def _take_progress_away(self) -> None:
        if self._clear:
            sys.stderr.write(self._clear)
            sys.stderr.flush()
            self._clear = ""
