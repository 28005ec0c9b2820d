"""A real S3 server for a test: SeaweedFS on its own ports, with its own store, killable."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.nats_server import free_port

ACCESS_KEY = "daedalus-test"
SECRET_KEY = "not-a-secret-of-anybody"
_ACTIONS = ["Admin", "Read", "Write", "List", "Tagging"]


def _free_port() -> int:
    """SeaweedFS listens for gRPC 10,000 ports above each HTTP port."""
    while True:
        port = free_port(range(10_000, 22_000))
        with socket.socket() as above:
            try:
                above.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port


class S3Server:
    """Started by `start()`; `kill()` is -9; started again it comes up on the same ports with the same objects."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._ports = {name: _free_port() for name in ("master", "volume", "filer", "s3", "admin")}
        keys = {"credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]}
        identities = {"identities": [{"name": "daedalus", "actions": _ACTIONS, **keys}]}
        (directory / "s3.json").write_text(json.dumps(identities))
        self._process: subprocess.Popen[bytes] | None = None
        self._probe_made = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._ports['s3']}"

    @property
    def port(self) -> int:
        return self._ports["s3"]

    def start(self) -> None:
        """Start and wait until a PUT is accepted."""
        binary = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        assert binary is not None, "weed is missing: run `make env`"
        command = [binary, f"-logdir={self.directory}", "mini", f"-dir={self.directory}"]
        command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-s3.autoCreateBucket=false"]
        command += [f"-s3.config={self.directory / 's3.json'}", "-webdav=false", "-admin.ui=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        command += [f"-{name}.port={port}" for name, port in self._ports.items()]
        with (self.directory / "weed.out").open("ab") as out:
            limited = os.environ | {"GOMEMLIMIT": "256MiB"}
            self._process = subprocess.Popen(command, stdout=out, stderr=out, env=limited)
        deadline = time.monotonic() + 60
        while not self._accepts():
            assert self._process.poll() is None, (self.directory / "weed.out").read_text()[-2000:]
            assert time.monotonic() < deadline, "weed accepted no PUT in 60 s"
            time.sleep(0.05)

    def client(self, **changes: Any) -> Any:
        """A boto3 client with the server's keys and no retries."""
        options = Config(
            s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10
        )
        arguments = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "endpoint_url": self.url}
        return boto3.client("s3", **(arguments | {"region_name": "us-east-1", "config": options} | changes))

    def objects(self, bucket: str) -> dict[str, bytes]:
        """Every object of a bucket."""
        client = self.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    def kill(self) -> None:
        """`kill -9`, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGKILL)  # its clean stop takes 2 s and is not what is tested

    def _accepts(self) -> bool:
        client = self.client()
        try:
            if not self._probe_made:
                with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
                    client.create_bucket(Bucket="probe")
                self._probe_made = True
            client.put_object(Bucket="probe", Key="probe", Body=b"probe")
        except (BotoCoreError, ClientError):
            return False
        return True

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(30)
