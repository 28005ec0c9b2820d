"""Prometheus' own linter, where it is installed."""

from __future__ import annotations

import shutil

import pytest

NEEDS_PROMTOOL = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: on Debian, `apt install prometheus`"
)
