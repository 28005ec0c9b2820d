"""Bybit's numbered books, and its word on a topic that is subscribed already."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from daedalus_collector.bybit import SUBSCRIBED, Numbers, bybit


def judged(numbers: Numbers, *updates: int | str) -> list[str]:
    """A number as text is a snapshot's."""
    return [numbers.judge("book", int(update), snapshot=isinstance(update, str)) for update in updates]


def test_updates_that_follow_each_other_are_the_next() -> None:
    """A snapshot is, whatever its number: Bybit begins at 1 when it starts anew."""
    assert judged(Numbers(), "7", 8, 9, "1", 2, 3) == ["next"] * 6


def test_a_missing_update_is_a_jump() -> None:
    """Forwards or backwards; what comes after it is measured from there."""
    assert judged(Numbers(), "7", 8, 10, 11, 3) == ["next", "next", "jump", "next", "jump"]


def test_the_books_are_numbered_each_for_itself() -> None:
    """One may be anywhere while the other goes on."""
    numbers = Numbers()
    verdicts = [numbers.judge(book, number, snapshot=number in {5, 90}) for book, number in
                (("a", 5), ("b", 90), ("a", 6), ("b", 91), ("a", 8))]  # fmt: skip
    assert verdicts == ["next", "next", "next", "next", "jump"]


def test_a_topic_that_numbers_otherwise_is_not_checked() -> None:
    """Told once, when the second snapshot in a row is followed by another number; a good one in between says it was a loss."""
    assert judged(Numbers(), "5", 7, "9", 11, 13, "20", 25) == [
        "next", "jump", "next", "unchecked", "next", "next", "next",
    ]  # fmt: skip
    assert judged(Numbers(), "5", 7, "9", 10, "11", 13) == ["next", "jump", "next", "next", "next", "jump"]


class Client:
    """A connection that keeps what is sent."""

    url = "wss://stream.bybit.com/v5/public/spot"

    def __init__(self, subscriptions: dict[str, Any]) -> None:
        self.subscriptions = subscriptions
        self.sent: list[dict[str, Any]] = []

    async def send(self, request: dict[str, Any]) -> None:
        self.sent.append(request)


class Exchange:
    """Stands for ccxt's class: keeps what it is told of."""

    def __init__(self) -> None:
        self.errors: list[object] = []

    def handle_error_message(self, _client: object, message: object) -> bool:
        self.errors.append(message)
        return True


@pytest.mark.parametrize(
    ("asked", "rest"), [(["tickers.A", "tickers.B", "tickers.C"], ["tickers.A", "tickers.C"]), (["tickers.B"], [])]
)
async def test_a_topic_that_is_subscribed_is_left_out_of_the_request(asked: list[str], rest: list[str]) -> None:
    """Bybit refused all of it: the others are asked for again, under the same id; nothing is an error."""
    subscription = {"id": 4, "topics": asked}
    client = Client({"ticker:A": subscription, "ticker:B": subscription, "trade:A": True})
    exchange = bybit(Exchange)()
    refusal = {"success": False, "ret_msg": f"{SUBSCRIBED}tickers.B", "req_id": "4", "op": "subscribe"}
    assert exchange.handle_error_message(client, refusal) is True
    await asyncio.sleep(0)
    assert client.sent == ([{"op": "subscribe", "req_id": 4, "args": rest}] if rest else [])
    assert set(client.subscriptions) == {"ticker:A", "ticker:B", "trade:A"}
    assert exchange.errors == []


def test_any_other_error_is_ccxts() -> None:
    """Its handler rejects what waits."""
    exchange, other = bybit(Exchange)(), {"success": False, "ret_msg": "error:handler not found,topic:weather"}
    exchange.handle_error_message(SimpleNamespace(subscriptions={}), other)
    assert exchange.errors == [other]
