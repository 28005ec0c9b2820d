"""Golden files: what a test compares with stands beside it. `DAEDALUS_UPDATE=1 pytest …` writes them anew; read the diff."""

from __future__ import annotations

import os
from pathlib import Path


def check(file: Path, actual: str) -> None:
    if os.environ.get("DAEDALUS_UPDATE"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(actual)
    assert actual == file.read_text(), f"differs from {file.name}; if it should, run again with DAEDALUS_UPDATE=1"
