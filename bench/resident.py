# SPDX-License-Identifier: Apache-2.0
"""How much memory the real command takes: `ceilo-agent polling` over the guests that run."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.contender import ROOT, ContenderFailed
from bench.measure import memory

COMMAND = [sys.executable, "-c", "from ceilo_agent.cli.main import run; run()"]
"""What the installed script does, whether or not it is installed."""


def of_command(options: Path, log: Path, namespaces: str, seconds: float) -> tuple[float, float]:
    """Let it poll every 2 s for some seconds and return its resident memory and the peak, in MB.

    Raises:
        ContenderFailed: it ended by itself.
    """
    arguments = ["--config-file", str(options), "polling", "--namespaces", namespaces]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*COMMAND, *arguments, "--interval", "2"], cwd=ROOT, stdout=errors, stderr=errors
        )
    try:
        time.sleep(seconds)
        if process.poll() is not None:
            said = log.read_text(errors="replace").strip().splitlines() or ["(nothing)"]
            raise ContenderFailed(f"ceilo-agent polling ended: {said[-1]}")
        return memory(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
