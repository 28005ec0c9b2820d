"""The same questions to the simulated JetStream and to a real server: what the simulation stands on must be so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from random import Random
from typing import NamedTuple

import nats.js.errors
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from daedalus import broker
from daedalus.config import Ingestion, Nats
from daedalus.naming import CATALOG_STREAM, CHECKPOINT_BUCKET
from daedalus.streams import ensure_streams
from daedalus_writer.reader import Message, Reader
from daedalus_writer.recovery import iso
from daedalus_writer.segment import Position
from daedalus_writer.trimming import trim
from simulation.client import SimulatedClient, as_client
from simulation.jetstream import Server
from simulation.network import Network

CHAIN = "catalog.0.>"


class Side(NamedTuple):
    client: Client
    js: JetStreamContext


@pytest.fixture(params=["simulated", "real"])
async def side(request: pytest.FixtureRequest) -> AsyncIterator[Side]:
    if request.param == "real":
        client = await broker.connect(request.getfixturevalue("nats_server").url, "test")
        await ensure_streams(client.jetstream(), Nats())
        yield Side(client, client.jetstream())
        await client.close()
        return
    server = Server(time.time_ns, time.monotonic)
    server.add("MD-0", "md.0.>")
    server.add(CATALOG_STREAM, "catalog.>")
    server.add(f"KV_{CHECKPOINT_BUCKET}", f"$KV.{CHECKPOINT_BUCKET}.>", last_only=True)
    client = as_client(SimulatedClient(Network(asyncio.get_running_loop(), Random(1), server).connect(None)))
    yield Side(client, client.jetstream())


def expecting(sequence: int) -> dict[str, str]:
    name = "Nats-Expected-Last-Subject-Sequence"
    return {name: str(sequence), f"{name}-Subject": CHAIN}


async def test_chain_has_one_end(side: Side) -> None:
    """A message that expects another end of its chain is refused; 0 is the end of an empty one; other chains and gaps
    between sequences do not matter."""
    for wrong in (1, 2):
        with pytest.raises(nats.js.errors.APIError) as refused:
            await side.js.publish("catalog.0.owner", b"", headers=expecting(wrong))
        assert refused.value.err_code == 10071
    assert (await side.js.publish("catalog.0.owner", b"one", headers=expecting(0))).seq == 1
    await side.js.publish("catalog.1.owner", b"")
    assert (await side.js.publish("catalog.0.kraken.trade.BTC", b"two", headers=expecting(1))).seq == 3
    with pytest.raises(nats.js.errors.APIError):
        await side.js.publish("catalog.0.owner", b"", headers=expecting(1))
    last = await side.js.get_last_msg(CATALOG_STREAM, CHAIN)
    assert (last.seq, last.subject, last.data) == (3, "catalog.0.kraken.trade.BTC", b"two")
    with pytest.raises(nats.js.errors.NotFoundError):
        await side.js.get_last_msg(CATALOG_STREAM, "catalog.7.>")


async def test_message_id_is_stored_once(side: Side) -> None:
    """Sent again under its id a message is acknowledged with its first sequence, whatever it expects."""
    header = {"Nats-Msg-Id": "a.b.1"}
    assert (await side.js.publish("md.0.x.trade", b"1", headers=header)).seq == 1
    await side.js.publish("md.0.x.trade", b"2")
    again = await side.js.publish("md.0.x.trade", b"1", headers=header)
    assert (again.seq, again.duplicate) == (1, True)


async def test_purge_leaves_the_numbers(side: Side) -> None:
    """Purged up to a sequence, a stream goes on with its numbers, or behind that sequence; a purged message is not found."""
    for number in range(4):
        await side.js.publish("md.0.x.trade", str(number).encode())
    await side.js.purge_stream("MD-0", seq=3)
    state = (await side.js.stream_info("MD-0")).state
    assert (state.messages, state.first_seq, state.last_seq) == (2, 3, 4)
    with pytest.raises(nats.js.errors.NotFoundError):
        await side.js.get_msg("MD-0", seq=2)
    assert (await side.js.get_msg("MD-0", seq=3)).data == b"2"
    await side.js.purge_stream("MD-0", seq=9)
    state = (await side.js.stream_info("MD-0")).state
    assert (state.messages, state.first_seq, state.last_seq) == (0, 9, 8)


async def test_bucket_keeps_one_value(side: Side) -> None:
    """A key is created where there is none and updated at its own revision only."""
    bucket = await side.js.key_value(CHECKPOINT_BUCKET)
    with pytest.raises(nats.js.errors.KeyNotFoundError):
        await bucket.get("0")
    first = await bucket.create("0", b"one")
    with pytest.raises(nats.js.errors.KeyWrongLastSequenceError):
        await bucket.create("0", b"two")
    second = await bucket.update("0", b"two", last=first)
    with pytest.raises(nats.js.errors.KeyWrongLastSequenceError):
        await bucket.update("0", b"three", last=first)
    found = await bucket.get("0")
    assert (found.value, found.revision) == (b"two", second)


async def read(side: Side, start: dict[str, object], count: int) -> tuple[int, list[Message]]:
    """How many waited, and the first so many messages."""
    reader = Reader(side.client, "MD-0", Ingestion(pull_batch=2))
    waiting = await reader.open(start)
    found: list[Message] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await reader.read(0.2)
    await reader.close()
    return waiting, found


async def test_reader_starts_where_it_is_told(side: Side) -> None:
    """By sequence and by time, in pulls of two, over what was purged, and on to what comes later."""
    for number in range(5):
        await side.js.publish("md.0.x.trade", str(number).encode())
    await side.js.purge_stream("MD-0", seq=2)
    waiting, all_of_them = await read(side, {"deliver_policy": "all"}, 4)
    assert (waiting, [one.sequence for one in all_of_them]) == (4, [2, 3, 4, 5])
    assert [one.pending for one in all_of_them] == [3, 2, 1, 0]
    waiting, some = await read(side, {"deliver_policy": "by_start_sequence", "opt_start_seq": 4}, 2)
    assert (waiting, some[0].data, some[1].sequence) == (2, b"3", 5)
    after = iso(all_of_them[2].timestamp_ns + 1)
    assert (await read(side, {"deliver_policy": "by_start_time", "opt_start_time": after}, 1))[1][0].sequence == 5
    later = asyncio.create_task(read(side, {"deliver_policy": "by_start_sequence", "opt_start_seq": 6}, 1))
    await asyncio.sleep(0.05)
    await side.js.publish("md.0.x.trade", b"new")
    assert (await later)[1][0].data == b"new"


async def published(side: Side, count: int) -> list[Position]:
    """Put messages into the stream; returns the places of all that are there."""
    for number in range(count):
        await side.js.publish("md.0.x.trade", str(number).encode())
    state = (await side.js.stream_info("MD-0")).state
    _, messages = await read(side, {"deliver_policy": "all"}, state.messages)
    return [message.position for message in messages]


async def first_and_count(side: Side) -> tuple[int, int]:
    state = (await side.js.stream_info("MD-0")).state
    return state.first_seq, state.messages


async def test_trim_takes_what_is_committed(side: Side) -> None:
    """Up to the position, and of that what is older than what is to be retained; nothing before the first commit."""
    positions = await published(side, 6)
    await trim(side.client, 0, Position(0, 0), 0.0)
    await trim(side.client, 0, positions[3], 3600.0)
    assert await first_and_count(side) == (1, 6)
    await trim(side.client, 0, positions[3], 0.0)
    assert await first_and_count(side) == (5, 2)
    await trim(side.client, 0, positions[1], 0.0)
    assert await first_and_count(side) == (5, 2)


async def test_trim_spares_sequences_that_are_used_again(side: Side) -> None:
    """After the stream was rolled back nothing is trimmed by a position from before, for the messages that have its
    sequences now may not have been read; by a new position it is."""
    before = await published(side, 6)
    client: object = side.client
    if isinstance(client, SimulatedClient):
        client.server.stream("MD-0").roll_back(3)
    else:
        await side.js.delete_stream("MD-0")  # as good as a power cut that took it all
        await ensure_streams(side.js, Nats())
        await published(side, 3)
    now = await published(side, 2)
    for position in before[3:]:
        await trim(side.client, 0, position, 0.0)
    assert await first_and_count(side) == (1, 5)
    await trim(side.client, 0, now[3], 0.0)
    assert await first_and_count(side) == (5, 1)
