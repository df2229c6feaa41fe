# SPDX-License-Identifier: Apache-2.0
"""A collector that is no Python: a daemon of its own, measured from outside.

Peers are Debian packages (profile `bench` of bindep.txt). One that is not installed is left out,
and told.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.contender import ContenderFailed, Cost
from bench.measure import cpu_seconds, memory

END_WITHIN = 5.0
"""Seconds that a daemon has to end by itself."""


class NoPeer(Exception):
    """It is not installed; the message names its package."""


def program(name: str, package: str) -> str:
    """Return the path of a peer's program.

    Raises:
        NoPeer: it is not there.
    """
    found = shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin")
    if found is None:
        raise NoPeer(f"{name} is not installed (Debian's package {package})")
    return found


def version(package: str) -> str:
    """Return the version of a Debian package, "of unknown version" where dpkg does not know it."""
    command = ["dpkg-query", "--show", "--showformat", "${Version}", package]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "of unknown version"
    return asked.stdout.strip() or "of unknown version"


def free_port() -> int:
    """Return a TCP port of loopback that nobody has."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Meter:
    """The costs of a peer and of libvirtd from one moment on."""

    def __init__(self, pid: int, daemon: int) -> None:
        self._pids = pid, daemon
        self._began = time.perf_counter()
        self._used = [cpu_seconds(each) for each in self._pids]

    def cost(self, samples: int, ended: float | None = None) -> Cost:
        """Return what was used since then.

        Args:
            samples: that were made of it.
            ended: when the last of them came (perf_counter), now without.
        """
        wall = (ended or time.perf_counter()) - self._began
        now = [cpu_seconds(each) for each in self._pids]
        client, daemon = (after - before for after, before in zip(now, self._used, strict=True))
        return Cost(wall, client, daemon, samples, *memory(self._pids[0]))


class Process:
    """The daemon, with its output in a file.

    Attributes:
        pid: of the process.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._name = Path(command[0]).name
        self._log = log
        with log.open("w") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment) if environment is not None else None,
            )
        self.pid = self._process.pid

    def must_run(self) -> None:
        """Look whether it still runs.

        Raises:
            ContenderFailed: it ended; the message has its last words.
        """
        if self._process.poll() is not None:
            said = self._log.read_text(errors="replace").strip().splitlines() or ["(nothing)"]
            raise ContenderFailed(f"{self._name} ended: {said[-1]}")

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(END_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
