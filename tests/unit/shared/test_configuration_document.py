"""docs/configuration.md is made from the configuration itself. `DAEDALUS_UPDATE=1 pytest` writes it anew."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import msgspec

from daedalus import config

REPOSITORY = Path(__file__).parents[3]
DOCUMENT = REPOSITORY / "docs" / "configuration.md"

HEAD = """# Configuration

`config.yaml` is read whole and checked before anything starts: all mistakes are told at once, each
`path: what was expected, was VALUE`, and the process ends with exit code 78. `daedalus-<service> --check-config` only
checks. Any key can be set from the environment, with YAML's types: `DAEDALUS__NATS__URL=nats://host:4222` sets `nats.url`.

Secrets never stand in the file: `DAEDALUS_KRAKEN_API_KEY`, `…_API_SECRET`, `…_PASSWORD`, or each with `_FILE` and a path.
Public market data needs none.

Every service takes `--config`, `--check-config`, `--instance`, `--http-host`, `--http-port`, `--log-level`, `--version`, or
`DAEDALUS_CONFIG`, `DAEDALUS_INSTANCE`, `DAEDALUS_HTTP_HOST`, `DAEDALUS_HTTP_PORT`, `DAEDALUS_LOG_LEVEL`.

This page is made from `shared/daedalus/config.py`.
"""

SECTIONS: list[tuple[str, type[config.Section]]] = [
    ("ingestion", config.Ingestion),
    ("ccxt.exchanges.&lt;name&gt;", config.Exchange),
    ("ccxt.exchanges.&lt;name&gt;.options", config.ExchangeOptions),
    ("nats", config.Nats),
    ("storage", config.Storage),
    ("supervisor", config.Supervisor),
]


def meanings() -> dict[str, dict[str, str]]:
    """Class → field → the text that stands below it in the source."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse((REPOSITORY / "shared/daedalus/config.py").read_text()).body:
        if not isinstance(node, ast.ClassDef):
            continue
        texts = found[node.name] = {}
        for field, below in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = (
                    below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
                )
                texts[field.target.id] = " ".join(str(text).split())
    return found


def document() -> str:
    texts, parts = meanings(), [HEAD]
    for title, section in SECTIONS:
        parts.append(f"\n## {title}\n\n| key | default | meaning |\n|---|---|---|\n")
        for field in msgspec.structs.fields(section):
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            shown = "" if isinstance(default, config.Section) else f"`{msgspec.json.encode(default).decode()}`"
            parts.append(f"| `{field.encode_name}` | {shown} | {texts[section.__name__][field.name]} |\n")
    return "".join(parts)


def test_document_is_up_to_date() -> None:
    """The page has every key, its default and its meaning."""
    if os.environ.get("DAEDALUS_UPDATE"):
        DOCUMENT.write_text(document())
    assert DOCUMENT.read_text() == document(), "run `DAEDALUS_UPDATE=1 make test`"


def test_every_key_has_a_meaning() -> None:
    """No key is left unexplained."""
    texts = meanings()
    assert [
        f"{section.__name__}.{name}"
        for _, section in SECTIONS
        for name, text in texts[section.__name__].items()
        if not text
    ] == []
