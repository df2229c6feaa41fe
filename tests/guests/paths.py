"""Where the files are, and the locks which keep two runs apart."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tests.guests.errors import GuestsUnavailable

DEFAULT_DIR = "/var/tmp/ceilo_agent-guests"


def need_root() -> None:
    """Raise unless root: guests' taps, files and processes are the system's."""
    if os.geteuid() != 0:
        raise GuestsUnavailable("guests need root")


def cache_dir() -> Path:
    """The cache folder, made if missing; QEMU's own user must be able to enter it."""
    path = Path(os.environ.get("CEILO_GUESTS_DIR") or DEFAULT_DIR).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        if path.stat().st_uid == os.geteuid():
            path.chmod(0o755)
    except OSError as exc:
        raise GuestsUnavailable(f"no cache folder: {exc}") from None
    for folder in (path, *path.parents):
        if not folder.stat().st_mode & 0o001:
            raise GuestsUnavailable(
                f"QEMU's user cannot enter {folder}: set CEILO_GUESTS_DIR to another folder"
            )
    return path


def run_dir() -> Path:
    """The folder of the disks and consoles of the guests that exist."""
    path = cache_dir() / "run"
    path.mkdir(exist_ok=True)
    path.chmod(0o755)
    return path


@contextlib.contextmanager
def locked(name: str, busy: str | None = None) -> Iterator[None]:
    """Hold the lock `name`; with `busy`, raise that message instead of waiting for it."""
    folder = cache_dir() / "locks"
    folder.mkdir(exist_ok=True)
    with (folder / name).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError:
            raise GuestsUnavailable(str(busy)) from None
        yield
