"""Names on the way: symbols as subject tokens and path values, streams, subjects, shards."""

from __future__ import annotations

import hashlib
import re

CATALOG_STREAM = "CATALOG"
UPLOADS_STREAM = "UPLOADS"
CHECKPOINT_BUCKET = "CHECKPOINTS"
LEASE_BUCKET = "LEASES"

COMPACTED = "compacted"
"""In the place of a shard: the chain of `daedalus-writer compact`. Its entries are catalog entries like all others."""

ALL_ENTRIES = "catalog.*.*.*.*"
"""The subjects of catalog entries; the catalog also holds who owns a shard, under shorter ones."""

_ENCODE = {"/": "-", ":": "__", "-": "_-"}
_DECODE = re.compile(r"__|_-|-|(?:_[0-9A-F]{2})+")


def symbol_token(symbol: str) -> str:
    """A symbol as a subject token and as a path value, of letters, digits, `-` and `_` only, and reversible.

    `/` becomes `-`, `:` becomes `__`, `-` becomes `_-`, anything else `_XX` for each byte of its UTF-8.
    `BTC/USD` → `BTC-USD`, `BTC/USDT:USDT` → `BTC-USDT__USDT`, `BTC/USD:BTC-261225` → `BTC-USD__BTC_-261225`.
    """
    return "".join(
        character
        if character.isascii() and character.isalnum()
        else _ENCODE.get(character) or "".join(f"_{byte:02X}" for byte in character.encode())
        for character in symbol
    )


def token_symbol(token: str) -> str:
    """The symbol of a token: the inverse of `symbol_token`."""

    def decoded(match: re.Match[str]) -> str:
        text = match[0]
        if text in ("-", "__", "_-"):
            return {"-": "/", "__": ":", "_-": "-"}[text]
        return bytes.fromhex(text.replace("_", "")).decode()

    return _DECODE.sub(decoded, token)


def staged_name(path: str) -> str:
    """The name of a segment's file in its writer's room, until it is committed and gets its `path` below ready/."""
    return f"{hashlib.sha256(path.encode()).hexdigest()[:16]}.{path.rpartition('/')[2]}"


def shard_of(exchange: str, symbol: str, shards: int) -> int:
    """The shard that carries a symbol, all its channels together: FNV-1a (32 bit), the hash of NATS' own partitioning."""
    value = 2166136261
    for byte in f"{exchange}.{symbol}".encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value % shards


def shard_stream(shard: int) -> str:
    return f"MD-{shard}"


def batch_subject(shard: int, exchange: str, channel: str, symbol: str | None = None) -> str:
    """Where a batch is published; `symbol` only with `nats.subject_by_symbol`."""
    subject = f"md.{shard}.{exchange}.{channel}"
    return subject if symbol is None else f"{subject}.{symbol_token(symbol)}"


def catalog_subject(shard: int | str, exchange: str, channel: str, symbol: str) -> str:
    return f"catalog.{shard}.{exchange}.{channel}.{symbol_token(symbol)}"


def shard_chain(shard: int | str) -> str:
    """All that a shard has in the catalog, entries and owners: the chain that fences writers."""
    return f"catalog.{shard}.>"


def shard_entries(shard: int | str) -> str:
    """The catalog entries of a shard."""
    return f"catalog.{shard}.*.*.*"


def shard_owner(shard: int | str) -> str:
    """Where a writer says that it has taken the shard."""
    return f"catalog.{shard}.owner"


def carried_subject(exchange: str) -> str:
    """Where the collectors of an exchange tell each other what they carry (plain NATS, not stored)."""
    return f"daedalus.carried.{exchange}"
