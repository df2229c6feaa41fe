# SPDX-License-Identifier: Apache-2.0
"""The libvirt exporter of Debian, prometheus-libvirt-exporter: one scrape is one cycle.

It connects to libvirt and reads all guests anew for each scrape.
"""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.contender import ContenderFailed, Cost
from bench.peer import Meter, Process, free_port, program

PACKAGE: Final = "prometheus-libvirt-exporter"

READY_WITHIN = 10.0
"""Seconds from the start to the first answer."""

ANSWER_WITHIN = 60.0


def find() -> str:
    """Return its path.

    Raises:
        NoPeer: it is not installed.
    """
    return program("prometheus-libvirt-exporter", PACKAGE)


class Exporter:
    """One that runs on loopback.

    Args:
        path: its program.
        daemon: libvirtd's process id.
        directory: where its log goes.
        environment: what is added to ours.
    """

    def __init__(
        self, path: str, daemon: int, directory: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._daemon = daemon
        self._port = free_port()
        command = [path, f"--web.listen-address=127.0.0.1:{self._port}"]
        command += ["--libvirt.uri=qemu:///system", "--libvirt.export-nova-metadata"]
        more = os.environ | dict(environment or {})
        self._process = Process(command, directory / "exporter.log", more)
        end = time.monotonic() + READY_WITHIN
        while not self._listens():
            self._process.must_run()
            if time.monotonic() > end:
                self.close()
                raise ContenderFailed("the exporter does not listen")
            time.sleep(0.05)

    def cycle(self, _words: str = "cycle") -> Cost:
        """Scrape it; a sample is a series of a guest.

        Raises:
            ContenderFailed: it ended, or answered with an error.
        """
        self._process.must_run()
        meter = Meter(self._process.pid, self._daemon)
        page = self._page()
        ended = time.perf_counter()
        return meter.cost(page.count(b"\nlibvirt_domain_"), ended)

    def close(self) -> None:
        """End it."""
        self._process.close()

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self._port)) == 0

    def _page(self) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_WITHIN)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            page = answer.read()
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise ContenderFailed(f"the exporter answered {answer.status} {answer.reason}")
        return page
