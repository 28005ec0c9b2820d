"""What can be wrong with one segment."""

from __future__ import annotations

from typing import Literal

from daedalus.errors import PermanentError

Kind = Literal["damaged", "missing", "doubled", "unknown"]
"""`unknown`: the catalog has no entry for it."""


class Defect(PermanentError):  # noqa: N818  # it is a finding
    """Not what was expected; the rest of the file is not looked at."""

    def __init__(self, expected: object, found: object, kind: Kind = "damaged") -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.kind = kind
        self.expected = str(expected)
        self.found = str(found)


def expect(what: str, expected: object, found: object) -> None:
    """Raises Defect when the two differ."""
    if expected != found:
        raise Defect(f"{what} {expected}", found)
