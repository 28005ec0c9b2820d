"""`daedalus-writer verify` against a real catalog, a real S3 server, and what a real writer wrote."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nats.js import JetStreamContext

from daedalus import broker
from daedalus.catalog import Entry, Upload, encode
from daedalus.config import Nats
from daedalus.naming import CATALOG_STREAM, staged_name
from daedalus.streams import ensure_streams
from daedalus.wire import NS_PER_HOUR
from daedalus_writer.verify import command as verify_command
from daedalus_writer.verify import log_stream
from daedalus_writer.verify.output import Output
from daedalus_writer.verify.places import Bucket, File, Place, Tree
from daedalus_writer.verify.verification import Verification
from support import launcher
from support.batches import HOUR, Market, segments
from support.nats import NatsServer, free_port
from support.processes import Process
from support.s3 import ACCESS_KEY, SECRET_KEY, S3Server
from support.sealed import Sealed

CONFIG = """
ingestion: {{flush_interval_seconds: 0.2}}
nats: {{url: "{url}", lease_seconds: 2}}
storage: {{root: "{root}"}}
"""

Told = list[dict[str, Any]]


@pytest.fixture
async def js(nats_server: NatsServer) -> AsyncIterator[JetStreamContext]:
    client = await broker.connect(nats_server.url, "test")
    await ensure_streams(client.jetstream(), Nats(lease_seconds=2))
    yield client.jetstream()
    await client.close()


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    """Two trade segments, one after the other, and one of tickers."""
    one = Sealed(tmp_path / "data")
    one.segment(sequences=(1, 5))
    one.segment(sequences=(6, 9), first_number=50)
    one.segment("ticker", sequences=(2, 9))
    return one


async def publish(js: JetStreamContext, *entries: Entry) -> None:
    for entry in entries:
        await js.publish(entry.subject, encode(entry))


class Run:
    """Runs the command in this process, and keeps what it told."""

    def __init__(self, capsys: pytest.CaptureFixture[str], url: str | None) -> None:
        self._capsys = capsys
        self.url = url
        self.notes = ""

    async def __call__(self, *places: Place | Path, strict: bool = False) -> tuple[int, Told]:
        """The exit code, and the findings, the summary last."""
        given = [Tree(place) if isinstance(place, Path) else place for place in places]
        output = Output(as_json=True, quiet=False)
        code = await asyncio.to_thread(Verification(given, self.url, output).run, strict=strict)
        told = self._capsys.readouterr()
        self.notes = told.err
        return code, [json.loads(line) for line in told.out.splitlines() if line.startswith("{")]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], nats_server: NatsServer) -> Run:
    return Run(capsys, nats_server.url)


def counted(told: Told) -> dict[str, int]:
    names = ("files", "complete", "with_gaps", "damaged", "missing", "doubled", "unknown")
    return {name: told[-1][name] for name in names if told[-1][name]}


def command(*arguments: object) -> launcher.Ended:
    """As a script would run it."""
    return launcher.run("daedalus_writer", "verify", *map(str, arguments))


async def test_what_a_writer_wrote_is_complete(
    js: JetStreamContext, nats_server: NatsServer, run: Run, tmp_path: Path
) -> None:
    """The tree of a real writer is complete, with its catalog and without; a bit flipped in it is found."""
    config, root = tmp_path / "config.yaml", tmp_path / "data"
    config.write_text(CONFIG.format(url=nats_server.url, root=root))
    market = Market()
    for number in range(60):
        await market.publish(js, market.batch(HOUR * NS_PER_HOUR + number * 60 * 10**9 * 2))
    writer = Process("writer", config, tmp_path)
    writer.start()
    writer.wait_ready()
    while writer.metric("daedalus_writer_received_records_total") < sum(market.sent.values()):
        await asyncio.sleep(0.1)
    assert writer.stop() == 0
    files, rows = len(list(segments(root))), sum(market.sent.values())
    end = f"{files:,} complete, 0 with gaps, 0 damaged, 0 missing, 0 doubled, 0 not in the catalog\n"
    code, told, notes = await asyncio.to_thread(command, root, "--config", config)
    assert (code, notes) == (0, "")
    assert told.startswith(f"{files:,} files, {rows:,} rows, ")
    assert told.endswith(end)
    run.url = None
    code, [summary] = await run(root)
    assert (code, summary["complete"], summary["rows"]) == (0, files, rows)
    path = next(segments(root))
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    code, told, _ = await asyncio.to_thread(command, root, "--config", config, "--quiet")
    assert code == 1
    assert told.startswith(f"damaged  {path}: expected SHA-256, as the catalog says: ")
    assert told.count("\n") == 1


async def test_each_defect_is_told(js: JetStreamContext, run: Run, sealed: Sealed) -> None:
    """Another checksum, the same messages twice, a file without an entry, and an entry without a file."""
    first, second, ticker = sealed.entries
    await publish(js, first, second)
    lost = msgspec.structs.replace(
        ticker, path=ticker.path.replace("_00001", "_00002"), first_sequence=10, last_sequence=11
    )
    await publish(js, lost)
    code, told = await run(sealed.ready)
    assert (code, counted(told)) == (1, {"files": 3, "complete": 2, "missing": 1, "unknown": 1})
    assert {finding["path"] for finding in told[:-1]} == {str(sealed.ready / ticker.path), lost.path}
    overlapping = msgspec.structs.replace(second, first_sequence=5, first_received_ns=first.last_received_ns)
    await publish(js, msgspec.structs.replace(first, sha256="0" * 64), overlapping, ticker)
    (sealed.ready / lost.path).write_bytes(b"")
    code, told = await run(sealed.ready)
    assert (code, counted(told)) == (1, {"files": 3 + 1, "complete": 1, "damaged": 2, "doubled": 1})
    doubled = next(finding for finding in told if finding["finding"] == "doubled")
    assert doubled["found"] == f"some of 5 to 9 in {first.path} too"


async def test_missing_is_what_is_nowhere(js: JetStreamContext, run: Run, sealed: Sealed, tmp_path: Path) -> None:
    """Not missing: what retention deleted after it was verified in S3, what is not renamed yet, what nobody asked for."""
    first, second, ticker = sealed.entries
    await publish(js, *sealed.entries)
    assert (await run(sealed.ready / "ccxt/trade", sealed.ready / "ccxt/ticker"))[0] == 0
    assert await run(tmp_path / "data") == (0, [{**(await run(sealed.ready))[1][-1]}])
    (sealed.ready / first.path).unlink()
    (sealed.ready / second.path).unlink()
    unpublished = tmp_path / "data/raw/active/shard-0.boot" / staged_name(ticker.path)
    unpublished.parent.mkdir(parents=True)
    (sealed.ready / ticker.path).rename(unpublished)
    code, told = await run(sealed.ready)
    assert (code, counted(told)) == (1, {"missing": 2})
    upload = Upload(
        path=first.path, bucket="b", key=first.path, size_bytes=first.size_bytes, sha256=first.sha256, verified_ns=1
    )
    await js.publish("uploads.0.kraken.trade.BTC-USD", encode(upload))
    other = msgspec.structs.replace(upload, path=second.path)  # verified with another checksum
    await js.publish("uploads.0.kraken.trade.BTC-USD", encode(other))
    code, [missing, summary] = await run(sealed.ready)
    assert (code, missing["path"], summary["missing"]) == (1, second.path, 1)
    await js.publish("uploads.0.kraken.trade.BTC-USD", encode(msgspec.structs.replace(other, sha256=second.sha256)))
    code, told = await run(sealed.ready)
    assert (code, counted(told)) == (2, {})
    assert "expected segments, found none" in run.notes
    unpublished.rename(sealed.ready / ticker.path)
    parts = sealed.ready / "ccxt/ticker", sealed.ready / ticker.path
    for given in ([parts[0]], [parts[1]], parts):
        assert (await run(*given))[0] == 0


async def test_commit_during_the_run_is_known(js: JetStreamContext, run: Run, sealed: Sealed) -> None:
    """A file that a writer committed after the catalog was read is looked up again, and is not unknown."""
    loop = asyncio.get_running_loop()
    await publish(js, *sealed.entries[:2])

    class Growing(Tree):
        def files(self) -> Iterator[File]:
            asyncio.run_coroutine_threadsafe(publish(js, sealed.entries[2]), loop).result(10)
            yield from super().files()

    code, told = await run(Growing(sealed.ready))
    assert (code, counted(told)) == (0, {"files": 3, "complete": 3})


async def test_catalog_is_bounded(js: JetStreamContext, run: Run, sealed: Sealed) -> None:
    """What the catalog has dropped is no defect; what it cannot be read of, is."""
    await publish(js, *sealed.entries)
    await js.purge_stream(CATALOG_STREAM, seq=2)
    code, told = await run(sealed.ready)
    assert (code, told[-1]["older_than_catalog"], counted(told)) == (0, 1, {"files": 3, "complete": 3})
    await js.publish("catalog.0.kraken.trade.BTC-USD", b"{}")
    code, told = await run(sealed.ready)
    assert (code, told[0]["path"]) == (1, "CATALOG, message 4")


@pytest.mark.parametrize("why", ["no server", "no catalog", "not asked"])
async def test_without_the_catalog(run: Run, sealed: Sealed, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are checked for themselves, and it is said why the catalog is not compared."""
    monkeypatch.setattr(log_stream, "_CONNECT_SECONDS", 0.5 if why == "no server" else 5.0)
    run.url = {"no server": f"nats://127.0.0.1:{free_port()}", "no catalog": run.url, "not asked": None}[why]
    code, told = await run(sealed.ready)
    assert (code, counted(told)) == (0, {"files": 3, "complete": 3})
    assert told[-1]["catalog"] == ("not asked" if why == "not asked" else "unreachable")
    assert ("going on without the catalog" in run.notes) == (why != "not asked")


