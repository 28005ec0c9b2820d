"""The real nats-server of `make run`, for tests."""

from __future__ import annotations

from local.nats_server import NatsServer, free_port

__all__ = ["NatsServer", "free_port"]
