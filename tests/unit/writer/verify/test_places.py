"""Where files are found."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from daedalus_writer.verify.places import Bucket, PlaceError, Tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A storage root with a segment in ready/, one in active/, and a copy."""
    for name in ("data/raw/ready/ccxt/b.parquet", "data/raw/ready/ccxt/a/x.ndjson.zst", "data/raw/active/shard-0.x/u.parquet",
                 "data/raw/ready/notes.txt", "copy/active/c.parquet"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize("given", ["data", "data/raw", "data/raw/ready"])
def test_storage_root_means_its_ready_folder(root: Path, given: str) -> None:
    """Whichever of them is given, the segments are those of ready/, whole, in order, and of active/ none."""
    tree = Tree(root / given)
    assert [Path(file.shown).name for file in tree.files()] == ["x.ndjson.zst", "b.parquet"]
    assert tree.ready == root / "data/raw/ready"


def test_tree_that_is_no_ready_folder(root: Path) -> None:
    """Of a part, of a copy, of one file nobody knows what should be in it; only an active/ beside a ready/ is left out."""
    for given, names in {
        "data/raw/ready/ccxt": ["x.ndjson.zst", "b.parquet"],
        "copy": ["c.parquet"],
        "data/raw/ready/notes.txt": ["notes.txt"],
        "": ["c.parquet", "x.ndjson.zst", "b.parquet"],
    }.items():
        tree = Tree(root / given)
        assert [Path(file.shown).name for file in tree.files()] == names
        assert tree.ready is None


def test_directory_that_vanishes_is_passed_over(root: Path) -> None:
    """Retention deletes a directory that it has emptied, while it is walked."""
    files = Tree(root / "data/raw").files()
    shutil.rmtree(root / "data/raw/ready/ccxt/a")
    assert [Path(file.shown).name for file in files] == ["b.parquet"]
    walked = Tree(root / "data/raw").files()
    (root / "data/raw/ready/ccxt/c").mkdir()
    assert next(walked).shown.endswith("b.parquet")
    (root / "data/raw/ready/ccxt/c").rmdir()
    assert list(walked) == []


def test_place_that_is_not_there(tmp_path: Path) -> None:
    """A wrong PATH is told before anything is read."""
    with pytest.raises(PlaceError, match="expected a file or a directory, found nothing"):
        Tree(tmp_path / "absent")
    with pytest.raises(PlaceError, match="expected s3://bucket/prefix"):
        Bucket("s3://", "", "us-east-1")


def test_pyarrow_without_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pyarrow's S3 client was removed the message says so."""
    monkeypatch.setitem(sys.modules, "pyarrow._s3fs", None)
    monkeypatch.delitem(sys.modules, "pyarrow.fs", raising=False)
    monkeypatch.delattr(pa, "fs", raising=False)
    with pytest.raises(PlaceError, match="pyarrow has no S3 client here"):
        Bucket("s3://bucket/prefix", "", "us-east-1")
