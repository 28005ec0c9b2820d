"""The publisher on a real server: whatever happens to it, each batch is stored once, in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import nats
import pytest
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StreamConfig
from prometheus_client import CollectorRegistry

from daedalus import wire
from daedalus.records import Gap, Trade
from daedalus_collector import publisher, spill_file
from daedalus_collector.feed import Pair
from daedalus_collector.metrics import Metrics
from daedalus_collector.outbox import ClosedBatch, Outbox, OutboxLimits
from daedalus_collector.publisher import Publisher
from daedalus_collector.recorder import Recorder
from daedalus_collector.spill import Spill
from support.eventually import eventually
from support.nats import NatsServer


class Publishing:
    """An outbox and its publisher, fed by hand with numbered trades."""

    def __init__(
        self,
        url: str,
        *,
        window_seconds: float = 120,
        records: int = 10**6,
        spill_folder: Path = Path(os.devnull),
        spill_bytes: int = 0,
        boot: str = "b0",
        added: int = 0,
    ) -> None:
        limits = OutboxLimits(batch_records=10, batch_bytes=60_000, linger_ns=10_000_000, records=records, bytes=10**9)
        self.metrics = Metrics(CollectorRegistry(), "kraken")
        self.outbox = Outbox("kraken", "one", boot, limits)
        self.spill = Spill(spill_folder, spill_bytes, self.metrics)
        self.spill.open()
        self.publisher = Publisher(url, self.outbox, self.spill, self.metrics, window_seconds)
        self.outbox.on_change = self.publisher.wake
        self._line = self.outbox.line("trade", "BTC/USD")
        self.added = added

    def add(self, records: int, padding: int = 0) -> None:
        for _ in range(records):
            received_ns = time.time_ns()
            id_ = f"{self.added:0{padding or 1}}"
            assert self.outbox.add(self._line, Trade(received_ns, None, id_, 1.0, 1.0, None))
            self.added += 1

    async def add_slowly(self, records: int) -> None:
        """As fast as the disk takes what memory cannot hold."""
        for _ in range(records // 10):
            self.add(10)
            await eventually(lambda: not self.outbox.crowded, "it went to disk")

    async def spill_all(self, records: int) -> None:
        for _ in range(records // 100):
            self.add(100)
            await self.publisher.put_away()

    async def drained(self) -> None:
        await asyncio.wait_for(self.publisher.drained(), 60)


@contextlib.asynccontextmanager
async def publishing(
    url: str, *, window_seconds: float = 120, made: Publishing | None = None
) -> AsyncIterator[Publishing]:
    made = made or Publishing(url, window_seconds=window_seconds)
    task = asyncio.create_task(made.publisher.run())
    try:
        yield made
        assert not task.done(), task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})
        made.spill.close()


@contextlib.asynccontextmanager
async def streaming(
    server: NatsServer, *, max_bytes: int = -1, window_seconds: float = 120
) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(server.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    js = client.jetstream()
    await js.add_stream(
        StreamConfig(
            name="MD-0",
            subjects=["md.0.>"],
            max_bytes=max_bytes,
            discard=DiscardPolicy.NEW,
            duplicate_window=window_seconds,
            allow_direct=True,
        )
    )
    try:
        yield js
    finally:
        await client.close()


async def stored(js: JetStreamContext) -> list[wire.Batch]:
    """Every batch of the stream, in order."""
    info = await js.stream_info("MD-0")
    messages = [await js.get_msg("MD-0", seq) for seq in range(info.state.first_seq, info.state.last_seq + 1)]
    return [wire.decode(message.data or b"") for message in messages]


def check(batches: list[wire.Batch], added: int) -> None:
    """Each batch of a run once, in order, with every record in it."""
    for boot in {batch.boot for batch in batches}:
        counters = [batch.counter for batch in batches if batch.boot == boot]
        assert counters == list(range(len(counters)))
    ids = [
        int(record.id or "")
        for batch in batches
        for part in batch.parts
        for record in wire.decode_records("trade", part.records)
        if isinstance(record, Trade)
    ]
    assert ids == list(range(added))


async def test_everything_arrives_once_and_in_order(nats_server: NatsServer) -> None:
    """More than a window at once, and single records that linger; the outbox is empty afterwards."""
    async with streaming(nats_server) as js, publishing(nats_server.url) as made:
        made.add(3_000)
        await made.drained()
        made.add(1)
        await eventually(lambda: made.metrics.sent["trade"] == 3_001, "the lingering record is sent")
        check(await stored(js), 3_001)
        assert (made.outbox.records, made.outbox.bytes, made.publisher.unacknowledged) == (0, 0, 0)
        assert made.publisher.problem() is None
        assert made.metrics.resent_batches == 0


async def test_a_killed_server_loses_and_doubles_nothing(nats_server: NatsServer) -> None:
    """kill -9 three times in the middle of publishing: each batch is stored once, in order."""
    async with streaming(nats_server) as js, publishing(nats_server.url) as made:
        for _ in range(3):
            kills_at = made.metrics.batches + 60
            while made.metrics.batches < kills_at:
                if made.publisher.unacknowledged < 50:
                    made.add(40)
                await asyncio.sleep(0)
            nats_server.kill()
            made.add(500)
            await eventually(lambda: made.publisher.problem() is not None, "the problem is shown")
            nats_server.start()
        made.add(100)
        await made.drained()
        check(await stored(js), made.added)
        assert made.metrics.resent_batches > 0, "batches were in flight when the server died"
        assert made.metrics.sent["trade"] == made.added


async def test_a_frozen_server_gets_everything_again_once(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No acknowledgement in time: sent again under the same id, stored once."""
    monkeypatch.setattr(publisher, "ACK_SECONDS", 0.5)
    async with streaming(nats_server) as js, publishing(nats_server.url) as made:
        made.add(100)
        await made.drained()
        os.kill(nats_server.pid, signal.SIGSTOP)
        made.add(300)
        await eventually(lambda: made.publisher.problem() is not None, "the silence is noticed")
        os.kill(nats_server.pid, signal.SIGCONT)
        await made.drained()
        check(await stored(js), 400)
        assert made.metrics.resent_batches > 0


