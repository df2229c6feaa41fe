# SPDX-License-Identifier: Apache-2.0
"""collectd with its virt plugin, measured over one of its own reads.

collectd reads by its own clock and cannot be told to. So it is stopped (SIGSTOP) between its turns.
When it goes on it makes up for what it missed, often with two reads at once; the next read, at its
own beat, is the one that is measured. A read has ended when its thread no longer waits for libvirt
and collectd no longer uses CPU. It has no plugin that writes: its values stay in its cache, which
is in its favour.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.contender import ContenderFailed, Cost
from bench.measure import cpu_seconds
from bench.peer import Meter, NoPeer, Process, program

PACKAGE: Final = "collectd-core"
PLUGIN = Path("/usr/lib/collectd/virt.so")
TYPES = Path("/usr/share/collectd/types.db")

INTERVAL = 5.0
"""Seconds from read to read while it runs."""

QUIET = 0.25
"""Seconds without CPU after which a read has ended."""

LONGEST = 60.0
"""Seconds that a read may take."""

STEP = 0.005
READY_WITHIN = 10.0

TRIES = 3
"""Reads until one must succeed: libvirtd drops who is stopped for 30 s (its keepalive)."""

# Values that are older than Timeout intervals would be thrown out when it goes on.
CONFIG = """
Hostname "bench"
FQDNLookup false
BaseDir "{directory}"
PIDFile "{directory}/pid"
TypesDB "{types}"
Interval {interval}
MaxReadInterval {interval}
Timeout 1000
ReadThreads 1
LoadPlugin logfile
LoadPlugin unixsock
LoadPlugin virt
<Plugin logfile>
    LogLevel err
    File "{directory}/errors"
</Plugin>
<Plugin unixsock>
    SocketFile "{directory}/socket"
</Plugin>
<Plugin virt>
    Connection "qemu:///system"
    HostnameFormat uuid
    ExtraStats "cpu_util disk domain_state memory vcpu pcpu"
</Plugin>
"""


def find() -> str:
    """Return its path.

    Raises:
        NoPeer: it, or its plugin, is not installed.
    """
    path = program("collectd", PACKAGE)
    if not PLUGIN.exists():
        raise NoPeer(f"its plugin virt is not installed (Debian's package {PACKAGE})")
    return path


class Collectd:
    """One that runs only while it has its turn.

    Args:
        path: its program.
        daemon: libvirtd's process id.
        directory: of its own, for its files.
        environment: what is added to ours.

    Raises:
        ContenderFailed: it did not start.
    """

    def __init__(
        self, path: str, daemon: int, directory: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._daemon = daemon
        self._socket = directory / "socket"
        self._errors = directory / "errors"
        self._sizes = _sizes(TYPES.read_text())
        config = directory / "collectd.conf"
        config.write_text(CONFIG.format(directory=directory, types=TYPES, interval=INTERVAL))
        command = [path, "-f", "-C", str(config)]
        more = os.environ | dict(environment or {})
        self._process = Process(command, directory / "output.log", more)
        try:
            self._wait_for_socket()
            self._wait_for_end()
        except BaseException:
            self.close()
            raise
        self._send(signal.SIGSTOP)

    def cycle(self, _words: str = "cycle") -> Cost:
        """Return what one of its reads cost; a sample is a number that the read gave.

        Raises:
            ContenderFailed: it ended, or read nothing at every try.
        """
        for _ in range(TRIES):
            self._process.must_run()
            self._send(signal.SIGCONT)
            try:
                self._wait_for_end()
                meter, stamp, began = self._wait_for_read()
                ended = self._wait_for_end()
                cost = meter.cost(0, ended)
                if values := self._values(stamp):
                    return cost._replace(wall=ended - began, samples=values)
            finally:
                self._send(signal.SIGSTOP)
        raise ContenderFailed(f"collectd read nothing: {self._said()}")

    def close(self) -> None:
        """End it."""
        self._send(signal.SIGCONT)
        self._process.close()

    def _send(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def _wait_for_socket(self) -> None:
        end = time.monotonic() + READY_WITHIN
        while not (self._socket.exists() and self._readers()):
            self._process.must_run()
            if time.monotonic() > end:
                raise ContenderFailed(f"collectd did not start to read: {self._said()}")
            time.sleep(STEP)

    def _wait_for_read(self) -> tuple[Meter, float, float]:
        """Wait for its next read; return a meter and the time from just before, in both clocks."""
        end = time.perf_counter() + LONGEST
        used = self._reader_used()
        while time.perf_counter() < end:
            just_before = Meter(self._process.pid, self._daemon), time.time(), time.perf_counter()
            time.sleep(STEP)
            if self._reader_used() != used:
                return just_before
        raise ContenderFailed(f"collectd did not read within {LONGEST:g} s")

    def _wait_for_end(self) -> float:
        """Wait for the end of the read that goes on and return when that was (perf_counter)."""
        began = changed = time.perf_counter()
        used = cpu_seconds(self._process.pid)
        while time.perf_counter() - changed < QUIET:
            time.sleep(STEP)
            now = cpu_seconds(self._process.pid)
            if now != used or self._waits_for_libvirt():
                used, changed = now, time.perf_counter()
            if changed - began > LONGEST:
                raise ContenderFailed(f"collectd read for {LONGEST:g} s")
        return changed

    def _reader(self) -> Path:
        for thread in self._readers():
            return thread
        raise ContenderFailed("collectd has no thread that reads")

    def _readers(self) -> list[Path]:
        threads = Path(f"/proc/{self._process.pid}/task").iterdir()
        return [each for each in threads if (each / "comm").read_text().startswith("reader")]

    def _reader_used(self) -> str:
        """Return the CPU time of its reader (ns), as text: only whether it grew is of interest."""
        return (self._reader() / "schedstat").read_text().split()[0]

    def _waits_for_libvirt(self) -> bool:
        """Whether its reader is in poll(2), as libvirt's client is while a call is under way."""
        return (self._reader() / "wchan").read_text().startswith("poll")

    def _values(self, since: float) -> int:
        """Return the numbers that a read gave since then: a value list may hold two (rx and tx)."""
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(str(self._socket))
            with asked.makefile("rw") as lines:
                lines.write("LISTVAL\n")
                lines.flush()
                count = int(lines.readline().split()[0])
                found = [lines.readline().rstrip("\n").split(" ", 1) for _ in range(count)]
        fresh = [name for stamp, name in found if float(stamp) >= since]
        return sum(self._sizes[name.split("/")[2].split("-")[0]] for name in fresh)

    def _said(self) -> str:
        lines = (
            self._errors.read_text(errors="replace").splitlines() if self._errors.exists() else []
        )
        return lines[-1] if lines else "(nothing in its log)"


def _sizes(text: str) -> dict[str, int]:
    """Return how many numbers a value list of each type has: types.db(5)."""
    pairs = [line.split(maxsplit=1) for line in text.splitlines()]
    return {pair[0]: pair[1].count(",") + 1 for pair in pairs if len(pair) == 2}
