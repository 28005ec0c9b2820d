"""Fixtures that several suites share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from support.nats import NatsServer

hypothesis.settings.register_profile("daedalus", deadline=None)  # a busy machine is slow, which is no defect
hypothesis.settings.load_profile("daedalus")


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A real server, private to the test."""
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server
    server.stop()
