"""What an exchange's certificates are checked with."""

from __future__ import annotations

import ssl
from functools import cache

import certifi


@cache
def context() -> ssl.SSLContext:
    """The same for all connections: the certificates take 1 MB."""
    return ssl.create_default_context(cafile=certifi.where())
