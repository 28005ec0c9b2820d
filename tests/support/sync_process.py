"""A real `daedalus-sync` process for a test, with its own configuration and the test server's keys."""

from __future__ import annotations

from pathlib import Path

import yaml

from support.processes import Process
from support.s3 import ACCESS_KEY, SECRET_KEY


class SyncProcess(Process):
    """Its storage root is `root`; a second one on the same directory is the same recorder, started anew."""

    def __init__(
        self, directory: Path, nats_url: str, storage: dict[str, object], secret_key: str = SECRET_KEY
    ) -> None:
        self.root = directory / "data"
        self.root.mkdir(parents=True, exist_ok=True)
        document = {
            "nats": {"url": nats_url},
            "storage": {"root": str(self.root), **storage},
            "supervisor": {"poll_seconds": 0.2, "sync_shutdown_timeout": 20},
        }
        config = directory / "config.yaml"
        config.write_text(yaml.safe_dump(document))
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": secret_key}
        super().__init__("sync", config, directory, "--log-level", "debug", environment=keys)

    def readyz(self) -> str:
        """What /readyz says."""
        return self.get("/readyz")
