"""What the processes need is imported while tests are collected."""

from __future__ import annotations

from support import launcher

launcher.begin()
