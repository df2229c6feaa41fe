# SPDX-License-Identifier: Apache-2.0
"""A real ZooKeeper on loopback: ``with zookeeper.running(directory) as server: server.url``."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.services.errors import ServiceUnavailable
from tests.services.process import Process, free_port

JAR: Final = Path("/usr/share/java/zookeeper.jar")
"""It names the others that it needs; not all that lie beside it go together."""

MAIN: Final = "org.apache.zookeeper.server.ZooKeeperServerMain"


class ZooKeeper:
    """One that runs; its port stays the same over `stop` and `start`."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"zookeeper://127.0.0.1:{self.port}"
        self._directory = directory
        self._process: Process | None = None
        (directory / "data").mkdir(exist_ok=True)
        (directory / "zoo.cfg").write_text(
            f"tickTime=500\ndataDir={directory}/data\nclientPort={self.port}\n"
            "clientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
            "4lw.commands.whitelist=ruok\n"
        )

    def start(self) -> None:
        """Start it, and wait until it answers; what it had is there."""
        self._process = Process(
            ["java", "-Xmx128m", "-cp", str(JAR), MAIN, str(self._directory / "zoo.cfg")],
            self._directory / "zookeeper.log",
        )
        self._process.wait_until(self._ready)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stop()

    def _ready(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), 1) as sock,
        ):
            sock.sendall(b"ruok")
            return sock.recv(16) == b"imok"
        return False


@contextlib.contextmanager
def running(directory: Path) -> Iterator[ZooKeeper]:
    """Run one for the length of a block.

    Raises:
        ServiceUnavailable: this machine has none.
    """
    if shutil.which("java") is None or not JAR.exists():
        raise ServiceUnavailable("zookeeper is not installed")
    directory.mkdir(parents=True, exist_ok=True)
    server = ZooKeeper(directory)
    try:
        server.start()
        yield server
    finally:
        server.stop()