async def test_gaps_are_no_damage(js: JetStreamContext, run: Run, sealed: Sealed) -> None:
    """Gaps are summed; only --strict makes them an exit code."""
    sealed.segment("gap", sequences=(10, 11))
    sealed.segment("orderbook", sequences=(10, 11), gaps=2)
    await publish(js, *sealed.entries)
    for strict, expected in ((False, 0), (True, 3)):
        code, [gaps, summary] = await run(sealed.ready, strict=strict)
        assert (code, summary["exit_code"]) == (expected, expected)
        assert (summary["files"], summary["complete"], summary["with_gaps"], summary["gaps"]) == (5, 4, 1, 50)
        assert (gaps["exchange"], gaps["symbol"], gaps["channel"], gaps["gaps"]) == ("kraken", "BTC-USD", "trade", 50)
        assert (gaps["duration_seconds"], gaps["known_records"], gaps["causes"]) == (
            50,
            sum(range(50)),
            {"connection_lost": 50},
        )


async def test_bucket_is_read(
    js: JetStreamContext, run: Run, sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An S3 prefix is checked as a tree is, from the objects themselves."""
    server = S3Server(tmp_path / "s3")
    await asyncio.to_thread(server.start)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    try:
        client = server.client()
        client.create_bucket(Bucket="segments")
        await publish(js, *sealed.entries)
        for entry in sealed.entries:
            client.put_object(Bucket="segments", Key=f"raw/{entry.path}", Body=(sealed.ready / entry.path).read_bytes())
        client.put_object(Bucket="segments", Key="raw/notes.txt", Body=b"")
        shutil.rmtree(sealed.ready)
        code, told = await run(Bucket("s3://segments/raw", server.url, "us-east-1"))
        assert (code, counted(told), told[-1]["rows"]) == (0, {"files": 3, "complete": 3}, 150)
        client.put_object(Bucket="segments", Key=f"raw/{sealed.entries[0].path}", Body=b"damaged")
        code, [damaged, _] = await run(Bucket("s3://segments", server.url, "us-east-1"))
        assert (code, damaged["path"]) == (1, f"s3://segments/raw/{sealed.entries[0].path}")
        one = Bucket(f"s3://segments/raw/{sealed.entries[2].path}", server.url, "us-east-1")
        assert [(code, counted(told)) for code, told in [await run(one)]] == [(0, {"files": 1, "complete": 1})]
        code, _ = await run(Bucket("s3://segments/absent", server.url, "us-east-1"))
        assert code == 2
        arguments = ("s3://segments/raw/ccxt/ticker", "--endpoint-url", server.url, "--region", "us-east-1")
        code, told_text, _ = await asyncio.to_thread(command, *arguments, "--no-catalog")
        assert (code, told_text.startswith("1 file, 50 rows, ")) == (0, True)
    finally:
        server.stop()


def test_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 for what argparse refuses and for a PATH that is not there, 78 for a wrong configuration."""
    monkeypatch.setattr("daedalus.logs.configure", lambda *_: None)  # it would be for the whole test run
    for arguments in ([], ["--nats", "x", "--no-catalog", str(tmp_path)]):
        with pytest.raises(SystemExit, match="2"):
            verify_command.main(arguments)
    assert "PATH" in capsys.readouterr().err
    assert verify_command.main([str(tmp_path / "absent")]) == 2
    assert "found nothing" in capsys.readouterr().err
    wrong = tmp_path / "config.yaml"
    wrong.write_text("nats: {shards: 0}")
    assert verify_command.main([str(tmp_path), "--config", str(wrong)]) == 78
    assert "nats.shards" in capsys.readouterr().err
