"""Use the libvirtd that runs, or start one where no service manager does.

Only daemons started here are ever stopped: their process ids are written down in the cache
folder, so that a later process (`python -m tests.guests down`) finds them too.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt

from tests.guests.errors import GuestsUnavailable
from tests.guests.paths import cache_dir, locked, need_root

URI = "qemu:///system"
START_SECONDS = 20.0
STOP_SECONDS = 10.0
_RUN = Path("/run")
_LOGS = Path("/var/log/libvirt")


@contextlib.contextmanager
def connection() -> Iterator[Any]:
    """A connection of its own, closed at the end: it need not outlive a daemon's restart."""
    # Without a handler libvirt writes every error to stderr, also those dealt with.
    libvirt.registerErrorHandler(lambda *_: None, None)
    conn = libvirt.open(URI)
    try:
        yield conn
    finally:
        with contextlib.suppress(libvirt.libvirtError):
            conn.close()


def answers() -> bool:
    """Whether a libvirtd answers."""
    try:
        with connection():
            return True
    except libvirt.libvirtError:
        return False


def pid() -> int | None:
    """The process id of the daemon that manages QEMU."""
    return _running("libvirtd") or _running("virtqemud")


def ensure() -> bool:
    """Have a libvirtd that answers; True if this call started it."""
    if answers():
        return False
    need_root()
    with locked("daemon"):
        if answers():
            return False
        started = _started()
        try:
            for name in ("virtlogd", "libvirtd"):
                if _running(name) is None:
                    started[name] = _start(name)
                    _remember(started)
            _wait_for_answer()
        except BaseException:
            _stop_all_ours()
            raise
        return True


def stop() -> None:
    """Stop the daemons that `ensure` started, also in an earlier process; no others."""
    with locked("daemon"):
        _stop_all_ours()


def stop_libvirtd() -> None:
    """Stop libvirtd only, if started here; its guests run on."""
    with locked("daemon"):
        if not _stop_ours("libvirtd"):
            raise GuestsUnavailable("libvirtd was not started by this tool: it is left alone")


def kill_libvirtd() -> None:
    """Kill libvirtd with SIGKILL, if started here; its guests run on."""
    with locked("daemon"):
        if not _stop_ours("libvirtd", signal.SIGKILL):
            raise GuestsUnavailable("libvirtd was not started by this tool: it is left alone")


def start_libvirtd() -> None:
    """Start libvirtd again after `stop_libvirtd` or `kill_libvirtd`."""
    ensure()


def restart() -> None:
    """Restart libvirtd, if started here."""
    stop_libvirtd()
    start_libvirtd()


@contextlib.contextmanager
def running() -> Iterator[None]:
    """A libvirtd for the length of a block; stopped at its end if it was started for it."""
    started = ensure()
    try:
        yield
    finally:
        if started:
            stop()


def _running(name: str) -> int | None:
    """The process id in a daemon's pid file, if that process still is this daemon."""
    try:
        number = int((_RUN / f"{name}.pid").read_text())
    except (OSError, ValueError):
        return None
    return number if _is(number, name) else None


def _is(number: int, name: str) -> bool:
    try:
        return Path(f"/proc/{number}/comm").read_text().strip() == name
    except OSError:
        return False


def _state_file() -> Path:
    return cache_dir() / "daemons.json"


def _started() -> dict[str, int]:
    """The daemons started here that still run."""
    try:
        known: dict[str, int] = json.loads(_state_file().read_text())
    except (OSError, ValueError):
        return {}
    return {name: number for name, number in known.items() if _is(number, name)}


def _remember(started: dict[str, int]) -> None:
    if started:
        _state_file().write_text(json.dumps(started))
    else:
        _state_file().unlink(missing_ok=True)


def _start(name: str) -> int:
    binary = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if binary is None:
        raise GuestsUnavailable(f"{name} is not installed (Debian: libvirt-daemon-system)")
    log = _LOGS / f"{name}.log"
    offset = log.stat().st_size if log.exists() else 0
    try:
        result = subprocess.run(
            [binary, "-d"], capture_output=True, text=True, timeout=START_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise GuestsUnavailable(f"{name} -d did not return{_said(log, offset)}") from None
    number = _running(name)
    if result.returncode or number is None:
        lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        raise GuestsUnavailable(f"{name} did not start: {lines[-1]}{_said(log, offset)}")
    return number


def _wait_for_answer() -> None:
    log = _LOGS / "libvirtd.log"
    offset = log.stat().st_size if log.exists() else 0
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if time.monotonic() > deadline:
            raise GuestsUnavailable(
                f"libvirtd did not answer within {START_SECONDS:.0f} s{_said(log, offset)}"
            )
        time.sleep(0.1)


def _said(log: Path, offset: int) -> str:
    """The last line a daemon logged since `offset`."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            lines = file.read()[-4096:].decode(errors="replace").split("\n")
    except OSError:
        return ""
    lines = [line.strip() for line in lines if line.strip()]
    return f" ({log}: {lines[-1]})" if lines else ""


def _stop_all_ours() -> None:
    for name in ("libvirtd", "virtlogd"):
        _stop_ours(name)
    _remember({})


def _stop_ours(name: str, how: signal.Signals = signal.SIGTERM) -> bool:
    """Stop one daemon; False if it was not started here."""
    number = _started().get(name)
    if number is None:
        return False
    os.kill(number, how)
    deadline = time.monotonic() + STOP_SECONDS
    while _is(number, name):
        if time.monotonic() > deadline:
            os.kill(number, signal.SIGKILL)
            break
        time.sleep(0.05)
    _remember(_started())
    return True
