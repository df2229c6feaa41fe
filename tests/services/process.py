# SPDX-License-Identifier: Apache-2.0
"""Daemons of tests: started on loopback, gone when the test is."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.services.errors import ServiceUnavailable


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Process:
    """A daemon in a process group of its own, which dies with whoever started it.

    Args:
        command: the program and its arguments.
        log: where its output goes, appended.
        environment: added to ours.
        user: whom it runs as if we are root.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*before(user, "--pdeathsig", "KILL"), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=log.parent,
                env=os.environ | dict(environment or {}),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until(self, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until it is ready.

        Raises:
            ServiceUnavailable: it ended, or took too long.
        """
        end = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None:
                raise ServiceUnavailable(f"{self._name} ended: {self._last_words()}")
            if time.monotonic() > end:
                self.kill()
                raise ServiceUnavailable(
                    f"{self._name} is not ready after {seconds:g} s: {self._last_words()}"
                )
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 10) -> None:
        """End it, by force if it takes too long."""
        if self._process.poll() is None:
            self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """End it and its children at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def _name(self) -> str:
        return self._log.stem

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines() or ["(nothing)"]
        return lines[-1]


def before(user: str | None, *more: str) -> list[str]:
    """Return what stands before a command so that it runs as a user, if we are root."""
    if shutil.which("setpriv") is None:
        raise ServiceUnavailable("setpriv of util-linux is missing")
    if user is None or os.geteuid() != 0:
        return ["setpriv", *more]
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *more]


def run(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
    seconds: float = 300,
) -> str:
    """Run a command to its end and return what it printed.

    Raises:
        ServiceUnavailable: it failed; its last line is told.
    """
    try:
        done = subprocess.run(
            [*(before(user) if user else []), *command],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | dict(environment or {}),
            timeout=seconds,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServiceUnavailable(f"{command[0]}: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["(nothing)"]
        raise ServiceUnavailable(f"{Path(command[0]).name}: {said[-1]}")
    return done.stdout


def listens(port: int) -> bool:
    """Return whether somebody listens on a port of loopback."""
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0
