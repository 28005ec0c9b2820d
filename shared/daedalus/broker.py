"""The connection to NATS, as every service makes it."""

from __future__ import annotations

import asyncio

import structlog
from nats.aio.client import Client

_log = structlog.get_logger()


async def connect(url: str, name: str, *, reconnect: bool = True) -> Client:
    """Connect, and stay connected: an unreachable server is tried again for ever, once a second.

    After a reconnect nats-py sends what was left in its buffer before anything else. Who cares for the order of what it
    publishes connects with `reconnect=False`: the connection then ends when it is lost, and this raises OSError,
    TimeoutError or nats.errors.Error when the server is not there.
    """

    async def on_error(error: Exception) -> None:
        _log.warning("NATS reported an error", error=str(error), error_type=type(error).__name__)

    async def on_disconnected() -> None:
        if not client.is_closed:
            _log.warning("NATS was disconnected", url=url)

    async def on_reconnected() -> None:
        _log.info("NATS was reconnected", url=url)

    client = Client()
    await client.connect(
        url,
        name=name,
        error_cb=on_error,
        disconnected_cb=on_disconnected,
        reconnected_cb=on_reconnected,
        allow_reconnect=reconnect,
        max_reconnect_attempts=-1 if reconnect else 0,
        reconnect_time_wait=1,
        connect_timeout=5,
        ping_interval=10,
        max_outstanding_pings=2,
        inbox_prefix=f"_INBOX_{name}",
    )
    return client


async def close(client: Client, timeout_seconds: float = 5.0) -> None:
    """Flush and close, bounded: nats-py's drain hangs where an idle pull subscription is left."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await client.flush(timeout=int(timeout_seconds) or 1)
    except Exception as error:  # noqa: BLE001  # the connection ends here, whatever its state
        _log.debug("NATS was not flushed", error=str(error))
    try:
        async with asyncio.timeout(timeout_seconds):
            await client.close()
    except OSError as error:  # TimeoutError too; a server that is away resets what is left
        _log.debug("NATS was not closed in order", error=str(error))
