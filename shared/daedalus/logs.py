"""Logs: one line per event, an event in the past tense and its fields, in logfmt on standard error.

An error that repeats is told once per 10 seconds, with its count.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import MutableMapping
from typing import Any

import structlog

REPEAT_SECONDS = 10.0
_MAX_REMEMBERED = 1_000


class OncePer10Seconds:
    """Drops a warning or an error that was told less than 10 s ago; the next one tells how many there were."""

    def __init__(self) -> None:
        self._told: dict[tuple[object, ...], tuple[float, int]] = {}

    def __call__(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if method not in ("warning", "error"):
            return event
        key = (event.get("event"), event.get("exchange"), event.get("symbol"), event.get("error_type"))
        now = time.monotonic()
        told, held_back = self._told.get(key, (-REPEAT_SECONDS, 0))
        if now - told < REPEAT_SECONDS:
            self._told[key] = (told, held_back + 1)
            raise structlog.DropEvent
        if len(self._told) >= _MAX_REMEMBERED:
            self._told.clear()
        self._told[key] = (now, 0)
        if held_back:
            event["repeated"] = held_back
        return event


def configure(service: str, level: str = "info") -> None:
    """Set up logging for the process. Other libraries' logs are told from warning level up, in the same form."""
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        OncePer10Seconds(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "service", "event"], bool_as_flag=False),
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStructlog()], force=True)


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger()
        error = record.exc_info[1] if record.exc_info else None
        told = {} if error is None else {"error": str(error), "error_type": type(error).__name__}
        logger.log(record.levelno, record.getMessage(), logger=record.name, **told)
