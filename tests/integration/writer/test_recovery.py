"""Recovery at start, at each place of the commit where a crash can leave things."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from prometheus_client import CollectorRegistry

from daedalus import broker
from daedalus.catalog import Checkpoint, Entry
from daedalus.config import Config, Nats, Storage
from daedalus.errors import FencedError
from daedalus.records import Trade
from daedalus.streams import ensure_streams
from daedalus.wire import NS_PER_HOUR, append_record
from daedalus_writer.commit import Sealer, publish_file
from daedalus_writer.commit_log import CommitLog
from daedalus_writer.disk import Disk, Room
from daedalus_writer.layout import Folders, Key
from daedalus_writer.metrics import Metrics
from daedalus_writer.recovery import Recovered, recover, start_of_reading
from daedalus_writer.segment import START, Position, Segment
from daedalus_writer.spool import Spool
from support.nats import NatsServer

HOUR = 497_123
KEY = Key("kraken", "trade", "BTC/USD", HOUR)


class Bench:
    """A shard's parts on a real server, to be stopped after any step."""

    def __init__(self, client: Client, root: Path) -> None:
        self.js = client.jetstream()
        self.config = Config(storage=Storage(root=str(root)))
        self.root = root
        self.move_in("first")

    def move_in(self, boot: str) -> None:
        """As a new run of a writer."""
        self.folders = Folders(self.root, 0, boot)
        self.folders.create()
        self.spool = Spool(self.folders.room, HOUR)
        self.sealer = Sealer(self.config, self.folders, 0, f"test.{boot}")

    async def open(self) -> CommitLog:
        return await CommitLog.open(self.js, 0, "test")

    async def publish(self, count: int) -> int:
        """Put messages into the stream; returns the server's time of the last one, as a reader sees it."""
        for number in range(count):
            await self.js.publish("md.0.kraken.trade", str(number).encode())
        last = await self.js.get_msg("MD-0", seq=(await self.js.stream_info("MD-0")).state.last_seq)
        assert last.time is not None
        return int(last.time.timestamp() * 1e6) * 1000

    def seal(self, first: int, last: int, timestamp_ns: int = 10**18, key: Key = KEY) -> Entry:
        """Step 1 for a segment of two trades that came in the messages `first` and `last`."""
        segment = Segment(key, "XBTUSD", START, 0)
        for sequence in (first, last):
            record = Trade(key.hour * NS_PER_HOUR, None, str(sequence), 1.0, 2.0, "buy")
            buffer = bytearray()
            append_record(buffer, record)
            segment.append(bytes(buffer), 1, Position(sequence, timestamp_ns), 0)
        [(offset, _)] = self.spool.write([segment.unload(0)])
        segment.frames.append(offset)
        return self.sealer.seal(segment, self.spool, 0)

    async def recover(self) -> Recovered:
        """As a new run of a writer does it."""
        self.move_in(f"run-{len(list(self.folders.active.iterdir()))}")
        disk = Disk(1, Metrics(CollectorRegistry()))
        try:
            return await recover(self.js, await self.open(), self.folders, 0, Room(disk, self.folders.room))
        finally:
            disk.close()

    def files(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.folders.active.parent / folder).rglob("*segment_*"))


@pytest.fixture
async def bench(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Bench]:
    client = await broker.connect(nats_server.url, "test")
    await ensure_streams(client.jetstream(), Nats())
    yield Bench(client, tmp_path / "data")
    await client.close()


async def test_nothing_to_recover(bench: Bench) -> None:
    """A new shard starts at its beginning."""
    recovered = await bench.recover()
    assert (recovered.position.sequence, recovered.committed) == (0, {})
    assert await start_of_reading(bench.js, 0, recovered.position) == ({"deliver_policy": "all"}, None)


async def test_crash_before_the_entry(bench: Bench) -> None:
    """A file that was written but has no entry is deleted: its rows are read again."""
    bench.seal(1, 4)
    assert [name.partition(".")[2] for name in bench.files("active")] == ["segment_20260917T11_00001.parquet"]
    recovered = await bench.recover()
    assert (bench.files("active"), bench.files("ready"), recovered.committed) == ([], [], {})


async def test_crash_between_entry_and_rename(bench: Bench) -> None:
    """A file with an entry is committed: recovery finishes its rename, and its rows are not read again."""
    now_ns = await bench.publish(5)
    log = await bench.open()
    await log.append(bench.seal(1, 5, now_ns))
    recovered = await bench.recover()
    assert (bench.files("active"), bench.files("ready")) == ([], ["segment_20260917T11_00001.parquet"])
    assert recovered.has(KEY, Position(4, now_ns + 10**15))  # whatever the server's clock did
    assert not recovered.has(KEY, Position(6, now_ns))
    assert not recovered.has(Key("kraken", "trade", "BTC/USD", HOUR + 1), Position(4, now_ns))
    again = await bench.recover()
    assert (bench.files("ready"), again.paths) == (["segment_20260917T11_00001.parquet"], recovered.paths)


