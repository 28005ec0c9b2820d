"""Recovery at start, at each place of the commit where a crash can leave things."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daedalus import broker
from daedalus.catalog import Checkpoint, Entry
from daedalus.config import Config, Nats, Storage
from daedalus.errors import FencedError
from daedalus.records import Trade
from daedalus.streams import ensure_streams
from daedalus.wire import NS_PER_HOUR, append_record, part
from daedalus_writer.commit import Sealer, publish_file
from daedalus_writer.commit_log import CommitLog
from daedalus_writer.layout import Folders, Key
from daedalus_writer.recovery import Recovered, recover, start_of_reading
from daedalus_writer.segment import START, Position, Segment
from daedalus_writer.spool import Spool
from support.nats import NatsServer

HOUR = 497_123
KEY = Key("kraken", "trade", "BTC/USD", HOUR)


class Bench:
    """A shard's parts on a real server, to be stopped after any step."""

    def __init__(self, client: broker.Client, root: Path) -> None:
        self.js = client.jetstream()
        self.config = Config(storage=Storage(root=str(root)))
        self.folders = Folders(root)
        self.folders.create()
        self.spool = Spool(self.folders.spool(0), HOUR)
        self.sealer = Sealer(self.config, self.folders, 0, "test")

    def seal(self, first: int, last: int, timestamp_ns: int = 10**18) -> Entry:
        """Step 1 for a segment of two trades that came in the messages `first` and `last`."""
        segment = Segment(KEY, "XBTUSD", START, 0)
        for sequence in (first, last):
            record = Trade(HOUR * NS_PER_HOUR, None, str(sequence), 1.0, 2.0, "buy")
            buffer = bytearray()
            append_record(buffer, record)
            segment.append(part("BTC/USD", "XBTUSD", 1, buffer), [record], Position(sequence, timestamp_ns), 0)
        [(offset, _)] = self.spool.write([(2, bytes(segment.buffer))])
        segment.frames.append(offset)
        return self.sealer.seal(segment, self.spool, 0)

    async def recover(self) -> Recovered:
        return await recover(self.js, await CommitLog.open(self.js, 0), self.folders, 0, 1)

    def files(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.folders.active.parent / folder).rglob("segment_*"))


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
    assert bench.files("active") == ["segment_20260917T11_00001.parquet"]
    recovered = await bench.recover()
    assert (bench.files("active"), bench.files("ready"), recovered.committed) == ([], [], {})


async def test_crash_between_entry_and_rename(bench: Bench) -> None:
    """A file with an entry is committed: recovery finishes its rename, and its rows are not read again."""
    log = await CommitLog.open(bench.js, 0)
    await log.append(bench.seal(1, 4))
    recovered = await bench.recover()
    assert (bench.files("active"), bench.files("ready")) == ([], ["segment_20260917T11_00001.parquet"])
    assert recovered.committed[KEY].covers(Position(4, 10**18))
    assert not recovered.committed[KEY].covers(Position(5, 10**18))
    assert not recovered.committed[KEY].covers(Position(3, 10**18 + 1))  # a sequence used again after a power cut
    again = await bench.recover()
    assert (bench.files("ready"), again.entries) == (["segment_20260917T11_00001.parquet"], recovered.entries)


async def test_name_of_a_deleted_segment_is_not_used_again(bench: Bench) -> None:
    """A segment that went to S3 and was deleted here keeps its name for itself, after a restart too."""
    log = await CommitLog.open(bench.js, 0)
    entry = bench.seal(1, 4)
    await log.append(entry)
    publish_file(entry, bench.folders)
    (bench.folders.ready / entry.path).unlink()
    fresh = Sealer(bench.config, bench.folders, 0, "test")
    for path in (await bench.recover()).paths:
        fresh.note_used(path)
    bench.sealer = fresh
    bench.spool = Spool(bench.folders.spool(0), HOUR)
    assert bench.seal(5, 6).path.endswith("_00002.parquet")


async def test_second_log_fences_the_first(bench: Bench) -> None:
    """Of two logs of a shard that were opened at the same time only one can append; another shard's is free."""
    old, new = await CommitLog.open(bench.js, 0), await CommitLog.open(bench.js, 0)
    other = await CommitLog.open(bench.js, 1)
    await new.append(bench.seal(1, 4))
    with pytest.raises(FencedError, match="another writer owns this shard"):
        await old.append(bench.seal(1, 5))
    assert other.last_sequence == 0


async def test_lost_answer_is_no_fence(bench: Bench) -> None:
    """An entry whose acknowledgement was lost is found at the end of the chain, and counts as committed."""
    log = await CommitLog.open(bench.js, 0)
    entry = bench.seal(1, 4)
    await log.append(entry)
    stored = log.last_sequence
    log.last_sequence = 0  # as if the first answer had never come
    assert await log.append(entry) == stored


async def test_checkpoint_bounds_what_is_read(bench: Bench) -> None:
    """After a checkpoint the stream is read behind it, and of the catalog only what may matter."""
    log = await CommitLog.open(bench.js, 0)
    for number in range(5):
        await bench.js.publish("md.0.kraken.trade", str(number).encode())
    info = await bench.js.stream_info("MD-0")
    third = await bench.js.get_msg("MD-0", seq=3)
    assert third.time is not None
    timestamp_ns = int(third.time.timestamp() * 1e6) * 1000
    first, second = await log.append(bench.seal(1, 3)), await log.append(bench.seal(2, 4))
    await log.write_checkpoint(
        Checkpoint(epoch=str(info.created), sequence=3, timestamp_ns=timestamp_ns, catalog_sequence=second)
    )
    recovered = await bench.recover()
    assert first < second
    assert recovered.entries == [(second, 4)]
    assert await start_of_reading(bench.js, 0, recovered.position) == (
        {"deliver_policy": "by_start_sequence", "opt_start_seq": 4},
        None,
    )
    by_time, problem = await start_of_reading(bench.js, 0, Position(9, timestamp_ns))
    assert (by_time["deliver_policy"], problem) == ("by_start_time", "stream_rolled_back")
    await bench.js.purge_stream("MD-0", seq=6)
    assert (await start_of_reading(bench.js, 0, Position(5, 1)))[1] is None
    await bench.js.publish("md.0.kraken.trade", b"x")
    assert (await start_of_reading(bench.js, 0, Position(3, 1)))[1] == "sequence_missing"


async def test_stream_made_anew_is_noticed(bench: Bench) -> None:
    """A checkpoint of a stream that was deleted and created again says nothing about the new one."""
    log = await CommitLog.open(bench.js, 0)
    await log.write_checkpoint(Checkpoint(epoch="another", sequence=7, timestamp_ns=1, catalog_sequence=1))
    assert (await bench.recover()).position.sequence == 0
