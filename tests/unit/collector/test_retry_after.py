"""How long an exchange asks to be left alone."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from aiohttp import WSServerHandshakeError
from ccxt.base.errors import NetworkError
from multidict import CIMultiDict

from daedalus_collector import retry_after
from daedalus_collector.retry_after import LEAST_SECONDS, MOST_SECONDS, asked_seconds, retry_after_seconds


@pytest.mark.parametrize(
    ("told", "status", "seconds"),
    [
        ("3", 429, 3.0),
        ("30", 503, 30.0),
        ("999999", 418, MOST_SECONDS),
        ("soon", 429, LEAST_SECONDS),
        ("²", 429, LEAST_SECONDS),
        ("0", 429, LEAST_SECONDS),
        ("", 418, LEAST_SECONDS),
        ("", 503, 0.0),
    ],
)
def test_what_is_asked_is_waited_for(told: str, status: int, seconds: float) -> None:
    """Within bounds; after "too many" at least a while, even without a word of how long."""
    for name in ("Retry-After", "retry-after"):
        assert retry_after_seconds({name: told} if told else None, status) == seconds


@pytest.mark.parametrize(
    ("told", "status", "seconds"),
    [
        ("Wed, 21 Oct 2026 07:28:25 GMT", 429, 25.0),
        ("Wed, 21 Oct 2026 07:28:25 -0000", 503, 25.0),
        ("Wed, 21 Oct 2026 09:28:25 +0200", 503, 25.0),
        ("Thu, 22 Oct 2026 07:28:00 GMT", 418, MOST_SECONDS),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 503, 0.0),
        ("Tue, 20 Oct 2026 07:28:00 GMT", 429, LEAST_SECONDS),
        ("Wed, 21 Oct 99999 07:28:00 GMT", 503, 0.0),
        ("Wed, 32 Oct 2026 07:28:25 GMT", 503, 0.0),
        ("Wed, 21 Oct 2026 07:28:25 +9999", 503, 0.0),
    ],
)
def test_a_date_is_waited_for(told: str, status: int, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the date of the answer, by the exchange's own clock; by ours where it has none. Within the same bounds."""
    now = "Wed, 21 Oct 2026 07:28:00 GMT"
    assert retry_after_seconds({"Retry-After": told, "Date": now}, status) == seconds
    monkeypatch.setattr(retry_after, "time", Mock(time=lambda: 1792567680.0))
    assert retry_after_seconds({"retry-after": told}, status) == seconds
    assert retry_after_seconds({"retry-after": told, "date": "today"}, status) == seconds


def test_the_answer_to_a_handshake_is_found_in_the_error() -> None:
    """Bare or in ccxt's own; an error that is no answer asks nothing."""
    answer = WSServerHandshakeError(Mock(), (), status=503, headers=CIMultiDict({"retry-after": "7"}))
    assert asked_seconds(answer) == asked_seconds(NetworkError(answer)) == 7.0
    assert asked_seconds(NetworkError("code 1006")) == asked_seconds("closed") == asked_seconds(KeyError()) == 0.0
