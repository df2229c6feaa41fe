# SPDX-License-Identifier: Apache-2.0
"""A process that runs one cycle whenever it is told to."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class ContenderFailed(Exception):
    """It ended; the message has the last line that it wrote."""


class Cost(NamedTuple):
    """What a cycle cost: the answer of `bench.measure.serve`, under its names."""

    wall: float
    client: float
    daemon: float
    samples: int
    resident: float
    peak: float


class Contender:
    """Runs ``python -m MODULE ARGUMENTS``.

    Args:
        command: the interpreter, the module's name and its arguments.
        log: where its standard error goes.
        environment: what is added to ours.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        python, module, *arguments = command
        self._module = module
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [python, "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=os.environ | dict(environment or {}),
            )

    def cycle(self, words: str = "cycle") -> Cost:
        """Have it run a cycle and return what that cost.

        Raises:
            ContenderFailed: it ended instead.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        answer = ""
        try:
            self._process.stdin.write(words + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            pass
        if not answer:
            said = self._log.read_text(errors="replace").strip().splitlines() or ["(nothing)"]
            raise ContenderFailed(f"{self._module} ended: {said[-1]}")
        return Cost(**json.loads(answer))

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(10)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