async def test_a_full_stream_holds_back_until_there_is_room(nats_server: NatsServer) -> None:
    """Refusals are shown, nothing is dropped, and everything arrives once after a purge."""
    async with streaming(nats_server, max_bytes=20_000) as js, publishing(nats_server.url) as made:
        made.add(1_000)
        await eventually(lambda: "10077" in (made.publisher.problem() or ""), "the refusal is shown")
        early = await stored(js)
        assert 0 < made.metrics.sent["trade"] < 1_000
        await js.update_stream(StreamConfig(name="MD-0", subjects=["md.0.>"], max_bytes=10_000_000, allow_direct=True, discard=DiscardPolicy.NEW))  # fmt: skip
        await made.drained()
        batches = await stored(js)
        assert batches[: len(early)] == early
        check(batches, 1_000)
        assert made.publisher.problem() is None
        assert made.metrics.errors["refused"] > 0


async def test_an_old_batch_is_looked_up_before_it_is_sent_again(nats_server: NatsServer) -> None:
    """The duplicate window of the server has passed; what it stored before it died is found in the stream."""
    async with streaming(nats_server, window_seconds=1) as js:
        made = Publishing(nats_server.url, window_seconds=11)  # 10 s of margin: old after one second
        first = asyncio.create_task(made.publisher.run())
        answers = asyncio.Event()
        made.publisher._answered = lambda *_: answers.set()  # type: ignore[method-assign]  # acknowledgements get lost
        made.add(50)
        await asyncio.wait_for(answers.wait(), 60)
        await eventually(lambda: _holds(js, 5), "the batches are stored")
        first.cancel()
        await asyncio.wait({first})
        del made.publisher._answered
        await asyncio.sleep(2.5)
        made.add(20)
        second = asyncio.create_task(made.publisher.run())
        await made.drained()
        second.cancel()
        check(await stored(js), 70)
        assert made.metrics.sent["trade"] == 70


