"""The network's faults, between the real client and the real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from daedalus.config import Storage
from daedalus_sync.object_store import StoreError
from daedalus_sync.s3 import S3Store, open_store
from daedalus_sync.segment import from_entry
from daedalus_sync.upload import upload
from support.fault_proxy import Fault, FaultProxy
from support.s3 import ACCESS_KEY, SECRET_KEY, S3Server
from support.segments import content, entry_of, path_of, write

DATA = content(1, 1_000_000)
SEGMENT = from_entry(entry_of(path_of(1), DATA))


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    proxy = FaultProxy(s3_server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def store(proxy: FaultProxy, bucket: str, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    return open_store(Storage(backend="s3", bucket=bucket, endpoint_url=proxy.url))


@pytest.mark.parametrize(
    ("faults", "put"),
    [(["cut"], "now"), (["slow_down"], "now"), (["lose_response"], "before"), (["cut", "slow_down"], "now")],
)
def test_fault_is_survived(
    faults: list[Fault],
    put: str,
    store: S3Store,
    proxy: FaultProxy,
    s3_server: S3Server,
    bucket: str,
    tmp_path: Path,
) -> None:
    """One call ends with the whole object; where only the answer was lost, the retry's 412 is compared, not believed."""
    file = write(tmp_path, SEGMENT.path, DATA)
    proxy.faults.extend(faults)
    assert upload(store, SEGMENT.path, SEGMENT, file) is (put == "now")
    assert not proxy.faults, "the faults were met"
    assert s3_server.objects(bucket) == {SEGMENT.path: DATA}


def test_lasting_fault_is_transient(
    store: S3Store, proxy: FaultProxy, s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    """A server that is too busy four times running is a transient error, and nothing is stored."""
    file = write(tmp_path, SEGMENT.path, DATA)
    proxy.faults.extend(["slow_down"] * 4)
    with pytest.raises(StoreError) as caught:
        upload(store, SEGMENT.path, SEGMENT, file)
    assert caught.value.kind == "throttled"
    assert s3_server.objects(bucket) == {}


def test_clock_is_wrong(s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A clock 20 minutes off waits for the clock; the file is not blamed."""
    import datetime as dt

    import botocore.auth

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)

    def late(*_: object, **__: object) -> dt.datetime:
        return dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(minutes=20)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", late)
    store = open_store(Storage(backend="s3", bucket=bucket, endpoint_url=s3_server.url))
    with pytest.raises(StoreError) as caught:
        upload(store, SEGMENT.path, SEGMENT, write(tmp_path, SEGMENT.path, DATA))
    assert caught.value.kind == "clock"
