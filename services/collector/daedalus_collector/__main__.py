"""daedalus-collector: one exchange's feed into JetStream. Wiring only; read it as the flow."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import structlog
import uvloop
from nats.aio.client import Client

from daedalus import broker
from daedalus.config import Config, Exchange
from daedalus.config_file import SECRETS, secret
from daedalus.errors import ConfigError
from daedalus.exchanges import ALIASES
from daedalus.service import Service, run
from daedalus.streams import ensure_streams
from daedalus_collector import feeds, stored, timeframes
from daedalus_collector.backfill import Backfill
from daedalus_collector.checks import outbox_check, silence_check, subscriptions_check
from daedalus_collector.feed import RAW, Pair
from daedalus_collector.feeds import AnyFeed
from daedalus_collector.lanes import Lane, Lanes
from daedalus_collector.listing import Listing
from daedalus_collector.metrics import Metrics
from daedalus_collector.outbox import Outbox, OutboxLimits
from daedalus_collector.peers import Peers
from daedalus_collector.publisher import Publisher
from daedalus_collector.raw_frames import RawFrames
from daedalus_collector.recall import Recall
from daedalus_collector.recorder import Recorder
from daedalus_collector.sharing import Share
from daedalus_collector.spill import Spill
from daedalus_collector.trade_history import numbered

TICK_SECONDS = 1.0
LEAVE_SECONDS = 30.0
"""For the other replicas to take over, at a clean stop."""
DRAIN_MARGIN_SECONDS = 10.0
"""Left of `ingestion_shutdown_timeout` for what comes after the drain."""

_log = structlog.get_logger()


async def serve(service: Service) -> None:
    config = service.config
    name, exchange = _exchange(service)
    listing = Listing(name, exchange, config.ingestion)
    service.health.add("symbols", listing.problem)
    exchange = await listing.first()
    connection = await broker.connect(config.nats.url, "collector")
    await ensure_streams(connection.jetstream(), config.nats)
    await service.announce(connection)

    metrics = Metrics(service.registry, name)
    outbox = _outbox(name, service)
    pairs = listing.pairs
    recorder = Recorder(pairs, outbox, metrics, dense=partial(numbered, name, exchange), raw=exchange.raw)
    spill = Spill(Path(config.storage.root) / "spill" / name, config.ingestion.outbox_spill_mb * 1_000_000, metrics)
    spill.on_lost = _lost_from_disk(recorder, pairs)
    await asyncio.to_thread(spill.open)
    publisher = Publisher(config.nats.url, outbox, spill, metrics, config.nats.duplicate_window_seconds)
    outbox.on_change = publisher.wake
    keys = {key: secret(os.environ, name, key) for key in SECRETS}
    make = _feed_maker(name, listing, config, keys, metrics, outbox.boot)
    feed = Lanes(make, recorder, metrics, recorder.know_markets)
    feed.frame_sink, feed.on_ended = recorder, recorder.frames_over
    backfill = Backfill(ALIASES.get(name, name), exchange.endpoint, feed.market_ids, feed.trades, recorder, metrics)
    recorder.backfill = backfill
    _watch(service, exchange, metrics, outbox, spill, publisher, feed)
    recall = await _recall(service, connection, name, outbox.boot, spill)
    peers = _peers(service, connection, name, exchange, feed, recorder, publisher, recall, pairs)
    metrics.gauge("replicas", "Collectors of this exchange that live", lambda: peers.replicas)
    metrics.gauge("symbols", "Symbols that this replica records", lambda: peers.symbols)
    await peers.begin()

    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(publisher.run()),
            tasks.create_task(_tick(recorder)),
            feeding := tasks.create_task(feed.run()),
            peering := tasks.create_task(peers.run()),
            tasks.create_task(listing.run(peers.listed)),
            tasks.create_task(backfill.run()),
        ]
        service.health.started()
        await service.stopping.wait()
        deadline = time.monotonic() + config.supervisor.ingestion_shutdown_timeout - DRAIN_MARGIN_SECONDS
        peering.cancel()
        await peers.leave(min(LEAVE_SECONDS, config.supervisor.ingestion_shutdown_timeout / 3))
        feeding.cancel()
        await asyncio.wait({feeding}, timeout=TICK_SECONDS)
        await feed.close()
        recorder.stop()
        await _drain(publisher, outbox, spill, deadline - time.monotonic())
        for task in running:
            task.cancel()
    spill.close()
    await broker.close(connection)


def _exchange(service: Service) -> tuple[str, Exchange]:
    configured = service.config.ccxt.exchanges
    name: str = service.arguments.exchange
    if name not in configured:
        known = ", ".join(configured) or "none is configured"
        raise ConfigError([f"--exchange: expected one of the configured exchanges ({known}), was {name!r}"])
    timeframes.check(name, configured[name])
    return name, configured[name]


def _outbox(name: str, service: Service) -> Outbox:
    ingestion, nats = service.config.ingestion, service.config.nats
    limits = OutboxLimits(
        batch_records=ingestion.batch_size,
        batch_bytes=ingestion.batch_max_kb * 1_000,
        linger_ns=ingestion.batch_linger_milliseconds * 1_000_000,
        records=ingestion.queue_maxsize,
        bytes=ingestion.queue_max_mb * 1_000_000,
    )
    boot = f"{int(time.time()):x}{secrets.token_hex(4)}"
    return Outbox(name, service.instance, boot, limits, shards=nats.shards, subject_by_symbol=nats.subject_by_symbol)


def _feed_maker(
    name: str, listing: Listing, config: Config, keys: Mapping[str, str], metrics: Metrics, boot: str
) -> Callable[[frozenset[Pair], Lane], AnyFeed]:
    """Makes feeds for some of the pairs: all of them native, or none."""
    feed: Literal["native", "ccxt"] = "native" if feeds.is_native(name, listing.settings) else "ccxt"
    places = itertools.count()

    def make(pairs: frozenset[Pair], lane: Lane) -> AnyFeed:
        exchange = listing.settings
        some = msgspec.structs.replace(exchange, feed=feed, channels=exchange.channels.only(pairs))
        raw = None if exchange.raw == "none" else RawFrames(lane, boot, places, only=exchange.raw == "only")
        return feeds.make(name, some, config.ingestion, keys, lane, metrics, raw)

    return make


async def _recall(service: Service, connection: Client, exchange: str, boot: str, spill: Spill) -> Recall:
    tails = await asyncio.to_thread(lambda: stored.spilled(spill.inherited()))
    nats = service.config.nats
    jetstream = connection.jetstream()
    return Recall(jetstream, nats, exchange, service.instance, boot, lambda: tails if spill.inherits() else {})


def _peers(
    service: Service,
    connection: Client,
    name: str,
    exchange: Exchange,
    feed: Lanes,
    recorder: Recorder,
    publisher: Publisher,
    recall: Recall,
    pairs: list[Pair],
) -> Peers:
    nats, instance = service.config.nats, service.instance
    symbols = sorted({pair.symbol for pair in pairs})
    share = Share(instance, symbols, exchange.redundancy, nats.lease_seconds * 10**9)
    return Peers(connection, nats, name, instance, share, feed, recorder, publisher, recall, pairs)


def _watch(
    service: Service,
    exchange: Exchange,
    metrics: Metrics,
    outbox: Outbox,
    spill: Spill,
    publisher: Publisher,
    feed: Lanes,
) -> None:
    metrics.subscriptions = feed.subscriptions
    metrics.frames = feed.frames
    metrics.gauge("outbox_records", "Records in memory that JetStream has not acknowledged", lambda: outbox.records)
    metrics.gauge("outbox_bytes", "The same in bytes", lambda: outbox.bytes)
    metrics.gauge("outbox_limit_records", "The bound of outbox_records", lambda: outbox.limits.records)
    metrics.gauge("outbox_limit_bytes", "The bound of outbox_bytes", lambda: outbox.limits.bytes)
    metrics.gauge("spill_bytes", "On disk, waiting for JetStream", lambda: spill.size_bytes)
    metrics.gauge("spill_limit_bytes", "The bound of spill_bytes; 0: off", lambda: spill.limit_bytes)
    metrics.gauge(
        "unacknowledged_batches", "Batches that JetStream has not acknowledged", lambda: publisher.unacknowledged
    )
    metrics.gauge("connections", "Open connections to the exchange", feed.connections)
    service.health.add("jetstream", publisher.problem)
    service.health.add("outbox", outbox_check(outbox))
    service.health.add("spill", spill.problem)
    service.health.add("subscriptions", subscriptions_check(feed))
    service.health.add("data", silence_check(metrics, exchange.silence_seconds, feed))


async def _tick(recorder: Recorder) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        recorder.tick()


def _lost_from_disk(recorder: Recorder, pairs: list[Pair]) -> Callable[[int, int, str], None]:
    def lost(from_ns: int, to_ns: int, why: str) -> None:
        for pair in [*pairs, RAW]:
            recorder.write_gap(pair, from_ns, to_ns, "outbox_full", why)

    return lost


async def _drain(publisher: Publisher, outbox: Outbox, spill: Spill, timeout_seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(1.0, timeout_seconds)):
            await publisher.drained()
    await publisher.put_away()
    if outbox.records:
        _log.error("outbox was not emptied", records=outbox.records, timeout_seconds=timeout_seconds)
    else:
        _log.info("outbox was emptied")
    if spill.files:
        _log.warning("spill was left to the next start", files=len(spill.files), size_bytes=spill.size_bytes)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--exchange",
        default=os.environ.get("DAEDALUS_EXCHANGE", ""),
        help="its name in the configuration; default: $DAEDALUS_EXCHANGE",
    )


def main() -> int:
    return run("collector", serve, _arguments, uvloop.new_event_loop)


if __name__ == "__main__":
    sys.exit(main())