async def _holds(js: JetStreamContext, messages: int) -> bool:
    return (await js.stream_info("MD-0")).state.messages == messages


async def test_a_missing_stream_is_waited_for(nats_server: NatsServer) -> None:
    """Nobody takes the subject: that is shown, and the batches wait."""
    async with publishing(nats_server.url) as made:
        made.add(10)
        await eventually(lambda: "no stream" in (made.publisher.problem() or ""), "the refusal is shown")
        async with streaming(nats_server) as js:
            await made.drained()
            check(await stored(js), 10)


async def test_a_duplicate_is_told_apart_though_the_stream_is_full(nats_server: NatsServer) -> None:
    """What the publisher relies on: JetStream looks for the id before it looks for room."""
    async with streaming(nats_server, max_bytes=3_000) as js:
        await js.publish("md.0.x", b"x" * 1_000, headers={"Nats-Msg-Id": "one"})
        refused = False
        for number in range(10):
            try:
                await js.publish("md.0.x", b"x" * 1_000, headers={"Nats-Msg-Id": f"more {number}"})
            except nats.js.errors.APIError as error:
                refused = error.err_code == 10077
        assert refused
        ack = await js.publish("md.0.x", b"x" * 1_000, headers={"Nats-Msg-Id": "one"})
        assert ack.duplicate


def spilling(server: NatsServer, folder: Path, **more: object) -> Publishing:
    """Memory for 200 records, and a megabyte of disk."""
    return Publishing(server.url, **({"records": 200, "spill_folder": folder, "spill_bytes": 10**6} | more))  # type: ignore[arg-type]