async def test_sequences_used_again_after_a_power_cut(bench: Bench) -> None:
    """When the stream has lost a committed message, a sequence says nothing without the server's time."""
    log = await bench.open()
    await log.append(bench.seal(1, 9, 10**18))
    await bench.publish(9)  # not the messages that the entry speaks of
    recovered = await bench.recover()
    assert recovered.rolled_back
    assert recovered.has(KEY, Position(3, 10**18 - 1))
    assert not recovered.has(KEY, Position(3, 10**18 + 1))


async def test_name_of_a_deleted_segment_is_not_used_again(bench: Bench) -> None:
    """A segment that went to S3 and was deleted here keeps its name for itself, after a restart too."""
    log = await bench.open()
    entry = bench.seal(1, 4)
    await log.append(entry)
    publish_file(entry, bench.folders.room, bench.folders.ready)
    (bench.folders.ready / entry.path).unlink()
    for path in (await bench.recover()).paths:
        bench.sealer.note_used(path)
    assert bench.seal(5, 6).path.endswith("_00002.parquet")


async def test_file_whose_entry_was_lost(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut that rolled the catalog back, a file in ready/ gets its entry again from its own footer, once,
    and its rows are not read again; another shard's files are left alone."""
    monkeypatch.setattr("daedalus_writer.orphans.psutil.boot_time", lambda: time.time() + 1)
    now_ns = await bench.publish(5)
    key = Key("kraken", "trade", "BTC/USD", now_ns // NS_PER_HOUR)
    entry = bench.seal(1, 5, now_ns, key)
    publish_file(entry, bench.folders.room, bench.folders.ready)
    bench.sealer = Sealer(bench.config, bench.folders, 3, "other")
    publish_file(bench.seal(1, 5, now_ns, key), bench.folders.room, bench.folders.ready)
    recovered = await bench.recover()
    assert recovered.paths == [Path(entry.path)]
    assert recovered.has(key, Position(5, now_ns))
    assert [kept async for _, kept in (await bench.open()).entries(1)] == [entry]
    assert (await bench.recover()).paths == [Path(entry.path)]


async def test_taking_a_shard_fences_the_writer_before(bench: Bench) -> None:
    """From the moment that a writer has taken a shard the one before it cannot commit, whether or not anything was
    committed since; another shard is not touched by it."""
    other = await CommitLog.open(bench.js, 1, "other")
    old = await bench.open()
    entry = bench.seal(1, 4)
    await CommitLog.open(bench.js, 0, "successor")
    with pytest.raises(FencedError, match="another writer has taken this shard"):
        await old.append(entry)
    await CommitLog.open(bench.js, 0, "third")
    assert other.last_sequence == 1


async def test_writer_without_its_room_writes_nothing(bench: Bench) -> None:
    """A writer whose room was emptied by its successor writes no file any more."""
    shutil.rmtree(bench.folders.room)
    with pytest.raises(FileNotFoundError):
        bench.seal(1, 4)
    assert not bench.folders.room.exists()


async def test_lost_answer_is_no_fence(bench: Bench) -> None:
    """An entry whose acknowledgement was lost is found at the end of the chain, and counts as committed."""
    log = await bench.open()
    entry, before = bench.seal(1, 4), log.last_sequence
    await log.append(entry)
    stored = log.last_sequence
    log.last_sequence = before  # as if the first answer had never come
    assert await log.append(entry) == stored


async def test_checkpoint_bounds_what_is_read(bench: Bench) -> None:
    """After a checkpoint the stream is read behind it, and of the catalog only what may matter."""
    log = await bench.open()
    third_ns = await bench.publish(3)
    fourth_ns = await bench.publish(1)
    await bench.publish(1)
    info = await bench.js.stream_info("MD-0")
    first = await log.append(bench.seal(1, 3, third_ns))
    second = await log.append(bench.seal(2, 4, fourth_ns))
    await log.write_checkpoint(
        Checkpoint(epoch=str(info.created), sequence=3, timestamp_ns=third_ns, catalog_sequence=second)
    )
    recovered = await bench.recover()
    assert first < second
    assert [sequence for sequence, _ in recovered.entries] == [second]
    assert not recovered.rolled_back
    behind = {"deliver_policy": "by_start_sequence", "opt_start_seq": 4}
    assert await start_of_reading(bench.js, 0, recovered.position) == (behind, None)
    for lost in (Position(9, third_ns), Position(3, third_ns - 10**9)):
        by_time, problem = await start_of_reading(bench.js, 0, lost)
        assert (by_time["deliver_policy"], problem) == ("by_start_time", "stream_rolled_back")
    await bench.js.purge_stream("MD-0", seq=6)
    assert (await start_of_reading(bench.js, 0, Position(5, 1)))[1] is None
    await bench.publish(1)
    assert (await start_of_reading(bench.js, 0, Position(3, 1)))[1] == "sequence_missing"


async def test_stream_made_anew_is_noticed(bench: Bench) -> None:
    """A checkpoint of a stream that was deleted and created again says nothing about the new one."""
    log = await bench.open()
    await log.write_checkpoint(Checkpoint(epoch="another", sequence=7, timestamp_ns=1, catalog_sequence=1))
    assert (await bench.recover()).position.sequence == 0
