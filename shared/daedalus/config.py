"""config.yaml as strict structs: the keys, their defaults, their bounds.

The keys of the original description keep their names; what a key means stands beside it. How the file is read, and how
mistakes are told, is in `daedalus.config_file`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
CountOrZero = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(gt=0)]
SecondsOrZero = Annotated[float, Meta(ge=0)]
Percent = Annotated[int, Meta(ge=1, le=100)]

METHOD_CHANNELS: dict[str, str] = {
    "watchOrderBook": "orderbook",
    "watchTrades": "trade",
    "watchTicker": "ticker",
    "watchBidsAsks": "bidask",
    "watchOHLCV": "ohlcv",
    "watchFundingRate": "funding",
    "watchMarkPrice": "markprice",
    "watchLiquidations": "liquidation",
}
"""ccxt's method, which is the key below `channels` → the channel that it fills."""
Timeframe = Literal["1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"]

PartitionColumn = Literal["exchange", "symbol", "year", "month", "day", "hour"]
PARTITION_COLUMNS: tuple[PartitionColumn, ...] = ("exchange", "symbol", "year", "month", "day", "hour")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mapping of config.yaml."""


class Ingestion(Section, frozen=True):
    raw_format: Literal["parquet", "ndjson"] = "parquet"
    """parquet or ndjson: what segments are written as."""
    batch_size: Count = 1000
    """Records in one message from a collector to JetStream, at the most."""
    batch_linger_milliseconds: Annotated[int, Meta(ge=0, le=5000)] = 500
    """How long a record waits for others to travel with. Fewer, larger messages are what keeps the CPU idle."""
    batch_max_kb: Annotated[int, Meta(ge=1, le=900)] = 64
    """Size of one message, at the most about."""
    flush_interval_seconds: Seconds = 5.0
    """How long the writer keeps a record in memory only, before it is spooled. JetStream protects it, not this."""
    queue_maxsize: Count = 50_000
    """Records in a collector's outbox; when it is full, records are counted and a gap is written down."""
    queue_max_mb: Count = 64
    """The same bound in bytes."""
    outbox_spill_mb: CountOrZero = 0
    """Bound of what each collector keeps on disk, below `storage.root`/spill, when its outbox is half full; 0: nothing."""
    segment_max_mb: Count = 100
    """A segment is committed when it is about this large."""
    segment_max_age_seconds: Seconds = 3600.0
    """How old a segment gets before it is committed, whatever the hour: bounds what a crash has read again."""
    segment_max_idle_seconds: Seconds = 1800.0
    """A segment that got no record for so long is committed: its symbol may stay quiet for the rest of the hour."""
    max_open_segments: Count = 5_000
    """Above this the segment that waited longest for a record is committed. An open segment costs a kilobyte."""
    pull_batch: Annotated[int, Meta(ge=1, le=10_000)] = 256
    """Messages that the writer asks JetStream for at a time."""
    pull_max_bytes: Annotated[int, Meta(ge=1_000_000)] = 4_000_000
    """The same bound in bytes; more than the largest message."""
    memory_budget_mb: Count = 64
    """Records waiting in the writer's memory, over all partitions."""
    io_threads: Annotated[int, Meta(ge=1, le=32)] = 2
    """Threads of the writer that touch the disk."""
    parquet_compression: Literal["zstd", "snappy", "lz4"] = "zstd"
    """zstd, snappy or lz4."""
    parquet_compression_level: Annotated[int, Meta(ge=1, le=22)] = 3
    """For zstd only."""
    partition_by: list[PartitionColumn] = msgspec.field(default_factory=lambda: list(PARTITION_COLUMNS))
    """Directories of the tree: some of these, each once and in this order."""
    auto_reconnect: bool = True
    """False: a subscription that failed is given up, and shown as a problem."""
    max_reconnect_attempts: Annotated[int, Meta(ge=-1)] = -1
    """-1: for ever."""
    reconnect_delay: Seconds = 5.0
    """The first delay after a failed connection; it doubles up to 60 s, with jitter."""


class Channels(Section, frozen=True, rename={channel: method for method, channel in METHOD_CHANNELS.items()}):
    """What to record: ccxt's method → unified symbols."""

    orderbook: list[str] = []
    trade: list[str] = []
    ticker: list[str] = []
    bidask: list[str] = []
    ohlcv: list[str] = []
    funding: list[str] = []
    markprice: list[str] = []
    liquidation: list[str] = []

    def symbols(self) -> dict[str, list[str]]:
        """Channel → unified symbols, for the channels that have any."""
        return {channel: symbols for channel in METHOD_CHANNELS.values() if (symbols := getattr(self, channel))}

    def only(self, pairs: Collection[tuple[str, str]]) -> Channels:
        """Those of these (channel, symbol) that are asked for, in the same order."""
        return Channels(
            **{
                channel: [symbol for symbol in symbols if (channel, symbol) in pairs]
                for channel, symbols in self.symbols().items()
            }
        )


class ExchangeOptions(Section, frozen=True):
    orderbook_watch_batch_size: Count = 20
    """Symbols in one bulk order-book call."""
    watch_batch_size: Count = 50
    """Symbols in one bulk call of any other channel."""
    subscription_stagger_ms: CountOrZero = 100
    """Between the starts of two subscriptions."""
    max_concurrent_subscriptions: Count = 5
    """Subscriptions that are being made at the same time."""
    ccxt: dict[str, object] = {}
    """Handed to ccxt as the exchange's `options`."""


