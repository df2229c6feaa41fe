# SPDX-License-Identifier: Apache-2.0
"""A real collector of OpenTelemetry: Rotel, whose program comes in a wheel.

It takes OTLP over HTTP, keeps what it took for a moment, and passes it on in OTLP to another
server: what it understood can be read there.

    with faulty.serving() as sink, rotel.running(directory, sink.url) as collector:
        ... otlp://127.0.0.1:{collector.port} ...
"""

from __future__ import annotations

import contextlib
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from tests.services import venvs
from tests.services.errors import ServiceUnavailable
from tests.services.process import Process, free_port, listens

REQUIREMENT = "rotel==0.0.1a15"


class Rotel:
    """One that runs.

    Attributes:
        port: where it takes OTLP over HTTP; it stays the same over `stop` and `start`.
    """

    def __init__(self, program: Path, directory: Path, sink: str) -> None:
        self.port = free_port()
        self._log = directory / "rotel.log"
        self._command = [
            str(program),
            "start",
            *("--otlp-http-endpoint", f"127.0.0.1:{self.port}"),
            *("--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}"),
            *("--exporter", "otlp", "--otlp-exporter-protocol", "http"),
            *("--otlp-exporter-endpoint", sink),
            *("--batch-timeout", "100ms"),
        ]
        self._process: Process | None = None

    def start(self) -> None:
        """Start it."""
        self._process = Process(self._command, self._log)
        self._process.wait_until(lambda: listens(self.port))

    def stop(self) -> None:
        """End it after it passed on what it took."""
        if self._process is not None:
            self._process.stop()
            self._process = None


@contextlib.contextmanager
def running(directory: Path, sink: str) -> Iterator[Rotel]:
    """A collector for the length of a block.

    Args:
        directory: of its own.
        sink: the URL that it passes on to.

    Raises:
        ServiceUnavailable: it cannot be installed, or does not start.
    """
    programs = venvs.ensure("rotel", REQUIREMENT)
    version = sysconfig.get_python_version()
    program = programs.parent / "lib" / f"python{version}" / "site-packages/rotel/rotel-agent"
    if not program.is_file():
        raise ServiceUnavailable(f"{program} is missing")
    program.chmod(0o755)
    collector = Rotel(program, directory, sink)
    try:
        collector.start()
        yield collector
    finally:
        collector.stop()
