"""Addresses on a server that stands in for an exchange: the simulator, or a proxy."""

from __future__ import annotations

import re
from typing import Any


def localized(urls: Any, endpoint: str) -> Any:
    """Every address in nested dicts, the real host as the first path element: `wss://host/ws` →
    `ws://127.0.0.1:9000/host/ws`, because ccxt looks into addresses for what they are for.
    """
    if isinstance(urls, dict):
        return {key: localized(value, endpoint) for key, value in urls.items()}
    if not isinstance(urls, str):
        return urls
    base = endpoint.rstrip("/")
    urls = re.sub(r"^https?://", f"{base}/", urls)
    return re.sub(r"^wss?://", re.sub(r"^http", "ws", base) + "/", urls)
