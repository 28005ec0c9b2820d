"""config.yaml: what is accepted, and how mistakes are told."""

from __future__ import annotations

from pathlib import Path

import ccxt.pro
import pytest

from daedalus import config_file
from daedalus.config import METHOD_CHANNELS, Config
from daedalus.errors import ConfigError
from daedalus.exchanges import ALIASES, EXCHANGE_IDS

REPOSITORY = Path(__file__).parents[3]

SEED = """
ingestion:
  raw_format: "parquet"
  batch_size: 1000
  flush_interval_seconds: 5.0
  queue_maxsize: 50000
  segment_max_mb: 100
  parquet_compression: "zstd"
  parquet_compression_level: 3
  partition_by: [exchange, symbol, year, month, day, hour]
  auto_reconnect: true
  max_reconnect_attempts: -1
  reconnect_delay: 5.0
ccxt:
  exchanges:
    coinbaseadvanced:
      api_key: ""
      api_secret: ""
      channels:
        watchOrderBook: [BTC/USD, ETH/USD]
        watchTrades: [BTC/USD]
        watchTicker: [BTC/USD]
      options:
        orderbook_watch_batch_size: 20
      max_orderbook_depth: 20
"""


def load(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return config_file.load(path, environment or {})


def mistakes(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, environment)
    return caught.value.mistakes


def test_original_form_is_accepted_and_says_the_defaults(tmp_path: Path) -> None:
    """The configuration of the original description is read, and what it spells out are the defaults."""
    config = load(tmp_path, SEED)
    assert config.ingestion == Config().ingestion
    exchange = config.ccxt.exchanges["coinbaseadvanced"]
    assert exchange.channels.symbols() == {
        "orderbook": ["BTC/USD", "ETH/USD"],
        "trade": ["BTC/USD"],
        "ticker": ["BTC/USD"],
    }


def test_shipped_configuration_is_valid() -> None:
    """The config.yaml of the repository has no mistake."""
    assert config_file.load(REPOSITORY / "config.yaml", {}).ccxt.exchanges


def test_empty_file_means_defaults(tmp_path: Path) -> None:
    """Every key has a default."""
    assert load(tmp_path, "") == Config()


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Each mistake says where it is, what was expected and what was found; none hides another."""
    told = mistakes(
        tmp_path,
        """
        ingestion: {batch_size: many, raw_format: csv, flush_interval_seconds: 0, segmentmax_mb: 5}
        ccxt:
          exchanges:
            krakn: {channels: {watchTrades: [BTC/USD]}}
            kraken: {channels: {watchTrade: [BTC/USD], watchTrades: [BTCUSD, 7]}, api_key: abc}
            binance: {channels: {}}
        nats: 5
        storage: {backend: s3}
        """,
    )
    assert told == [
        "ingestion.batch_size: expected int, was 'many'",
        "ingestion.raw_format: expected one of parquet, ndjson, was 'csv'",
        "ingestion.flush_interval_seconds: expected float > 0.0, was 0",
        next(line for line in told if line.startswith("ingestion.segmentmax_mb: expected a key of raw_format, ")),
        f"ccxt.exchanges.kraken.channels.watchTrade: expected a key of {', '.join(METHOD_CHANNELS)} "
        "(did you mean watchTrades?), was an unknown key",
        "ccxt.exchanges.kraken.channels.watchTrades[1]: expected str, was 7",
        "nats: expected a mapping, was 5",
        "storage.bucket: expected a name when storage.backend is s3, was ''",
        "ccxt.exchanges.krakn: expected an exchange that ccxt can stream (did you mean kraken?), was 'krakn'",
        "ccxt.exchanges.kraken.api_key: expected '' (set DAEDALUS_KRAKEN_API_KEY or DAEDALUS_KRAKEN_API_KEY_FILE instead), "
        "was a secret in the file",
        f"ccxt.exchanges.binance.channels: expected at least one symbol under {', '.join(METHOD_CHANNELS)}, was none",
    ]
    assert "(did you mean segment_max_mb?)" in told[3]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "config: expected a mapping, was []"),
        ("ingestion:", "ingestion: expected a mapping, was empty"),
        ("ingestion: {partition_by: [hour, exchange]}", "ingestion.partition_by: expected some of exchange, symbol, year, "
         "month, day, hour, each once and in this order, was ['hour', 'exchange']"),
        ("ingestion: {partition_by: [exchange, minute]}", "ingestion.partition_by[1]: expected one of exchange, symbol, year, "
         "month, day, hour, was 'minute'"),
        ("supervisor: {memory_warning_percent: 95}", "supervisor.memory_warning_percent: expected less than "
         "memory_critical_percent (90), was 95"),
        ("ccxt: {exchanges: {kraken: {channels: {watchTrades: [A/B, A/B]}}}}",
         "ccxt.exchanges.kraken.channels.watchTrades: expected each symbol once, was 'A/B' 2 times"),
        ("ccxt: {exchanges: {kraken: {channels: {watchTrades: [A/B]}, endpoint: 'localhost:9'}}}",
         "ccxt.exchanges.kraken.endpoint: expected http://host:port or '', was 'localhost:9'"),
        ("ingestion: {max_reconnect_attempts: -2}", "ingestion.max_reconnect_attempts: expected int >= -1, was -2"),
        ("ingestion: {auto_reconnect: 'yes'}", "ingestion.auto_reconnect: expected bool, was 'yes'"),
    ],
)  # fmt: skip
def test_one_mistake(tmp_path: Path, text: str, told: str) -> None:
    """A mistake of any kind is told in one form."""
    assert mistakes(tmp_path, text) == [told]


def test_yaml_that_is_none_and_file_that_is_none(tmp_path: Path) -> None:
    """A file that cannot be read, or is no YAML, is one mistake."""
    assert "expected YAML" in mistakes(tmp_path, "a: [")[0]
    with pytest.raises(ConfigError, match="expected a readable file, was No such file"):
        config_file.load(tmp_path / "absent.yaml", {})


def test_environment_sets_any_key(tmp_path: Path) -> None:
    """A variable sets the key that it names, with YAML's types, and is checked like the file."""
    config = load(tmp_path, "", {"DAEDALUS__NATS__URL": "nats://n:4222", "DAEDALUS__NATS__SHARDS": "4"})
    assert (config.nats.url, config.nats.shards) == ("nats://n:4222", 4)
    assert mistakes(tmp_path, "", {"DAEDALUS__NATS__SHARDS": "four"}) == ["nats.shards: expected int, was 'four'"]


def test_secrets_come_from_environment_or_file(tmp_path: Path) -> None:
    """A secret is read from its variable, or from the file that its variable names; a missing file is a mistake."""
    file = tmp_path / "key"
    file.write_text("from-file\n")
    assert config_file.secret({"DAEDALUS_KRAKEN_API_KEY": "direct"}, "kraken", "api_key") == "direct"
    assert config_file.secret({"DAEDALUS_KRAKEN_API_KEY_FILE": str(file)}, "kraken", "api_key") == "from-file"
    assert config_file.secret({}, "kraken", "api_key") == ""
    with pytest.raises(ConfigError, match="DAEDALUS_KRAKEN_API_KEY_FILE: expected a readable file"):
        config_file.secret({"DAEDALUS_KRAKEN_API_KEY_FILE": "/absent"}, "kraken", "api_key")


def test_secret_in_the_file_is_not_shown(tmp_path: Path) -> None:
    """The mistake of a secret in the file does not repeat the secret."""
    told = mistakes(tmp_path, "ccxt: {exchanges: {kraken: {api_secret: s3cr3t, channels: {watchTrades: [A/B]}}}}")
    assert "s3cr3t" not in str(told)


def test_exchange_ids_are_those_of_ccxt() -> None:
    """The list that every service checks against is ccxt's own."""
    assert set(ccxt.pro.exchanges) == EXCHANGE_IDS
    assert set(ALIASES.values()) <= EXCHANGE_IDS


ONE_SYMBOL = 'ccxt: {{exchanges: {{kraken: {{channels: {{watchTrades: ["{}"]}}}}}}}}'


@pytest.mark.parametrize("symbol", ["*", "*/USD", "BTC/*:USDT", "BTC/USD", "1000*/USDT"])
def test_patterns_are_symbols(tmp_path: Path, symbol: str) -> None:
    """`*` stands for characters, also for all of them."""
    config = load(tmp_path, ONE_SYMBOL.format(symbol))
    assert config.ccxt.exchanges["kraken"].channels.trade == [symbol]


@pytest.mark.parametrize("symbol", ["BTC", "**", "**/USD", "BTC*", "BTC/US?", "[AB]/USD", "*/USD EUR", ""])
def test_junk_is_no_pattern(tmp_path: Path, symbol: str) -> None:
    """One clear line says what is expected."""
    where = "ccxt.exchanges.kraken.channels.watchTrades[0]"
    expected = f"{where}: expected a symbol like BTC/USD or a pattern like */USD, was {symbol!r}"
    assert mistakes(tmp_path, ONE_SYMBOL.format(symbol)) == [expected]
