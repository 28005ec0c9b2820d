"""The columns of each schema version: later versions have more of them, each nullable and behind the others."""

from __future__ import annotations

import pyarrow as pa

from daedalus_writer.schema import SCHEMAS
from daedalus_writer.verify.defect import Defect

ADDED: dict[tuple[str, str], int] = {("trade", "source"): 2}
"""(channel, column) → the version that it came with; everything else was there from the beginning."""


def columns(channel: str, version: int) -> list[pa.Field]:
    """Those that a file of this version has, as far as this program knows them."""
    return [field for field in SCHEMAS[channel] if ADDED.get((channel, field.name), 1) <= version]


def check_schema(channel: str, version: int, newest: int, schema: pa.Schema) -> None:
    """Whether a file has the columns of its version. `newest` is the last that this program knows. Raises Defect."""
    if channel not in SCHEMAS:
        raise Defect(f"daedalus.channel to be one of {', '.join(SCHEMAS)}", channel)
    wanted, found = columns(channel, version), list(schema)
    if version > newest:
        unknown, found = found[len(wanted) :], found[: len(wanted)]
        if any(not field.nullable for field in unknown):
            raise Defect("columns of a newer version to be nullable", ", ".join(map(_described, unknown)))
    for field, other in zip(wanted, found, strict=False):
        if not field.equals(other):
            raise Defect(f"the column {_described(field)}", _described(other))
    if len(wanted) != len(found):
        raise Defect(f"{len(wanted)} columns, as version {version} has", len(found))


def _described(field: pa.Field) -> str:
    return f"{field.name}: {field.type}{'' if field.nullable else ' not null'}"
