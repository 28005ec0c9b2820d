"""The connection to NATS, as every service makes it."""

from __future__ import annotations

import asyncio

import nats
import structlog
from nats.aio.client import Client

_log = structlog.get_logger()


async def connect(url: str, name: str) -> Client:
    """Connect, and stay connected: an unreachable server is tried again for ever, once a second.

    nats-py's own buffer of publishes while disconnected is off: what is in flight is the caller's to know.
    """

    async def on_error(error: Exception) -> None:
        _log.warning("NATS reported an error", error=str(error), error_type=type(error).__name__)

    async def on_disconnected() -> None:
        _log.warning("NATS was disconnected", url=url)

    async def on_reconnected() -> None:
        _log.info("NATS was reconnected", url=url)

    return await nats.connect(
        url,
        name=name,
        error_cb=on_error,
        disconnected_cb=on_disconnected,
        reconnected_cb=on_reconnected,
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        connect_timeout=5,
        ping_interval=10,
        max_outstanding_pings=2,
        inbox_prefix=f"_INBOX_{name}",
    )


async def close(client: Client, timeout_seconds: float = 5.0) -> None:
    """Flush and close, bounded: nats-py's drain hangs where an idle pull subscription is left."""
    try:
        await asyncio.wait_for(client.flush(timeout=int(timeout_seconds) or 1), timeout_seconds)
    except Exception as error:  # noqa: BLE001  # the connection ends here, whatever its state
        _log.debug("NATS was not flushed", error=str(error))
    try:
        await asyncio.wait_for(client.close(), timeout_seconds)
    except TimeoutError:
        _log.debug("NATS was not closed in time")
