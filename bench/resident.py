# SPDX-License-Identifier: Apache-2.0
"""How much memory the real command takes: `ceilo-agent polling` over the guests that run."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.contender import ROOT, ContenderFailed
from bench.measure import memory

COMMAND = [sys.executable, "-c", "from ceilo_agent.cli.main import run; run()"]
"""What the installed script does, whether or not it is installed."""

END_WITHIN = 30
"""Seconds; then it is killed."""


def of_command(options: Path, log: Path, namespaces: str, seconds: float) -> tuple[float, float]:
    """Let it poll every 2 s for some seconds and return its resident memory and the peak, in MB.

    Raises:
        ContenderFailed: it ended by itself.
    """
    arguments = ["--config-file", str(options), "polling", "--namespaces", namespaces]
    with running([*COMMAND, *arguments, "--interval", "2"], log) as process:
        time.sleep(seconds)
        if process.poll() is not None:
            said = log.read_text(errors="replace").strip().splitlines() or ["(nothing)"]
            raise ContenderFailed(f"ceilo-agent polling ended: {said[-1]}")
        return memory(process.pid)


@contextlib.contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command for the length of a block; it may take some time to end in order."""
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
