# SPDX-License-Identifier: Apache-2.0
"""Daemons that agents agree through: what Redis, etcd and ZooKeeper of tests have in common."""

from __future__ import annotations

import abc
import contextlib
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Self

from tests.services.errors import ServiceUnavailable
from tests.services.process import Process, free_port


class Backend(abc.ABC):
    """One that runs; its port stays the same over `stop` and `start`.

    Args:
        directory: for its files.

    Attributes:
        name: what it is called.
        program: what runs it.
        scheme: of its URL.
        url: for tooz.
    """

    name: ClassVar[str]
    program: ClassVar[str]
    scheme: ClassVar[str]

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self._directory = directory
        self._process: Process | None = None

    @classmethod
    def installed(cls) -> bool:
        """Return whether this machine has it."""
        return shutil.which(cls.program) is not None

    @classmethod
    @contextlib.contextmanager
    def running(cls, directory: Path) -> Iterator[Self]:
        """Run one for the length of a block.

        Raises:
            ServiceUnavailable: this machine has none.
        """
        if not cls.installed():
            raise ServiceUnavailable(f"{cls.name} is not installed")
        directory.mkdir(parents=True, exist_ok=True)
        made = cls(directory)
        try:
            made.start()
            yield made
        finally:
            made.stop()

    def start(self) -> None:
        """Start it, and wait until it answers; what it keeps on disk is there."""
        self._process = Process(self._command(), self._directory / f"{self.name}.log")
        self._process.wait_until(self._ready)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stop()

    @abc.abstractmethod
    def _command(self) -> Sequence[str]:
        """Return what starts it."""

    @abc.abstractmethod
    def _ready(self) -> bool:
        """Return whether it answers."""

    def _said(self, words: bytes) -> bytes:
        """Return what it answers to some words, nothing if it does not."""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), 1) as sock,
        ):
            sock.sendall(words)
            return sock.recv(16)
        return b""
