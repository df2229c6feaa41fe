# SPDX-License-Identifier: Apache-2.0
"""Services from the package index, each in a virtual environment that is made once and kept."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
from pathlib import Path

from tests.services.errors import ServiceUnavailable
from tests.services.process import run

DEFAULT_DIR = "/var/tmp/ceilo_agent-services"


def cache() -> Path:
    """Return the directory of what is kept between runs: CEILO_SERVICES_DIR, or our own."""
    found = Path(os.environ.get("CEILO_SERVICES_DIR") or DEFAULT_DIR)
    found.mkdir(parents=True, exist_ok=True)
    return found


def ensure(name: str, *requirements: str) -> Path:
    """Return the ``bin`` directory of an environment that holds these packages.

    The first time this takes half a minute for each service.

    Raises:
        ServiceUnavailable: it cannot be made here.
    """
    what = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()[:8]
    made = cache() / f"{name}-{what}"
    with (cache() / f"{made.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made / "complete").exists():
            shutil.rmtree(made, ignore_errors=True)
            try:
                run([sys.executable, "-m", "venv", str(made)])
                pip = [str(made / "bin" / "pip"), "install", "--quiet"]
                run([*pip, "--disable-pip-version-check", *requirements], seconds=600)
            except ServiceUnavailable as error:
                raise ServiceUnavailable(f"{name} cannot be installed: {error}") from error
            (made / "complete").touch()
    return made / "bin"
