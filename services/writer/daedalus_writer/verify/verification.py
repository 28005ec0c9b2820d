"""The whole run: the catalog, the files, what came meanwhile, what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from daedalus.errors import TransientError
from daedalus.naming import ALL_ENTRIES, staged_name
from daedalus_writer.verify.catalog import Catalog
from daedalus_writer.verify.defect import Defect
from daedalus_writer.verify.inspection import Inspector, Result
from daedalus_writer.verify.log_stream import mark_uploaded, read_catalog
from daedalus_writer.verify.output import Output
from daedalus_writer.verify.places import Place
from daedalus_writer.verify.report import DAMAGED, USAGE, Summary

_LATE_LIMIT = 10_000
"""Files without an entry that are looked up once more: a writer may have committed them since the catalog was read."""


class Verification:
    def __init__(self, places: Sequence[Place], nats_url: str | None, output: Output) -> None:
        """`nats_url` None: without the catalog."""
        self._places = places
        subjects = {place.entries for place in places}
        self._subject = subjects.pop() if len(subjects) == 1 else ALL_ENTRIES
        self._nats_url = nats_url
        self._output = output
        self._summary = Summary()
        self._catalog: Catalog | None = None
        self._catalog_sequence = 0
        self._late: list[Result] = []

    def run(self, *, strict: bool) -> int:
        """Returns the exit code."""
        told = self._read_catalog()
        usable = [self._verify(place) for place in self._places]
        self._take_late()
        self._report_missing()
        for path, larger in [] if self._catalog is None else self._catalog.seen_beside_larger():
            self._defect(path, Defect("no file beside the one that replaced it", larger, "doubled"))
        code = self._summary.exit_code(strict=strict)
        if code != DAMAGED and not all(usable):
            code = USAGE
        self._output.end(self._summary, told, code)
        return code

    def _read_catalog(self) -> str:
        if self._nats_url is None:
            return "not asked"
        try:
            self._catalog, self._catalog_sequence = asyncio.run(read_catalog(self._nats_url, self._subject))
        except TransientError as error:
            self._output.note(f"{error}: going on without the catalog, files are compared with themselves only")
            return "unreachable"
        for sequence, why in self._catalog.unreadable.items():
            self._defect(f"CATALOG, message {sequence}", Defect("an entry", why))
        return "read"

    def _verify(self, place: Place) -> bool:
        """Whether anything was there."""
        found = False
        inspector = Inspector(self._catalog)
        try:
            for result in inspector.results(place):
                found = True
                if result.defect and result.defect.kind == "unknown" and len(self._late) < _LATE_LIMIT:
                    self._late.append(result)
                else:
                    self._take(result)
                self._output.progress(self._summary)
        except OSError as error:
            self._output.error(f"{place.shown}: expected to list it, found {error}")
            return False
        if not found:
            self._output.error(f"{place.shown}: expected segments, found none")
        return found

    def _take(self, result: Result) -> None:
        self._summary.add(result)
        if self._catalog is not None and result.entry_path is not None and result.state != "vanished":
            self._catalog.mark_seen(result.entry_path)
        if result.defect is not None:
            self._output.defect(result.file.shown, result.defect)

    def _take_late(self) -> None:
        """Entries come before files: a file that was found has one by now, or none at all."""
        if self._late:
            self._read_on()
        inspector = Inspector(self._catalog)
        for result in self._late:
            known = self._catalog is not None and self._catalog.get(result.entry_path or "") is not None
            self._take(inspector.result(result.place, result.file) if known else result)

    def _read_on(self) -> None:
        """What has come into the catalog since it was read."""
        if self._catalog is None or self._nats_url is None:
            return
        try:
            _, self._catalog_sequence = asyncio.run(
                read_catalog(self._nats_url, self._subject, self._catalog, self._catalog_sequence)
            )
        except TransientError as error:
            self._output.note(f"{error}: what was committed since the beginning counts as not in the catalog")

    def _report_missing(self) -> None:
        """Of whole ready/ folders only; retention deletes what UPLOADS has."""
        roots = [place.ready for place in self._places if place.ready is not None]
        if self._catalog is None or self._nats_url is None or not roots:
            return
        if next(self._catalog.unseen(), None) is None:
            return
        self._read_on()  # `compact` may have replaced what was not seen
        try:
            asyncio.run(mark_uploaded(self._nats_url, self._catalog))
        except TransientError as error:
            self._output.note(f"{error}: what was deleted here because it is in S3 counts as missing")
        for path, expected in self._catalog.unseen():
            if not any(_is_there(root, path) for root in roots):
                found = "neither the file nor a verified upload"
                self._defect(path, Defect(f"{expected.rows:,} committed rows", found, "missing"))

    def _defect(self, shown: str, defect: Defect) -> None:
        self._summary.add_defect(defect)
        self._output.defect(shown, defect)


def _is_there(ready: Path, path: str) -> bool:
    """By now, or committed and not renamed yet."""
    return (ready / path).exists() or any(
        (room / staged_name(path)).exists() for room in (ready.parent / "active").glob("shard-*")
    )
