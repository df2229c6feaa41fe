# SPDX-License-Identifier: Apache-2.0
"""What serves the WSGI applications of OpenStack's services."""

from __future__ import annotations

from pathlib import Path

REQUIREMENT = "gunicorn==27.0.1"


def command(programs: Path, port: int, *application: str) -> list[str]:
    """Return what serves an application on a port of loopback, in one process of four threads.

    Args:
        programs: where gunicorn is.
        port: to listen on.
        application: its module and name, and further options before it.
    """
    server = [str(programs / "gunicorn"), "--no-control-socket", "-b", f"127.0.0.1:{port}"]
    return [*server, "-w", "1", "--threads", "4", *application]
