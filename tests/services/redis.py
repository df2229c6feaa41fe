# SPDX-License-Identifier: Apache-2.0
"""A real Redis on loopback: ``with redis.running(directory) as server: server.url``."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from tests.services.errors import ServiceUnavailable
from tests.services.process import Process, free_port


class Redis:
    """One that runs; its port stays the same over `stop` and `start`."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._directory = directory
        self._process: Process | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = Process(
            [
                "redis-server", "--port", str(self.port), "--bind", "127.0.0.1",
                "--dir", str(self._directory), "--save", "", "--appendonly", "no",
            ],
            self._directory / "redis.log",
        )  # fmt: skip
        self._process.wait_until(self._ready)

    def stop(self) -> None:
        """End it; it forgets all."""
        if self._process is not None:
            self._process.stop()

    def _ready(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), 1) as sock,
        ):
            sock.sendall(b"PING\r\n")
            return sock.recv(16).startswith(b"+PONG")
        return False


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Redis]:
    """Run one for the length of a block.

    Raises:
        ServiceUnavailable: this machine has none.
    """
    if shutil.which("redis-server") is None:
        raise ServiceUnavailable("redis-server is not installed")
    directory.mkdir(parents=True, exist_ok=True)
    server = Redis(directory)
    try:
        server.start()
        yield server
    finally:
        server.stop()
