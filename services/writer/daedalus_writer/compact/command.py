"""`daedalus-writer compact`: the command line."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TextIO

import msgspec
import nats.errors
import nats.js.errors
import pyarrow as pa

from daedalus import broker, logs
from daedalus.config import Config
from daedalus.errors import EXIT_CONFIG, ConfigError, DaedalusError
from daedalus_writer.compact.choice import Limits
from daedalus_writer.compact.compaction import Compaction, Merged
from daedalus_writer.compact.tree import below_ready
from daedalus_writer.layout import hour_start
from daedalus_writer.verify.command import configured
from daedalus_writer.verify.report import printable

DONE, LEFT, FAILED = 0, 1, 2
_CONNECT_SECONDS = 5.0
_EXIT_CODES = """exit codes:
  0  done; what had to wait was left for the next time
  1  segments cannot be merged (damaged, or one trade in two of them): they stay as they are; see `verify`
  2  nothing was done, or not all: wrong usage, no NATS, another compact runs, the disk is full
  78 the configuration has mistakes
"""


def main(arguments: list[str]) -> int:
    parsed = _parse(arguments)
    logs.configure("writer", "error")
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    try:
        config = configured(parsed.config)
    except ConfigError as error:
        for mistake in error.mistakes:
            _print(mistake, sys.stderr)
        return EXIT_CONFIG
    if parsed.uploaded and config.storage.backend != "s3":
        return _failed("--uploaded: expected storage.backend to be s3, for sync has to upload what is merged")
    ingestion = msgspec.structs.replace(config.ingestion, parquet_compression_level=parsed.level)
    config = msgspec.structs.replace(config, ingestion=ingestion)
    try:
        return asyncio.run(_run(parsed, config))
    except (DaedalusError, OSError, nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
        return _failed(str(error) or type(error).__name__)
    except KeyboardInterrupt:
        return _failed("stopped: the next run goes on from here")


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="daedalus-writer compact",
        description="Merge the small segments of each exchange, channel, symbol and hour that is over into one. Readers, "
        "writers and sync may run meanwhile; docs/compact.md says what they see.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="a directory of ready/; default: all of it")
    default = os.environ.get("DAEDALUS_CONFIG", "config.yaml")
    parser.add_argument("--config", type=Path, help=f"where ready/ and NATS are; default: {default}, if it is there")
    parser.add_argument(
        "--older-than", type=_hours, default=2.0, metavar="HOURS", help="since the end of the hour; default: 2"
    )
    parser.add_argument("--min-files", type=_files, default=2, metavar="N", help="of a key and hour; default: 2")
    parser.add_argument("--level", type=_level, default=9, metavar="N", help="of zstd in Parquet, 1 to 22; default: 9")
    parser.add_argument("--uploaded", action="store_true", help="what is in S3, too: sync replaces the objects")
    parser.add_argument("--dry-run", action="store_true", help="tell what would be merged, change nothing")
    return parser.parse_args(arguments)


async def _run(parsed: argparse.Namespace, config: Config) -> int:
    paths = below_ready(parsed.paths, Path(config.storage.root) / "raw" / "ready")
    limits = Limits(
        over_before_ns=time.time_ns() - int(parsed.older_than * 3600e9),
        min_files=parsed.min_files,
        max_bytes=config.ingestion.segment_max_mb * 1_000_000,
    )
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            client = await broker.connect(config.nats.url, "writer-compact", reconnect=False)
    except (OSError, TimeoutError, nats.errors.Error) as error:
        return _failed(f"{config.nats.url}: expected NATS, found {error or 'no answer'}")
    table = _Table()
    compaction = Compaction(client, config, limits, merge_uploaded=parsed.uploaded, tell=table.line)
    try:
        await (compaction.look(paths) if parsed.dry_run else compaction.run(paths))
    finally:
        await broker.close(client)
    table.end()
    for why, files in compaction.left.items():
        if files:
            _print(f"{files:,} files {why}")
    for what in compaction.errors:
        _print(f"not merged: {what}", sys.stderr)
    return LEFT if compaction.errors else DONE


class _Table:
    """One line for each merge, and one for all."""

    def __init__(self) -> None:
        self._files = self._merged = self._rows = self._before = self._after = 0

    def line(self, merged: Merged) -> None:
        first = merged.before[0]
        files, rows = len(merged.before), sum(entry.rows for entry in merged.before)
        before = sum(entry.size_bytes for entry in merged.before)
        after = None if merged.after is None else merged.after.size_bytes
        what = f"{hour_start(first.hour):%Y-%m-%dT%H} {first.exchange} {first.symbol} {first.channel}"
        _print(f"{what:<45} {_change(files, 1, rows, before, after)}")
        self._files += files
        self._merged += 1
        self._rows += rows
        self._before += before
        self._after += after or 0

    def end(self) -> None:
        _print(f"{'all':<45} {_change(self._files, self._merged, self._rows, self._before, self._after)}")


def _change(files: int, merged: int, rows: int, before: int, after: int | None) -> str:
    size = f"{before / 1e6:,.2f} MB" + (f" → {after / 1e6:,.2f} MB" if after else "")
    return f"{files:>5,} → {merged:,} files  {rows:>10,} rows  {size}"


def _hours(text: str) -> float:
    return _within(float(text), 0, 1_000_000)


def _files(text: str) -> int:
    return int(_within(int(text), 2, 1_000_000))


def _level(text: str) -> int:
    return int(_within(int(text), 1, 22))


def _within(number: float, low: float, high: float) -> float:
    """Raises ArgumentTypeError."""
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"expected {low} to {high}, was {number}")
    return number


def _failed(why: str) -> int:
    _print(why, sys.stderr)
    return FAILED


def _print(text: str, file: TextIO | None = None) -> None:
    print(printable(text), file=file or sys.stdout, flush=True)
