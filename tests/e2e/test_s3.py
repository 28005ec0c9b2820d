"""The profile s3, as compose/s3.env switches it on: what is in ready/ gets into the bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import boto3
import pytest

from e2e.images import ROOT, files
from e2e.project import Project, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SETTINGS = (ROOT / "compose/s3.env").read_text()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("s3")
    project = Project(
        "daedalus-e2e-s3", folder, files("compose/simulated.yml"), f"{SETTINGS}\nS3_DATA={folder / 'objects'}\n"
    )
    try:
        project.up()
        yield project
    finally:
        project.down()


def test_objects_equal_the_segments(project: Project) -> None:
    """Each segment becomes one object, below its own path and with its own bytes, and no other object appears."""
    settings = dict(line.split("=", 1) for line in SETTINGS.splitlines() if "=" in line and not line.startswith("#"))
    s3 = boto3.client(
        "s3",
        endpoint_url=f"http://{project.address('s3', 8333)}",
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    bucket = settings["DAEDALUS__STORAGE__BUCKET"]

    def keys() -> set[str]:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {found["Key"] for page in pages for found in page.get("Contents", [])}

    def segments() -> set[str]:
        return {str(path.relative_to(project.ready)) for path in project.ready.rglob("*.parquet")}

    wait_for(
        "objects of both exchanges", lambda: {"coinbaseadvanced", "kraken"} <= {exchange(key) for key in keys()}, 60
    )
    project.get("simulator", 9000, "/sim/pause", post=True)
    wait_for("as many objects as segments", lambda: keys() == segments() or None, 60)
    for key in keys():
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert hashlib.sha256(body).digest() == hashlib.sha256((project.ready / key).read_bytes()).digest(), key


def exchange(key: str) -> str:
    """Of `ccxt/trade/exchange=kraken/symbol=…`."""
    return key.split("exchange=")[1].split("/", maxsplit=1)[0]
