# SPDX-License-Identifier: Apache-2.0
"""A real etcd on loopback: ``with etcd.running(directory) as server: server.url``."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import requests

from tests.services.errors import ServiceUnavailable
from tests.services.process import Process, free_port


class Etcd:
    """One that runs; its port stays the same over `stop` and `start`."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"etcd3+http://127.0.0.1:{self.port}"
        self._peers = free_port()
        self._directory = directory
        self._process: Process | None = None

    def start(self) -> None:
        """Start it, and wait until it answers; what it had is there."""
        ours, peers = (f"http://127.0.0.1:{port}" for port in (self.port, self._peers))
        self._process = Process(
            [
                "etcd", "--data-dir", str(self._directory / "data"),
                "--listen-client-urls", ours, "--advertise-client-urls", ours,
                "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
                "--initial-cluster", f"default={peers}", "--unsafe-no-fsync",
            ],
            self._directory / "etcd.log",
        )  # fmt: skip
        self._process.wait_until(self._ready)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stop()

    def _ready(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{self.port}/health", timeout=2).ok
        return False


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Etcd]:
    """Run one for the length of a block.

    Raises:
        ServiceUnavailable: this machine has none.
    """
    if shutil.which("etcd") is None:
        raise ServiceUnavailable("etcd is not installed")
    directory.mkdir(parents=True, exist_ok=True)
    server = Etcd(directory)
    try:
        server.start()
        yield server
    finally:
        server.stop()
