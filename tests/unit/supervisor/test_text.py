"""The statistics block."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from daedalus_supervisor import text
from daedalus_supervisor.discovery import Answer, Roster
from support import golden
from support.observations import NOW, collector, healthy, reported, seen, stream, sync, writer

GOLDEN = Path(__file__).parent / "golden"


def test_healthy_block() -> None:
    """The block of a healthy pipeline, to the letter."""
    golden.check(GOLDEN / "healthy.txt", text.block(reported(healthy())))


def test_ill_block() -> None:
    """What is wrong stands where it is wrong, with what to do."""
    roster = Roster()
    unready = replace(collector("kraken", "c-2"), ready=False, problems={"feed": "no connection for 40 s"})
    full = collector(outbox=45_000, memory_mb=160)
    roster.note([full, unready, writer(), sync(), Answer("supervisor", "supervisor", ready=True)], NOW - 10)
    for now in (NOW - 5, NOW):
        roster.note([full, unready, sync(), Answer("supervisor", "supervisor", ready=True)], now)
    streams = {"CATALOG": stream("CATALOG"), "MD-0": stream(size_bytes=3_500_000_000)}
    report = reported(healthy(seen=roster.seen(NOW), streams=streams))
    golden.check(GOLDEN / "ill.txt", text.block(report))


def test_nothing_seen_yet() -> None:
    """Before the first answer the block is short, and says so."""
    block = text.block(reported(healthy(seen=(), streams={}, shards=(), disk=None, watched_seconds=0.0)))
    assert "Health: 0/0 collectors healthy" in block


def test_names_cannot_steer_the_terminal() -> None:
    """An instance's name is whatever somebody sent: no escape sequence and no newline of it is printed."""
    evil = "\x1b[2J\x07\nHealth: 9/9"
    block = text.block(reported(healthy(seen=seen(writer(instance=evil)))))
    assert "\x1b" not in block
    assert not any(line.startswith("Health: 9/9") for line in block.splitlines())


def test_lag_is_the_owners() -> None:
    """Of two writers the lag of a shard is told at the one that has it."""
    block = text.block(reported(healthy(seen=seen(writer(), writer(instance="writer-2")))))
    assert "Writer writer-1: written=1,200,000, lag=12 (0.1s)" in block
    assert "Writer writer-2: written=1,200,000, lag=0 (0.0s)" in block
