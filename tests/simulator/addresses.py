"""Where the simulated exchanges are found: the real host becomes the first element of the path, so one port serves all
and code that looks into the address (ccxt does: ``/stream`` means spot, ``v2`` means JSON pings) goes on working."""

import re
from typing import Any


def rewritten(urls: Any, base: str) -> Any:
    """``wss://host:9443/ws`` -> ``ws://127.0.0.1:9000/host:9443/ws`` in every string of nested dicts, such as ccxt's
    ``exchange.urls["api"]``. ``base`` is the simulator's ``http://127.0.0.1:9000``."""
    if isinstance(urls, dict):
        return {key: rewritten(value, base) for key, value in urls.items()}
    if not isinstance(urls, str):
        return urls
    urls = re.sub(r"^https?://", f"{base}/", urls)
    return re.sub(r"^wss?://", re.sub("^http", "ws", base) + "/", urls)
