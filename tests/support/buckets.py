"""A real S3-speaking server in the test process, with a bucket, and machines that reach it."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

from carft.catalog.catalog import BUILT_IN
from carft.store.mirror import MirroredStore, Seen
from tests.support.helpers import environment

KEY, SECRET = "AKIATESTKEYOFNOBODY", "s3cr3t/t3st+0f+n0b0dy"
BUCKET = "lab"


class Server:
    """What it holds stays while it is down."""

    def __init__(self) -> None:
        self.running: Any = None
        self.port = 0
        self.start()
        self.client.create_bucket(Bucket=BUCKET)

    def start(self) -> None:
        self.running = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.running.start()
        self.port = self.running.get_host_and_port()[1]

    def stop(self) -> None:
        self.running.stop()

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a process that reaches it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def machine(self, mirrors: Path) -> dict[str, str]:
        """The environment of a command on a machine of its own: one that has its own mirrors."""
        return {**environment(), **self.settings, "CARFT_MIRRORS": str(mirrors)}

    @property
    def client(self) -> Any:
        """Another client than ours, so that a test sees what others see."""
        return boto3.client(
            "s3",
            endpoint_url=self.settings["AWS_ENDPOINT_URL"],
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(retries={"max_attempts": 1}),
        )

    def names(self, prefix: str) -> dict[str, str]:
        """Name below a prefix -> digest of every object."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
        found = [one for page in pages for one in page.get("Contents", []) if not one["Key"].endswith("/")]
        return {one["Key"].removeprefix(f"{prefix}/"): one["ETag"] for one in found}

    def everything(self) -> set[str]:
        """All that the bucket holds, by its very names."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return {one["Key"] for page in pages for one in page.get("Contents", [])}

    def read(self, key: str) -> bytes:
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=key)


@contextmanager
def serving() -> Iterator[Server]:
    """A server while the block runs."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = Server()
    try:
        yield server
    finally:
        server.stop()


class Machines:
    """Stores on several machines of one results folder. They differ in where they keep their mirrors."""

    def __init__(self, server: Server, place: Path, monkeypatch: Any, prefix: str) -> None:
        self.server, self.place, self.monkeypatch, self.prefix = server, place, monkeypatch, prefix
        self.url = f"s3://{BUCKET}/{prefix}"
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)

    def store(self, machine: str) -> MirroredStore:
        """The store as a new process on a machine has it."""
        self.monkeypatch.setenv("CARFT_MIRRORS", str(self.place / machine))
        return MirroredStore(self.url, BUILT_IN)

    def names(self) -> dict[str, str]:
        return self.server.names(self.prefix)


class Bucket(MirroredStore):
    """The mirror of an object store in memory, which counts the bytes that it is sent. It has no server.

    other: another mirror of the same object store.
    """

    def __init__(self, other: Bucket | None = None) -> None:
        super().__init__(other.name if other else f"s3://{BUCKET}/{uuid4().hex}", BUILT_IN)
        self.objects: dict[str, tuple[bytes, int]] = other.objects if other else {}
        self.sent: Counter[str] = Counter()  # first folder of a name -> bytes

    def below(self, prefix: str) -> dict[str, Seen]:
        found = {}
        for name, (content, changed) in self.objects.items():
            if name == prefix or name.startswith(f"{prefix}/"):
                found[name] = len(content), changed
        return found

    def send(self, name: str) -> None:
        content = (self.root / name).read_bytes()
        self.sent[name.partition("/")[0]] += len(content)
        self.objects[name] = content, time.time_ns()

    def fetch(self, name: str, seen: Seen) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_bytes(self.objects[name][0])
        os.utime(self.root / name, ns=(seen[1], seen[1]))
