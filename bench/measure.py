# SPDX-License-Identifier: Apache-2.0
"""What one cycle costs, measured inside the process that runs it.

Only the standard library: a contender may run in a virtual environment of its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

Cycle = Callable[[list[str]], int]
"""Takes the words of a line and returns how many samples it made."""


def serve(daemon: int, make: Callable[[], Cycle]) -> None:
    """Run a cycle for each line on standard input and answer it with a line of JSON.

    An answer has `wall`, `client` and `daemon` (seconds of time, of this process's CPU with all its
    threads, and of libvirtd's CPU), `samples`, `resident` and `peak` (MB of memory).

    Args:
        daemon: libvirtd's process id.
        make: called once, to get ready.
    """
    own = os.getpid()
    # What others print (logs, warnings) must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    cycle = make()
    for line in sys.stdin:
        began = (time.perf_counter(), cpu_seconds(own), cpu_seconds(daemon))
        samples = cycle(line.split())
        ended = (time.perf_counter(), cpu_seconds(own), cpu_seconds(daemon))
        wall, spent, used = (after - before for before, after in zip(began, ended, strict=True))
        resident, peak = memory(own)
        answer = {
            "wall": wall,
            "client": spent,
            "daemon": used,
            "samples": samples,
            "resident": resident,
            "peak": peak,
        }
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds a process has used with all its threads, also those that ended.

    Raises:
        OSError: there is no such process.
    """
    # The number of a process's CPU clock on Linux, as clock_getcpuclockid(3) makes it: it counts
    # nanoseconds, where /proc/PID/stat has ticks of 10 ms.
    return time.clock_gettime((~pid << 3) | 2)


def memory(pid: int) -> tuple[float, float]:
    """Return a process's resident memory and its peak, in MB (10^6 bytes)."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return _megabytes(fields["VmRSS"]), _megabytes(fields["VmHWM"])


def _megabytes(field: str) -> float:
    return int(field.split(maxsplit=1)[0]) * 1024 / 1e6
