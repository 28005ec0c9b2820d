"""daedalus-collector: one exchange's feed into JetStream. Wiring only; read it as the flow."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import sys
import time

import structlog
from nats.js import JetStreamContext

from daedalus import broker
from daedalus.config import Config, Exchange
from daedalus.config_file import SECRETS, secret
from daedalus.errors import ConfigError
from daedalus.naming import batch_subject, shard_of
from daedalus.service import Service, run
from daedalus.streams import ensure_streams
from daedalus_collector.ccxt_feed import CcxtFeed
from daedalus_collector.checks import outbox_check, silence_check, subscriptions_check
from daedalus_collector.feed import Pair
from daedalus_collector.metrics import Metrics
from daedalus_collector.outbox import Outbox, OutboxLimits
from daedalus_collector.publisher import Publisher
from daedalus_collector.recorder import Recorder
from daedalus_collector.stored import tail

TICK_SECONDS = 1.0
DRAIN_MARGIN_SECONDS = 10.0
"""Left of `ingestion_shutdown_timeout` for what comes after the drain."""

_log = structlog.get_logger()


async def serve(service: Service) -> None:
    config = service.config
    name, exchange = _exchange(service)
    connection = await broker.connect(config.nats.url, "collector")
    js = connection.jetstream()
    await ensure_streams(js, config.nats)
    await service.announce(connection)

    metrics = Metrics(service.registry, name)
    outbox = _outbox(name, service)
    pairs = [Pair(channel, symbol) for channel, symbols in exchange.channels.symbols().items() for symbol in symbols]
    recorder = Recorder(pairs, outbox, metrics)
    await _recall(js, config, name, pairs, recorder)
    publisher = Publisher(config.nats.url, outbox, metrics, config.nats.duplicate_window_seconds)
    outbox.on_change = publisher.wake
    keys = {key: secret(os.environ, name, key) for key in SECRETS}
    feed = CcxtFeed(name, exchange, config.ingestion, keys, recorder, metrics)
    _watch(service, exchange, metrics, outbox, publisher, feed)

    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(publisher.run()),
            tasks.create_task(_tick(recorder)),
            feeding := tasks.create_task(feed.run()),
            tasks.create_task(_know_markets(feed, recorder)),
        ]
        service.health.started()
        await service.stopping.wait()
        feeding.cancel()
        await asyncio.wait({feeding}, timeout=TICK_SECONDS)
        await feed.close()
        recorder.stop()
        await _drain(publisher, config.supervisor.ingestion_shutdown_timeout - DRAIN_MARGIN_SECONDS)
        for task in running:
            task.cancel()
    await broker.close(connection)


def _exchange(service: Service) -> tuple[str, Exchange]:
    configured = service.config.ccxt.exchanges
    name: str = service.arguments.exchange
    if name not in configured:
        known = ", ".join(configured) or "none is configured"
        raise ConfigError([f"--exchange: expected one of the configured exchanges ({known}), was {name!r}"])
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


async def _recall(js: JetStreamContext, config: Config, name: str, pairs: list[Pair], recorder: Recorder) -> None:
    """Learn from the streams where an earlier run ended: its end begins the gap of this start."""
    tails = {}
    for pair in pairs:
        shard = shard_of(name, pair.symbol, config.nats.shards)
        subject = batch_subject(shard, name, pair.channel, pair.symbol if config.nats.subject_by_symbol else None)
        if subject not in tails:
            tails[subject] = await tail(js, shard, subject)
        last = tails[subject]
        if last is not None:
            recorder.interrupted([pair], last.last_received_ns, "collector_down", "the collector was not running")
            recorder.know_trades(pair.symbol, last.trade_ids.get(pair.symbol, []))


def _watch(
    service: Service, exchange: Exchange, metrics: Metrics, outbox: Outbox, publisher: Publisher, feed: CcxtFeed
) -> None:
    metrics.subscriptions = feed.subscriptions
    metrics.frames = feed.frames
    metrics.gauge("outbox_records", "Records that JetStream has not acknowledged", lambda: outbox.records)
    metrics.gauge("outbox_bytes", "The same in bytes", lambda: outbox.bytes)
    metrics.gauge("outbox_limit_records", "The bound of outbox_records", lambda: outbox.limits.records)
    metrics.gauge("outbox_limit_bytes", "The bound of outbox_bytes", lambda: outbox.limits.bytes)
    metrics.gauge(
        "unacknowledged_batches", "Batches that JetStream has not acknowledged", lambda: publisher.unacknowledged
    )
    metrics.gauge("connections", "Open connections to the exchange", feed.connections)
    service.health.add("jetstream", publisher.problem)
    service.health.add("outbox", outbox_check(outbox))
    service.health.add("subscriptions", subscriptions_check(feed))
    service.health.add("data", silence_check(metrics, exchange.silence_seconds))


async def _know_markets(feed: CcxtFeed, recorder: Recorder) -> None:
    await feed.loaded.wait()
    recorder.know_markets(feed.market_ids)


async def _tick(recorder: Recorder) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        recorder.tick()


async def _drain(publisher: Publisher, timeout_seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(1.0, timeout_seconds)):
            await publisher.drained()
    if publisher.unacknowledged:
        _log.error("outbox was not emptied", batches=publisher.unacknowledged, timeout_seconds=timeout_seconds)
    else:
        _log.info("outbox was emptied")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--exchange",
        default=os.environ.get("DAEDALUS_EXCHANGE", ""),
        help="its name in the configuration; default: $DAEDALUS_EXCHANGE",
    )


def main() -> int:
    return run("collector", serve, _arguments)


if __name__ == "__main__":
    sys.exit(main())
