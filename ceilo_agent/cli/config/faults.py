# SPDX-License-Identifier: Apache-2.0
"""What the commands that look for faults say of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import click

from ceilo_agent.errors import Fault

FAULTY: Final = 1
"""The exit code: something is wrong with the file."""


def tell(faults: Iterable[Fault]) -> int:
    """Print faults to standard error, a line each; return the exit code for them."""
    for fault in faults:
        click.echo(str(fault), err=True)
    return FAULTY
