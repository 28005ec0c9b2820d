"""`daedalus-writer verify`: the command line."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import pyarrow as pa

from daedalus import config_file, logs
from daedalus.config import Config
from daedalus.errors import EXIT_CONFIG, ConfigError
from daedalus_writer.verify.output import Output
from daedalus_writer.verify.places import Bucket, Place, PlaceError, Tree
from daedalus_writer.verify.report import USAGE
from daedalus_writer.verify.verification import Verification

_EXIT_CODES = """exit codes:
  0  every segment is intact; there may be gaps
  1  something is damaged, missing, doubled, or not in the catalog
  2  wrong usage, or a PATH without segments (1 counts more)
  3  with --strict: intact, but there are gaps
  78 the configuration has mistakes
"""


def main(arguments: list[str]) -> int:
    parsed = _parse(arguments)
    logs.configure("writer", "error")
    pa.set_cpu_count(1)  # the threads of the inspection are the parallelism
    output = Output(as_json=parsed.json, quiet=parsed.quiet)
    try:
        config = configured(parsed.config)
        places = [_place(path, parsed, config) for path in parsed.paths]
    except ConfigError as error:
        print(f"{parsed.config}: {len(error.mistakes)} mistakes", *error.mistakes, sep="\n  ", file=sys.stderr)  # noqa: T201  # the command's answer
        return EXIT_CONFIG
    except PlaceError as error:
        output.error(str(error))
        return USAGE
    nats_url = None if parsed.no_catalog else parsed.nats or config.nats.url
    return Verification(places, nats_url, output).run(strict=parsed.strict)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="daedalus-writer verify",
        description="Check segments: footer, every page's checksum, every row, and, with the catalog, size, SHA-256, "
        "sequences and what is missing. Changes nothing.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a segment, a directory, or s3://bucket/prefix")
    default = os.environ.get("DAEDALUS_CONFIG", "config.yaml")
    parser.add_argument("--config", type=Path, help=f"where the catalog and S3 are; default: {default}, if it is there")
    catalog = parser.add_mutually_exclusive_group()
    catalog.add_argument("--nats", metavar="URL", help="the server that has the catalog; default: as configured")
    catalog.add_argument("--no-catalog", action="store_true", help="do not ask for the catalog")
    parser.add_argument("--endpoint-url", metavar="URL", help="of the S3 server; default: as configured")
    parser.add_argument("--region", help="of the bucket; default: as configured")
    parser.add_argument("--json", action="store_true", help="one JSON object for each finding, the last is the summary")
    parser.add_argument("--strict", action="store_true", help="exit 3 when there are gaps")
    parser.add_argument("--quiet", action="store_true", help="print what is wrong, nothing else")
    return parser.parse_args(arguments)


def configured(path: Path | None) -> Config:
    """Raises ConfigError. Without a file there are the defaults, and what the environment sets."""
    if path is None:
        default = Path(os.environ.get("DAEDALUS_CONFIG", "config.yaml"))
        path = default if default.exists() else Path(os.devnull)
    return config_file.load(path, os.environ)


def _place(path: str, parsed: argparse.Namespace, config: Config) -> Place:
    """Raises PlaceError."""
    if path.startswith("s3://"):
        return Bucket(path, parsed.endpoint_url or config.storage.endpoint_url, parsed.region or config.storage.region)
    return Tree(Path(path))
