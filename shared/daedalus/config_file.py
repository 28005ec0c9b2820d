"""Reads config.yaml: all mistakes at once, each `path: what was expected, was VALUE`, or a Config.

Any key can be set from the environment: `DAEDALUS__NATS__URL=…` sets `nats.url`. Secrets come only from there, or from
files: `DAEDALUS_KRAKEN_API_KEY`, or `DAEDALUS_KRAKEN_API_KEY_FILE` with a path.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
import yaml

from daedalus.config import METHOD_CHANNELS, PARTITION_COLUMNS, Config, Exchange, Section
from daedalus.errors import ConfigError
from daedalus.exchanges import ALIASES, EXCHANGE_IDS

SECRETS = ("api_key", "api_secret", "password")
_ENVIRONMENT_PREFIX = "DAEDALUS__"


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Read, convert and check the file.

    Raises ConfigError with every mistake that could be found.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError([f"{path}: expected a readable file, was {error.strerror or error}"]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: expected YAML, was {' '.join(str(error).split())}"]) from error
    mistakes: list[str] = []
    document = {} if document is None else document
    _override(document, environment, mistakes)
    config: Config = _section(document, Config, "", mistakes)
    mistakes += check(config, mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    return config


def check(config: Config, known: list[str]) -> list[str]:
    """What the types cannot say, given the mistakes that are known already."""
    mistakes = []
    ingestion, storage = config.ingestion, config.storage
    in_order = [column for column in PARTITION_COLUMNS if column in ingestion.partition_by]
    if list(ingestion.partition_by) != in_order:
        mistakes.append(
            f"ingestion.partition_by: expected some of {', '.join(PARTITION_COLUMNS)}, each once and in this order, "
            f"was {list(ingestion.partition_by)!r}"
        )
    if storage.backend == "s3" and not storage.bucket:
        mistakes.append("storage.bucket: expected a name when storage.backend is s3, was ''")
    if config.supervisor.memory_warning_percent >= config.supervisor.memory_critical_percent:
        mistakes.append(
            f"supervisor.memory_warning_percent: expected less than memory_critical_percent "
            f"({config.supervisor.memory_critical_percent}), was {config.supervisor.memory_warning_percent}"
        )
    for name, exchange in config.ccxt.exchanges.items():
        mistakes += _check_exchange(f"ccxt.exchanges.{name}", name, exchange, known)
    return mistakes


def secret(environment: Mapping[str, str], exchange: str, name: str) -> str:
    """A secret of an exchange (`name`: api_key, api_secret or password) from the environment or a file; '' if unset.

    Raises ConfigError when the named file cannot be read.
    """
    variable = f"DAEDALUS_{exchange}_{name}".upper()
    path = environment.get(f"{variable}_FILE")
    if path is None:
        return environment.get(variable, "")
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise ConfigError([f"{variable}_FILE: expected a readable file, was {path!r} ({error.strerror})"]) from error


def _check_exchange(path: str, name: str, exchange: Exchange, known: list[str]) -> list[str]:
    mistakes = []
    if ALIASES.get(name, name) not in EXCHANGE_IDS:
        mistakes.append(
            f"{path}: expected an exchange that ccxt can stream{_did_you_mean(name, EXCHANGE_IDS)}, was {name!r}"
        )
    for key in SECRETS:
        if getattr(exchange, key):
            variable = f"DAEDALUS_{name}_{key}".upper()
            mistakes.append(
                f"{path}.{key}: expected '' (set {variable} or {variable}_FILE instead), was a secret in the file"
            )
    if not exchange.channels.symbols() and not any(mistake.startswith(f"{path}.") for mistake in known):
        mistakes.append(f"{path}.channels: expected at least one symbol under {', '.join(METHOD_CHANNELS)}, was none")
    for method, channel in METHOD_CHANNELS.items():
        symbols = exchange.channels.symbols().get(channel, [])
        for index, symbol in enumerate(symbols):
            if not re.fullmatch(r"\*|[^/\s?\[\]]+/[^/\s?\[\]]+", symbol) or "**" in symbol:
                expected = "a symbol like BTC/USD or a pattern like */USD"
                mistakes.append(f"{path}.channels.{method}[{index}]: expected {expected}, was {symbol!r}")
        for symbol in sorted({symbol for symbol in symbols if symbols.count(symbol) > 1}):
            times = symbols.count(symbol)
            mistakes.append(f"{path}.channels.{method}: expected each symbol once, was {symbol!r} {times} times")
    if exchange.endpoint and (
        urlsplit(exchange.endpoint).scheme not in ("http", "https") or not urlsplit(exchange.endpoint).netloc
    ):
        mistakes.append(f"{path}.endpoint: expected http://host:port or '', was {exchange.endpoint!r}")
    return mistakes


def _section(value: object, section: type[Section], path: str, mistakes: list[str]) -> Any:
    """Convert a mapping into its struct, key by key, so that one mistake does not hide the next."""
    if not isinstance(value, dict):
        mistakes.append(f"{path or 'config'}: expected a mapping, was {_shown(value)}")
        return section()
    fields = {field.encode_name: field for field in msgspec.structs.fields(section)}
    arguments = {}
    for key, child in value.items():
        where = f"{path}.{key}" if path else str(key)
        field = fields.get(str(key))
        if field is None:
            mistakes.append(
                f"{where}: expected a key of {', '.join(fields)}{_did_you_mean(str(key), fields)}, was an unknown key"
            )
        elif isinstance(field.type, type) and issubclass(field.type, Section):
            arguments[field.name] = _section(child, field.type, where, mistakes)
        elif (entry := _section_of_mapping(field.type)) is not None:
            arguments[field.name] = _sections(child, entry, where, mistakes)
        else:
            try:
                arguments[field.name] = msgspec.convert(child, field.type)
            except msgspec.ValidationError as error:
                mistakes.append(_told(where, child, field.type, str(error)))
    return section(**arguments)


def _sections(value: object, entry: type[Section], path: str, mistakes: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        mistakes.append(f"{path}: expected a mapping, was {_shown(value)}")
        return {}
    return {str(name): _section(child, entry, f"{path}.{name}", mistakes) for name, child in value.items()}


def _section_of_mapping(kind: Any) -> type[Section] | None:
    """The value type of dict[str, SomeSection], else None."""
    arguments = get_args(kind)
    if get_origin(kind) is dict and isinstance(arguments[1], type) and issubclass(arguments[1], Section):
        return arguments[1]
    return None


def _told(path: str, value: object, kind: Any, message: str) -> str:
    """Tell msgspec's message in our form; `$[2]` in it is an index below the key."""
    expectation, _, place = message.partition(" - at `$")
    found: Any = value
    for index in re.findall(r"\[(\d+)\]", place):
        found = found[int(index)]
        path += f"[{index}]"
    expectation = re.sub(r", got `.*?`", "", expectation).replace("`", "")
    if expectation.startswith("Invalid enum value"):
        choices = kind if get_origin(kind) is Literal else get_args(kind)[0]  # a Literal, or a list of one
        expectation = f"expected one of {', '.join(map(str, get_args(choices)))}"
    return f"{path}: {expectation[0].lower()}{expectation[1:]}, was {_shown(found)}"


def _override(document: Any, environment: Mapping[str, str], mistakes: list[str]) -> None:
    for variable in sorted(name for name in environment if name.startswith(_ENVIRONMENT_PREFIX)):
        *parents, key = variable.removeprefix(_ENVIRONMENT_PREFIX).lower().split("__")
        section = document
        for parent in parents:
            if isinstance(section, dict) and section.get(parent) is None:
                section[parent] = {}
            section = section.get(parent) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            mistakes.append(f"{variable}: expected a key of the configuration, was {variable!r}")
            continue
        section[key] = yaml.safe_load(environment[variable])


def _did_you_mean(word: str, words: Any) -> str:
    close = difflib.get_close_matches(word, list(words), 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _shown(value: object) -> str:
    text = "empty" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
