# SPDX-License-Identifier: Apache-2.0
"""A real ZooKeeper on loopback: ``with zookeeper.running(directory) as server: server.url``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.services.backend import Backend

JAR: Final = Path("/usr/share/java/zookeeper.jar")
"""It names the others that it needs; not all that lie beside it go together."""

MAIN: Final = "org.apache.zookeeper.server.ZooKeeperServerMain"


class ZooKeeper(Backend):
    """One of a single node."""

    name = "zookeeper"
    program = "java"
    scheme = "zookeeper"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        (directory / "data").mkdir(exist_ok=True)
        (directory / "zoo.cfg").write_text(
            f"tickTime=500\ndataDir={directory}/data\nclientPort={self.port}\n"
            "clientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
            "4lw.commands.whitelist=ruok\n"
        )

    @classmethod
    def installed(cls) -> bool:
        return super().installed() and JAR.exists()

    def _command(self) -> Sequence[str]:
        return [
            self.program, "-Xmx128m", "-cp", str(JAR), MAIN, str(self._directory / "zoo.cfg")
        ]  # fmt: skip

    def _ready(self) -> bool:
        return self._said(b"ruok") == b"imok"


running = ZooKeeper.running