async def test_a_long_outage_goes_over_the_disk(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times what memory holds, twice, the second outage in the middle of catching up: once and in order."""
    monkeypatch.setattr(spill_file, "FILE_BYTES", 4_000)
    async with (
        streaming(nats_server) as js,
        publishing(nats_server.url, made=spilling(nats_server, tmp_path)) as made,
    ):
        made.add(95)
        await eventually(lambda: made.metrics.batches > 3, "it publishes")
        for _ in range(2):
            nats_server.kill()
            await made.add_slowly(1_000)
            made.add(35)
            assert "wait on disk" in (made.spill.problem() or "")
            assert made.publisher.stored_ns(time.time_ns()) <= (made.spill.oldest_ns() or 0)
            sent = made.metrics.sent["trade"]
            nats_server.start()
            await eventually(lambda sent=sent: made.metrics.sent["trade"] > sent, "it catches up")  # type: ignore[misc]
        await made.drained()
        check(await stored(js), made.added)
        assert made.metrics.sent["trade"] == made.added
        assert made.metrics.spilled_records >= 1_800
        assert made.metrics.discarded["trade", "outbox_full"] == 0
        assert (made.outbox.records, made.outbox.bytes, made.spill.size_bytes) == (0, 0, 0)
        assert made.spill.problem() is None


async def test_nothing_is_sent_of_what_moves_to_the_disk(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow disk, and a JetStream that takes everything: each batch goes one way, in order."""
    async with (
        streaming(nats_server) as js,
        publishing(nats_server.url, made=spilling(nats_server, tmp_path)) as made,
    ):
        put = made.spill.put

        async def slowly(batches: Sequence[ClosedBatch]) -> int:
            made.add(5)
            await asyncio.sleep(0.2)
            return await put(batches)

        monkeypatch.setattr(made.spill, "put", slowly)
        made.add(150)
        await eventually(lambda: made.metrics.spilled_records > 0, "it went to disk")
        await made.drained()
        check(await stored(js), made.added)
        assert made.outbox.records == 0


async def test_the_next_run_publishes_what_a_dead_one_spilled(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died after JetStream had stored part of a file, and forgot it since: each batch is there once, under its own id,
    before those of the new run.
    """
    monkeypatch.setattr(spill_file, "FILE_BYTES", 4_000)
    async with streaming(nats_server, window_seconds=1) as js:
        dead = spilling(nats_server, tmp_path)
        await dead.spill_all(500)
        first = await dead.spill.oldest()
        for batch in first[:-2]:
            await js.publish(batch.subject, batch.message, headers={"Nats-Msg-Id": batch.message_id})
        dead.spill.close()  # the kernel does so for a process that was killed
        await asyncio.sleep(1.5)  # JetStream forgets the ids
        async with publishing(
            nats_server.url, made=spilling(nats_server, tmp_path, boot="b1", added=dead.added)
        ) as made:
            made.add(55)
            await made.drained()
            check(await stored(js), made.added)
            assert made.metrics.sent["trade"] == made.added
            assert not list(tmp_path.glob("*/*.spill"))


@pytest.mark.parametrize("run", ["same", "next"])
async def test_what_was_in_flight_when_it_went_to_disk_is_stored_once(
    nats_server: NatsServer, tmp_path: Path, run: str
) -> None:
    """Batches whose outcome is unknown, closed and open ones: when JetStream is back, and in the next run."""
    async with streaming(nats_server, window_seconds=1) as js:
        try:
            async with publishing(nats_server.url, made=spilling(nats_server, tmp_path)) as made:
                made.add(5)
                await made.drained()
                os.kill(nats_server.pid, signal.SIGSTOP)
                made.add(35)
                await eventually(lambda: len(made.publisher._in_flight) > 2, "they are sent")
                made.add(12)
                await made.publisher.put_away()
                assert (made.outbox.records, made.publisher.unacknowledged) == (0, 0)
        finally:
            os.kill(nats_server.pid, signal.SIGCONT)
        await asyncio.sleep(1.5)  # JetStream stores what it was sent, and forgets the ids
        later = made if run == "same" else spilling(nats_server, tmp_path, boot="b1")
        async with publishing(nats_server.url, made=later):
            await later.drained()
        check(await stored(js), 52)


async def test_beyond_the_spill_gaps_have_the_exact_count(nats_server: NatsServer, tmp_path: Path) -> None:
    """Memory and disk are full: what is recorded and what the gap counts make together what came."""
    pair = Pair("trade", "BTC/USD")
    made = spilling(nats_server, tmp_path, spill_bytes=20_000)
    recorder = Recorder([pair], made.outbox, made.metrics)
    came = 0

    def record(records: int) -> None:
        nonlocal came
        for _ in range(records):
            recorder.record(pair, Trade(time.time_ns(), None, str(came), 1.0, 1.0, None))
            came += 1

    async with publishing(nats_server.url, made=made):
        while made.metrics.discarded["trade", "outbox_full"] < 500 or made.spill.problem() is None:
            record(10)
            await asyncio.sleep(0.001)
        assert sum(path.stat().st_size for path in tmp_path.glob("*/*.spill")) <= 20_000
        assert "full" in (made.spill.problem() or "")
        async with streaming(nats_server) as js:
            await made.drained()
            record(1)
            await made.drained()
            batches = await stored(js)
    records = [record for batch in batches for part in batch.parts for record in wire.decode_records(batch.channel, part.records)]  # fmt: skip
    trades = [record for record in records if isinstance(record, Trade)]
    gaps = [record for record in records if isinstance(record, Gap)]
    assert len({trade.id for trade in trades}) == len(trades)
    assert sum(gap.records or 0 for gap in gaps) == came - len(trades)  # a slow disk may have let some in between
    assert {gap.cause for gap in gaps} == {"outbox_full"}
