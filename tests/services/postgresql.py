# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL of its own for a test, on loopback, without care for power failures."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.services.errors import ServiceUnavailable
from tests.services.process import Process, free_port, listens, run

USER = "test"


class PostgreSQL:
    """One that runs; who connects is `USER`, without a password."""

    def __init__(self, tools: Path, port: int) -> None:
        self._tools = tools
        self.port = port

    def create(self, database: str) -> str:
        """Create a database and return its URL."""
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER]
        run([str(self._tools / "createdb"), *options, database])
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"


@contextlib.contextmanager
def running(directory: Path) -> Iterator[PostgreSQL]:
    """A server whose data are in a new directory below this one.

    Raises:
        ServiceUnavailable: PostgreSQL is not installed, or does not start.
    """
    tools = _tools()
    # It refuses to run as root, and must reach its directory.
    owner = "postgres" if os.geteuid() == 0 else None
    home = directory / "postgresql"
    home.mkdir()
    for parent in directory.parents:
        if parent.stat().st_uid == os.geteuid() and parent.stat().st_mode & 0o077 == 0:
            parent.chmod(0o711)
    directory.chmod(0o711)
    if owner:
        try:
            shutil.chown(home, owner)
        except LookupError as error:
            raise ServiceUnavailable(f"there is no user {owner}") from error
    data = str(home / "data")
    environment = {"HOME": str(home)}
    make = [str(tools / "initdb"), "-D", data, "-A", "trust", "-U", USER, "-N", "-E", "UTF8"]
    run([*make, "--locale=C.UTF-8"], environment, owner)
    port = free_port()
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "max_connections": "200",
    }
    command = [str(tools / "postgres"), "-D", data]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    process = Process(command, directory / "postgresql.log", environment, owner)
    try:
        process.wait_until(lambda: listens(port))
        yield PostgreSQL(tools, port)
    finally:
        process.stop(signal.SIGINT)


def _tools() -> Path:
    """Return the directory of the newest version's programs; Debian has one for each."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    if (initdb := shutil.which("initdb")) is not None:
        return Path(initdb).resolve().parent
    raise ServiceUnavailable("PostgreSQL is not installed")