class Exchange(Section, frozen=True):
    api_key: str = ""
    """Stays empty: keys come from DAEDALUS_<EXCHANGE>_API_KEY, or the file named by …_API_KEY_FILE. Public data needs none."""
    api_secret: str = ""
    """The same, …_API_SECRET."""
    password: str = ""
    """The same, …_PASSWORD."""
    channels: Channels = Channels()
    """watchOrderBook, watchTrades, watchTicker, watchBidsAsks, watchOHLCV, watchFundingRate, watchMarkPrice,
    watchLiquidations: a list of unified symbols and patterns each. In a pattern `*` stands for
    anything but `/` and `:`: `*/USD` is every spot market in USD, `BTC/*:USDT` is the swaps; `*` alone is every market."""
    ohlcv_timeframe: Timeframe = "1m"
    """Length of the candles of watchOHLCV."""
    raw: Literal["none", "also", "only"] = "none"
    """Whether frames are recorded as they came, in the channel `raw`: also beside what is parsed of them; only, for a board
    that is too small to parse what it receives."""
    symbols_refresh_seconds: Annotated[float, Meta(ge=1)] = 3600.0
    """How often the patterns are compared with the exchange's active markets."""
    feed: Literal["auto", "native", "ccxt"] = "auto"
    """native: the exchange's own protocol (binance, binanceusdm, coinbase); ccxt: any exchange that ccxt can stream. auto:
    native where all the symbols are, and `options.ccxt` is empty."""
    options: ExchangeOptions = ExchangeOptions()
    """See below."""
    max_orderbook_depth: Annotated[int, Meta(ge=1, le=5000)] = 20
    """Levels of each side in a row of an order book."""
    redundancy: Annotated[int, Meta(ge=1, le=3)] = 1
    """On how many collector replicas each symbol is recorded at the same time; the files hold every trade once."""
    endpoint: str = ""
    """A server that stands in for the exchange's own hosts: http://host:port, the real host becomes the first path
    element. For the simulator and for proxies."""
    silence_seconds: Seconds = 60.0
    """A connection that delivers no data for this long is closed and opened again; a busy one much sooner, from 5 s on, by
    its own cadence."""


class Ccxt(Section, frozen=True):
    exchanges: dict[str, Exchange] = {}


class Nats(Section, frozen=True):
    url: str = "nats://127.0.0.1:4222"
    """The server. With Compose it is set to the container's."""
    shards: Annotated[int, Meta(ge=1, le=64)] = 1
    """Streams that the symbols are spread over; each costs the server 15 to 25 MB. One is right for a Pi."""
    max_mb: Annotated[int, Meta(ge=16)] = 4096
    """Bytes on disk of all shards together. A full stream refuses new batches; what it accepted, it keeps."""
    retain_hours: SecondsOrZero = 6.0
    """How much committed history the streams keep for live readers, when there is room; `duplicate_window_seconds` at least."""
    duplicate_window_seconds: Annotated[int, Meta(ge=10, le=3600)] = 120
    """How long JetStream remembers message ids; a collector that was away for longer looks its batches up."""
    lease_seconds: Annotated[int, Meta(ge=2, le=300)] = 10
    """How long a replica that died keeps its shards or symbols before the others take them."""
    subject_by_symbol: bool = False
    """One subject per symbol, for live readers that want only one: more and smaller messages, more CPU."""


class Storage(Section, frozen=True):
    root: str = "data"
    """Where raw/active and raw/ready are; one file system."""
    backend: Literal["local", "s3"] = "local"
    """local keeps files here; s3 uploads them as well."""
    bucket: str = ""
    """Has to exist."""
    prefix: str = ""
    """Comes before the path below ready/."""
    endpoint_url: str = ""
    """Empty: AWS."""
    region: str = "us-east-1"
    """Of the bucket."""
    upload_workers: Annotated[int, Meta(ge=1, le=32)] = 2
    """Uploads at the same time."""
    bandwidth_mbit: SecondsOrZero = 0.0
    """Upload cap in megabits per second; 0: none."""
    retain_days: SecondsOrZero = 0.0
    """Delete local segments this old, once they are verified in S3; 0: keep them. Never with backend local."""
    disk_watermark_percent: Annotated[int, Meta(ge=50, le=99)] = 90
    """Above this use of the disk the oldest verified segments go, whatever their age. Never with backend local."""


class Supervisor(Section, frozen=True):
    ingestion_shutdown_timeout: Seconds = 110.0
    """How long collector and writer may take to drain; the container's stop_grace_period must be longer."""
    sync_shutdown_timeout: Seconds = 50.0
    """The same for sync."""
    memory_warning_percent: Percent = 75
    """Of the container's memory limit: at this a service warns."""
    memory_critical_percent: Percent = 90
    """Of the container's memory limit: at critical a service ends itself cleanly and is started anew."""
    memory_limit_mb: CountOrZero = 0
    """The limit where there is no container; 0: none."""
    poll_seconds: Seconds = 5.0
    """How often the supervisor asks."""
    lag_warning_seconds: Seconds = 120.0
    """Messages that no writer has read for this long are reported; uncommitted ones `segment_max_age_seconds` later."""


class Config(Section, frozen=True):
    ingestion: Ingestion = Ingestion()
    ccxt: Ccxt = Ccxt()
    nats: Nats = Nats()
    storage: Storage = Storage()
    supervisor: Supervisor = Supervisor()
