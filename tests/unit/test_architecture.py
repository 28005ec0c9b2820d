"""The structure that ARCHITECTURE.md promises."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SERVICES = ("collector", "writer", "sync", "supervisor")
HEAVY = {"ccxt": "collector", "pyarrow": "writer", "boto3": "sync", "botocore": "sync"}


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def sources(folder: str) -> list[Path]:
    return sorted((REPOSITORY / folder).rglob("*.py"))


def test_shared_imports_no_service() -> None:
    """What is shared knows no service and no heavy package."""
    found = set().union(*map(imported, sources("shared/daedalus")))
    assert "msgspec" in found
    assert not found & {*HEAVY, *(f"daedalus_{service}" for service in SERVICES)}


@pytest.mark.parametrize("service", SERVICES)
def test_services_do_not_import_each_other(service: str) -> None:
    """A service imports shared and itself; ccxt, pyarrow and boto3 live in one service each."""
    files = sources(f"services/{service}/daedalus_{service}")
    assert files
    found = set().union(*map(imported, files))
    assert not found & {f"daedalus_{other}" for other in SERVICES if other != service}
    assert not {package for package, home in HEAVY.items() if home != service} & found


def test_files_and_functions_are_short() -> None:
    """No file is over 500 lines, no function over 70."""
    long = []
    for folder in ("shared", "services", "compose", "tests"):
        for path in sources(folder):
            text = path.read_text()
            if text.count("\n") > 500:
                long.append(f"{path}: {text.count(chr(10))} lines")
            for node in ast.walk(ast.parse(text)):
                if (
                    isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                    and (node.end_lineno or 0) - node.lineno > 70
                ):
                    long.append(f"{path}:{node.lineno} {node.name}")
    assert long == []


def test_documents_name_files_that_exist() -> None:
    """Every path that a document names is there."""
    named = re.compile(r"`((?:services|shared|tests|compose|docs)/[\w./-]+)`|\]\(([\w./-]+)\)")
    missing = []
    for document in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]:
        for quoted, linked in named.findall(document.read_text()):
            if not (REPOSITORY / quoted if quoted else document.parent / linked).exists():
                missing.append(f"{document.name}: {quoted or linked}")
    assert missing == []
