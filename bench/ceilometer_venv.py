# SPDX-License-Identifier: Apache-2.0
"""Ceilometer from the package index: an environment with it, and its last transformers beside."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import libvirt

CEILOMETER = "27.0.0"
WITH_TRANSFORMERS = "11.1.0"
"""The last release that had them; its modules run on the libraries of the other."""

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


def ensure_transformers() -> tuple[Path, Path]:
    """Return a Python and the directory to put on its path for Ceilometer with transformers.

    Raises:
        NoCeilometer: see there.
    """
    environment = ensure()
    beside = environment.with_name(f"ceilometer-{WITH_TRANSFORMERS}")
    if not (beside / "ceilometer").is_dir():
        what = ["--no-deps", "--target", str(beside), f"ceilometer=={WITH_TRANSFORMERS}"]
        _run([str(environment / "bin" / "pip"), "install", "--quiet", *what])
    return environment / "bin" / "python", beside


def _libvirt_version() -> str:
    """Return the version of the host's libvirt: libvirt-python is built against it."""
    number = libvirt.getVersion()
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise NoCeilometer(f"{' '.join(command[:4])} ...: {said[-1]}")
