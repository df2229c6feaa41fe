# SPDX-License-Identifier: Apache-2.0
"""A real RabbitMQ on loopback, a node of its own.

with rabbitmq.running(directory) as broker:
    ... transport_url = {broker.url} ...
    broker.kill(); broker.start(); broker.depth("ceilo_agent.samples.0.sample")
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import kombu

from tests.services.errors import ServiceUnavailable
from tests.services.process import Process, before, free_port

SERVER: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
CONTROL: Final = Path("/usr/lib/rabbitmq/bin/rabbitmqctl")
USER: Final = "rabbitmq"
"""Whom Debian's package makes; it runs as that user if we are root."""


class RabbitMQ:
    """One that runs.

    Attributes:
        port: that it listens on; it stays the same over `stop` and `start`.
        url: for oslo.messaging.
    """

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"rabbit://guest:guest@127.0.0.1:{self.port}/"
        self._directory = directory
        self._epmd = free_port()
        self._process: Process | None = None
        (directory / "home").mkdir(parents=True, exist_ok=True)
        (directory / "enabled_plugins").write_text("[].\n")
        (directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nloopback_users.guest = true\n"
            "disk_free_limit.absolute = 50MB\n"
        )
        if os.geteuid() == 0:
            for path in (directory, *directory.rglob("*")):
                shutil.chown(path, USER, USER)

    def start(self) -> None:
        """Start it, and wait until it answers; what it had on disk is there."""
        self._process = Process(
            [str(SERVER)], self._directory / "rabbitmq.log", self._environment, USER
        )
        self._process.wait_until(self._ready, 120)

    def stop(self) -> None:
        """End it in order; durable queues and persistent messages stay."""
        if self._process is not None:
            with contextlib.suppress(ServiceUnavailable):
                self.ctl("stop")
            self._process.stop()

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl and return what it prints.

        Raises:
            ServiceUnavailable: it failed.
        """
        done = subprocess.run(
            [*before(USER), str(CONTROL), "--quiet", *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | dict(self._environment),
            cwd=self._directory,
        )
        if done.returncode:
            words = (done.stderr or done.stdout).strip().splitlines() or ["(nothing)"]
            raise ServiceUnavailable(f"rabbitmqctl {arguments[0]} failed: {words[-1]}")
        return done.stdout

    def depths(self) -> dict[str, int]:
        """Return how many messages each queue has, delivered and not acknowledged ones included."""
        lines = self.ctl("list_queues", "--no-table-headers", "name", "messages").splitlines()
        pairs = (line.rsplit(maxsplit=1) for line in lines if line.strip())
        return {name: int(count) for name, count in pairs}

    def depth(self, queue: str) -> int:
        """Return how many messages a queue has; 0 if it is not there."""
        return self.depths().get(queue, 0)

    def delete(self, *queues: str) -> None:
        """Delete queues with all that is in them; those that are not there are passed over."""
        # Over AMQP: rabbitmqctl takes a second for each.
        with kombu.Connection(self.url.replace("rabbit://", "amqp://", 1)) as connection:
            for queue in queues:
                connection.default_channel.queue_delete(queue)

    def cut(self) -> None:
        """Close every client's connection."""
        self.ctl("close_all_connections", "--", "cut by a test")

    def block(self) -> None:
        """Raise the disk alarm: publishers are held up."""
        self.ctl("set_disk_free_limit", "1000000GB")

    def unblock(self) -> None:
        """Take the disk alarm back."""
        self.ctl("set_disk_free_limit", "50MB")

    def close(self) -> None:
        """End it and its port mapper, by force."""
        self.kill()
        for pid in _daemons(self._epmd):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @property
    def _environment(self) -> Mapping[str, str]:
        return {
            "HOME": str(self._directory / "home"),
            "RABBITMQ_NODENAME": f"ceilo{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(self._directory / "data"),
            "RABBITMQ_LOG_BASE": str(self._directory / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._directory / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(self._directory / "rabbitmq.conf"),
            # A processor of its own for each: this one shares two with the test.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +A 8",
            "LANG": "C.UTF-8",
        }

    @property
    def _distribution(self) -> int:
        if not hasattr(self, "_distribution_port"):
            self._distribution_port = free_port()
        return self._distribution_port

    def _ready(self) -> bool:
        with contextlib.suppress(ServiceUnavailable, subprocess.TimeoutExpired):
            self.ctl("await_startup", "--timeout", "60")
            return True
        return False


def _daemons(port: int) -> list[int]:
    """Return the port mappers (epmd) that were started for a port; they leave their group."""
    found = []
    wanted = f"ERL_EPMD_PORT={port}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


@contextlib.contextmanager
def running(directory: Path) -> Iterator[RabbitMQ]:
    """Run one for the length of a block.

    Args:
        directory: gets its log at the end. Its data are elsewhere: it runs as another user, who may
            not enter the directories of tests.

    Raises:
        ServiceUnavailable: this machine has none.
    """
    if not SERVER.exists():
        raise ServiceUnavailable("RabbitMQ is not installed")
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ceilo-rabbitmq-", ignore_cleanup_errors=True) as name:
        own = Path(name)
        own.chmod(0o755)
        broker = RabbitMQ(own)
        try:
            broker.start()
            yield broker
        finally:
            broker.close()
            with contextlib.suppress(OSError):
                shutil.copyfile(own / "rabbitmq.log", directory / "rabbitmq.log")
