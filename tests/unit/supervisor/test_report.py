"""From what was observed to what is reported."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from daedalus import config_file
from daedalus_supervisor import status
from daedalus_supervisor.discovery import Answer, Roster
from daedalus_supervisor.figures import read_positions
from daedalus_supervisor.history import History
from daedalus_supervisor.limits import Limits
from daedalus_supervisor.report import build
from daedalus_supervisor.status import Status
from support.observations import AT, LIMITS, NOW, collector, healthy, reported, seen, shard, stream, sync, writer


def checks_of(report: Status) -> set[str]:
    return {problem.check for problem in report.problems}


def titles(report: Status) -> list[str]:
    return [service.title for service in report.services]


def test_healthy_pipeline() -> None:
    """When nothing is wrong, nothing is found."""
    report = reported(healthy())
    assert (report.healthy, report.health, report.problems) == (True, "1/1 collectors healthy", ())
    assert report.totals.received_records == 1_234_567
    assert report.totals.committed_records == 1_200_000


def test_process_without_metrics() -> None:
    """A process that answers without a single metric breaks nothing."""
    bare = [Answer(service, "x", ready=True) for service in ("collector", "writer", "sync", "supervisor", "new")]
    report = reported(healthy(seen=seen(*bare)))
    assert report.healthy
    assert status.decode(status.encode(report)) == report


def test_ill_collector_is_counted() -> None:
    """Health counts the collectors that nothing was found at."""
    ill = replace(collector("kraken"), ready=False, problems={"feed": "not connected"})
    report = reported(healthy(seen=seen(collector(), ill, writer(), sync())))
    assert (report.healthy, report.health) == (False, "1/2 collectors healthy")
    assert [service.healthy for service in report.services if service.service == "collector"] == [True, False]


def test_notice_leaves_it_healthy() -> None:
    """A gap that is written down is told, and is no illness."""
    history = History()
    reported(healthy(), history=history)
    report = build(healthy(seen=seen(collector(gaps=2, uptime=86_405))), history, LIMITS, NOW + 5, AT, 5.0)
    gaps = [problem for problem in report.problems if problem.check == "gaps_recorded"]
    assert [problem.weight for problem in gaps] == ["notice"]
    assert next(one for one in report.services if one.service == "collector").healthy


def test_missing_service() -> None:
    """A service that stopped answering is shown as missing, for how long, and what to do."""
    roster = Roster()
    for now, answers in ((NOW - 30, [collector(), writer()]), (NOW - 5, [collector()]), (NOW, [collector()])):
        roster.note(answers, now)
    report = reported(healthy(seen=roster.seen(NOW)))
    (problem,) = [problem for problem in report.problems if problem.where == "writer writer-1"]
    assert "has not answered for 30 s" in problem.what
    assert next(one for one in report.services if one.service == "writer").state == "missing"


def test_absent_services_once_there_was_time() -> None:
    """What the configuration asks for is missed, but not while everything still comes up."""
    nobody = healthy(seen=())
    assert titles(reported(nobody)) == ["ccxt_coinbaseadvanced", "writer", "sync"]
    assert titles(reported(replace(nobody, watched_seconds=59.0))) == []


def test_exchange_without_collector() -> None:
    """Each configured exchange wants a collector of its own."""
    report = reported(healthy(), replace(LIMITS, exchanges=("coinbaseadvanced", "kraken")))
    assert report.health == "1/2 collectors healthy"
    assert "ccxt_kraken" in titles(report)


def test_collector_that_has_not_counted_yet() -> None:
    """A collector that has not said what it records may be the one that is looked for."""
    starting = Answer("collector", "new", ready=True)
    report = reported(healthy(seen=seen(starting, writer(), sync())))
    assert "service_down" not in checks_of(report)


def test_titles_are_unique() -> None:
    """Replicas are told apart by their instance."""
    report = reported(healthy(seen=seen(collector(instance="a"), collector(instance="b"))))
    assert titles(report)[:2] == ["ccxt_coinbaseadvanced a", "ccxt_coinbaseadvanced b"]


def test_lag_of_a_shard() -> None:
    """Unread counts from what the writer read, uncommitted from the checkpoint; ages are of the server's clock."""
    (lag,) = reported(healthy()).shards
    assert (lag.unread_messages, lag.unread_seconds) == (12, 0.1)
    assert (lag.uncommitted_messages, lag.uncommitted_seconds) == (512, 1_800.0)


