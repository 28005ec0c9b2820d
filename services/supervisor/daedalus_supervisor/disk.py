"""The disk that holds storage.root."""

from __future__ import annotations

import shutil
from pathlib import Path

from daedalus_supervisor.status import DiskStatus


def read(root: Path) -> DiskStatus | None:
    """None while the folder does not exist. Blocks for as long as the disk does."""
    try:
        usage = shutil.disk_usage(root)
    except OSError:
        return None
    fillable = usage.used + usage.free  # without what is reserved for root, as df counts
    return DiskStatus(
        path=str(root),
        size_bytes=usage.total,
        used_bytes=usage.used,
        free_bytes=usage.free,
        used_percent=100.0 * usage.used / fillable if fillable else 0.0,
    )
