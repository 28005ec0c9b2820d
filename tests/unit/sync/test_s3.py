"""Keys, and what is wrong with a configuration before anything is connected."""

from __future__ import annotations

import pytest

from daedalus.config import Storage
from daedalus.errors import ConfigError
from daedalus_sync.s3 import object_key, open_store


@pytest.mark.parametrize("prefix", ["lake/raw", "lake/raw/", "/lake/raw/"])
def test_prefix_slashes(prefix: str) -> None:
    """However the prefix is written, the key has one slash after it and none before."""
    assert object_key(prefix, "ccxt/a") == "lake/raw/ccxt/a"


def test_no_prefix() -> None:
    """Without a prefix the key is the path."""
    assert object_key("", "ccxt/a") == object_key("/", "ccxt/a") == "ccxt/a"


@pytest.mark.parametrize(
    ("storage", "mistake"),
    [
        (Storage(bucket="a bucket"), "storage.bucket: expected letters"),
        (Storage(bucket="segments", endpoint_url="localhost:9000"), "storage.endpoint_url: expected http"),
        (Storage(bucket="segments", endpoint_url="http://"), "storage.endpoint_url: expected http"),
        (Storage(bucket="segments", endpoint_url="http://key:secret@host"), "expected no credentials"),
        (Storage(bucket="segments", region=""), "storage.region"),
    ],
)
def test_mistakes(storage: Storage, mistake: str) -> None:
    """Each mistake is told with its key, and no secret."""
    with pytest.raises(ConfigError, match="storage") as caught:
        open_store(storage)
    assert mistake in str(caught.value)
    assert "key:secret" not in str(caught.value)


def test_all_mistakes_at_once() -> None:
    """A configuration with three mistakes is told all three."""
    with pytest.raises(ConfigError) as caught:
        open_store(Storage(bucket="", endpoint_url="ftp://host", region=""))
    assert len(caught.value.mistakes) == 3
