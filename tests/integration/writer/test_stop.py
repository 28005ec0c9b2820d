"""A stop that comes while a writer starts."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from pathlib import Path

import pytest

from daedalus.config import Config, Nats, Storage
from daedalus.lease import Lease
from daedalus.service import Service
from daedalus_writer.__main__ import serve
from support.nats import NatsServer


async def test_stop_ends_a_start_that_swallows_its_cancellation(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request to NATS whose answer comes at the moment of a cancellation swallows it: the writer ends all the same."""
    begun, made = asyncio.Event(), Lease.of

    async def swallowing(*arguments: object) -> Lease:
        if not begun.is_set():
            begun.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        return await made(*arguments)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(Lease, "of", swallowing)
    config = Config(nats=Nats(url=nats_server.url), storage=Storage(root=str(tmp_path)))
    serving = asyncio.create_task(serve(Service("writer", config, argparse.Namespace(instance="w"))))
    await begun.wait()
    serving.cancel()
    done, _ = await asyncio.wait([serving], timeout=30)
    serving.cancel()
    assert done