def test_old_open_segments_are_no_lag() -> None:
    """A segment stays open for up to an hour: the age of what is uncommitted is judged by that, not by the lag."""
    assert reported(healthy(shards=(shard(uncommitted_seconds=3_700),))).healthy
    assert checks_of(reported(healthy(shards=(shard(uncommitted_seconds=3_800),)))) == {"commits_late"}


def test_nobody_reads() -> None:
    """Without a writer everything after the checkpoint is unread."""
    (lag,) = reported(healthy(shards=(shard(read=None),))).shards
    assert (lag.read, lag.unread_messages, lag.unread_seconds) == (False, 512, 1_800.0)


def test_stream_without_checkpoint() -> None:
    """A new stream has no checkpoint: all of it is uncommitted, nothing is lost."""
    (lag,) = reported(healthy(shards=(shard(committed=0, read=None),))).shards
    assert (lag.uncommitted_messages, lag.lost_messages) == (1_234, 0)


def test_purged_before_commit() -> None:
    """Messages that left the stream before they were committed are lost, and that is told."""
    report = reported(healthy(shards=(shard(committed=3_700),)))
    assert report.shards[0].lost_messages == 5_012 - 1_233 - 1 - 3_700
    assert "messages_lost" in checks_of(report)


def test_stream_behind_its_checkpoint() -> None:
    """After a power cut a stream may end before its checkpoint: that is no negative lag."""
    (lag,) = reported(healthy(shards=(shard(committed=9_000, read=9_000),))).shards
    assert (lag.unread_messages, lag.uncommitted_messages, lag.lost_messages) == (0, 0, 0)


def test_broker_away_keeps_what_was_seen() -> None:
    """While NATS is away the last view stands, and the whole is ill."""
    report = reported(healthy(broker_problem="nats://nats:4222 is not connected"))
    assert checks_of(report) == {"broker_away"}
    assert len(report.streams) == 3
    assert not report.healthy


def test_absent_stream() -> None:
    """A shard's stream that does not exist is found."""
    assert checks_of(reported(healthy(streams={"CATALOG": stream("CATALOG")}))) == {"stream_absent"}


def test_full_stream() -> None:
    """A stream at 80 % is found under its name."""
    full = healthy(streams={name: stream(name, size_bytes=3_300_000_000) for name in ("MD-0",)})
    assert {(one.check, one.where) for one in reported(full).problems} >= {("stream_full", "MD-0")}


def test_rates_are_of_the_last_minute() -> None:
    """Rates come from increases, whatever the counters stood at."""
    history = History()
    for tick in range(3):
        at = seen(collector(received=1_000_000 + 500 * tick, uptime=86_400 + 5 * tick), writer())
        report = build(healthy(seen=at), history, LIMITS, NOW + 5 * tick, AT + timedelta(seconds=5 * tick), 5.0)
    assert report.per_second.received_records == 100.0


def test_takeovers_are_no_segments() -> None:
    """A writer that takes a shard says so in the catalog: that is no segment."""
    assert reported(healthy(takeovers=12)).totals.committed_segments == 5_000


def test_missing_writer_does_not_read() -> None:
    """What a writer had read counts only while it answers."""
    roster = Roster()
    roster.note([writer(sequence=7)], 0.0)
    assert read_positions(roster.seen(0.0)) == {("writer-1", 0): 7}
    for now in (5.0, 10.0):
        roster.note([], now)
    assert read_positions(roster.seen(10.0)) == {}


def test_limits_follow_the_configuration(tmp_path: Path) -> None:
    """Every threshold that has a key follows it."""
    file = tmp_path / "config.yaml"
    file.write_text(
        "supervisor: {lag_warning_seconds: 30, memory_warning_percent: 60}\n"
        "storage: {disk_watermark_percent: 70, backend: s3, bucket: b}\n"
        "ingestion: {segment_max_age_seconds: 600}\nnats: {shards: 4}\n"
        "ccxt: {exchanges: {kraken: {silence_seconds: 90, channels: {watchTicker: [BTC/USD]}}}}\n"
    )
    limits = Limits.of(config_file.load(file, {}))
    assert (limits.unread_seconds, limits.uncommitted_seconds, limits.silent_seconds) == (30, 630, 180)
    assert (limits.memory_percent, limits.disk_percent, limits.shards) == (60, 70, 4)
    assert (limits.uploads, limits.exchanges) == (True, ("kraken",))


@pytest.mark.parametrize("shards", [(), (shard(),)])
def test_status_json_is_read_back(shards: tuple[object, ...]) -> None:
    """status.json holds the whole report."""
    report = reported(healthy(shards=shards))
    assert status.decode(status.encode(report)) == report
