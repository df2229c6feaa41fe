# SPDX-License-Identifier: Apache-2.0
"""A disk that is small enough to be full."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.functional.conftest import lacking


@contextlib.contextmanager
def small(path: Path, size: str) -> Iterator[Path]:
    """Mount a file system in memory at a new directory, for the length of a block.

    Args:
        path: of the directory.
        size: as mount takes it: 640k, 1m.
    """
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        lacking(f"a small tmpfs cannot be mounted: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk: Path) -> Path:
    """Take all that is left of a disk; return the file that has it."""
    path = disk / "filler"
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    assert shutil.disk_usage(disk).free == 0
    return path
