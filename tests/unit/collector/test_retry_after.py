"""How long an exchange asks to be left alone."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from aiohttp import WSServerHandshakeError
from ccxt.base.errors import NetworkError
from multidict import CIMultiDict

from daedalus_collector.retry_after import LEAST_SECONDS, MOST_SECONDS, asked_seconds, retry_after_seconds


@pytest.mark.parametrize(
    ("told", "status", "seconds"),
    [
        ("3", 429, 3.0),
        ("30", 503, 30.0),
        ("999999", 418, MOST_SECONDS),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 429, LEAST_SECONDS),
        ("", 418, LEAST_SECONDS),
        ("", 503, 0.0),
    ],
)
def test_what_is_asked_is_waited_for(told: str, status: int, seconds: float) -> None:
    """Within bounds; after "too many" at least a while, even without a word of how long."""
    for name in ("Retry-After", "retry-after"):
        assert retry_after_seconds({name: told} if told else None, status) == seconds


def test_the_answer_to_a_handshake_is_found_in_the_error() -> None:
    """Bare or in ccxt's own; an error that is no answer asks nothing."""
    answer = WSServerHandshakeError(Mock(), (), status=503, headers=CIMultiDict({"retry-after": "7"}))
    assert asked_seconds(answer) == asked_seconds(NetworkError(answer)) == 7.0
    assert asked_seconds(NetworkError("code 1006")) == asked_seconds("closed") == asked_seconds(KeyError()) == 0.0
