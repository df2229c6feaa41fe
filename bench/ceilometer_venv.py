# SPDX-License-Identifier: Apache-2.0
"""A virtual environment with Ceilometer, made once from the package index."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import libvirt

CEILOMETER = "27.0.0"
DEFAULT_DIR = "/var/tmp/ceilo_agent-bench"


class NoCeilometer(Exception):
    """It cannot be installed here; the message says why."""


def ensure() -> Path:
    """Return the environment's directory; the first time this takes a minute or two.

    Raises:
        NoCeilometer: see there.
    """
    cache = Path(os.environ.get("CEILO_BENCH_DIR") or DEFAULT_DIR)
    made = cache / f"ceilometer-{CEILOMETER}"
    if (made / "complete").exists():
        return made
    shutil.rmtree(made, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(made)])
    packages = [f"ceilometer=={CEILOMETER}", f"libvirt-python=={_libvirt_version()}"]
    _run([str(made / "bin" / "pip"), "install", "--quiet", *packages])
    (made / "complete").touch()
    return made


def _libvirt_version() -> str:
    """Return the version of the host's libvirt: libvirt-python is built against it."""
    number = libvirt.getVersion()
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise NoCeilometer(f"{' '.join(command[:4])} ...: {said[-1]}")
