# SPDX-License-Identifier: Apache-2.0
"""A real etcd on loopback: ``with etcd.running(directory) as server: server.url``."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import requests

from tests.services.backend import Backend
from tests.services.process import free_port


class Etcd(Backend):
    """One of a single node."""

    name = "etcd"
    program = "etcd"
    scheme = "etcd3+http"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._peers = free_port()

    def _command(self) -> Sequence[str]:
        ours, peers = (f"http://127.0.0.1:{port}" for port in (self.port, self._peers))
        return [
            self.program, "--data-dir", str(self._directory / "data"),
            "--listen-client-urls", ours, "--advertise-client-urls", ours,
            "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
            "--initial-cluster", f"default={peers}", "--unsafe-no-fsync",
        ]  # fmt: skip

    def _ready(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{self.port}/health", timeout=2).ok
        return False


running = Etcd.running
