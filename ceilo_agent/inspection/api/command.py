# SPDX-License-Identifier: Apache-2.0
"""Runs a command of this host and returns what it printed: no shell, bounded in time and size."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Final

from ceilo_agent.inspection.api.answer import Unanswered

PART: Final = 64 << 10


def run(command: Sequence[str], deadline: float, max_bytes: int) -> bytes:
    """Return what a command printed on standard output.

    It gets a process group of its own, which is killed when it ends or its time is over: what it
    started goes with it.

    Args:
        command: the program and its arguments.
        deadline: CLOCK_MONOTONIC seconds.
        max_bytes: that it may print.

    Raises:
        Unanswered: it cannot be run, failed, took too long or printed too much.
    """
    began = time.monotonic()
    try:
        process = subprocess.Popen(  # noqa: S603 - what operators have allowed, and no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or "its arguments hold a zero byte"
        raise Unanswered(f"the command cannot be run: {what}") from error
    with process:
        try:
            output = _output(process, began, deadline, max_bytes)
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise _late(deadline - began) from error
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode > 0:
        raise Unanswered(f"the command ended with exit code {process.returncode}")
    if process.returncode < 0:
        raise Unanswered(f"the command ended by signal {-process.returncode}")
    return output


def _output(
    process: subprocess.Popen[bytes], began: float, deadline: float, max_bytes: int
) -> bytes:
    assert process.stdout is not None
    parts: list[bytes] = []
    size = 0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise _late(deadline - began)
            part = os.read(process.stdout.fileno(), PART)
            if not part:
                return b"".join(parts)
            size += len(part)
            if size > max_bytes:
                raise Unanswered(
                    f"the command printed more than {max_bytes} bytes (max_response_bytes)"
                )
            parts.append(part)


def _late(seconds: float) -> Unanswered:
    return Unanswered(f"the command did not end within {seconds:.3g} s")
