"""docs/schema.md is made from the schema table. `DAEDALUS_UPDATE=1 pytest` writes it anew."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from daedalus.records import CHANNELS
from daedalus_writer.schema import COLUMNS, EVIDENCE, LEVELS, PARTITION, RECEIVED, SCHEMAS, TIME, Column

DOCUMENT = Path(__file__).parents[3] / "docs" / "schema.md"

HEAD = """# Every column

Made from `services/writer/daedalus_writer/schema.py`; [data.md](data.md) says how to read them. Each file begins with the
columns of every channel, then has its channel's own. A column that may be null is null where the exchange does not say;
nothing is derived or filled. *Evidence* is how we know that a column holds what is said of it:

"""

TYPES = {
    pa.string(): "string",
    pa.int32(): "int32",
    pa.int64(): "int64",
    pa.float64(): "float64",
    pa.binary(): "binary",
    TIME: "timestamp",
    LEVELS: "list of (price, amount)",
}


def table(title: str, columns: tuple[Column, ...]) -> str:
    lines = [f"\n## {title}\n\n| column | type | unit | meaning | evidence |\n|---|---|---|---|---|\n"]
    for column in columns:
        kind = TYPES[column.type] + (" or null" if column.nullable else "")
        lines.append(f"| `{column.name}` | {kind} | {column.unit} | {column.meaning} | {column.evidence} |\n")
    return "".join(lines)


def document() -> str:
    evidence = "".join(f"- `{name}`: {meaning}\n" for name, meaning in EVIDENCE.items())
    channels = "".join(table(channel, columns) for channel, columns in COLUMNS.items())
    return HEAD + evidence + table("Every channel", (*PARTITION, *RECEIVED)) + channels


def test_document_is_up_to_date() -> None:
    """The page has every column with its type, unit, nullability, meaning and evidence."""
    if os.environ.get("DAEDALUS_UPDATE"):
        DOCUMENT.write_text(document())
    assert DOCUMENT.read_text() == document(), "run `DAEDALUS_UPDATE=1 make test`"


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_field_of_a_record_has_its_column(channel: str) -> None:
    """Nothing that a collector sends is left out of the files, and no column stands there twice."""
    sources = {column.source or column.name for column in (*RECEIVED, *COLUMNS[channel])}
    sides = {name for side in ("bid", "ask") for name in (f"{side}_prices", f"{side}_amounts")}
    wanted = {
        name.removesuffix("_prices") if name.endswith("_prices") else name
        for name in CHANNELS[channel].__struct_fields__
        if not (name in sides and name.endswith("_amounts"))
    }
    assert sources == wanted
    assert len(set(SCHEMAS[channel].names)) == len(SCHEMAS[channel].names)
