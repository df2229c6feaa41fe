# SPDX-License-Identifier: Apache-2.0
"""Arguments that several subcommands take, from text to values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def output_option(*forms: str, about: str) -> Callable[[Command], Command]:
    """Return the decorator of ``--output``: one of some forms, without it the first."""
    return click.option(
        "--output", type=click.Choice(forms), default=forms[0], show_default=True, help=about
    )


spool_option = click.option(
    "--spool-dir", metavar="PATH", help="The directory, instead of [delivery] spool_dir."
)


def words(value: str) -> list[str]:
    """Split at commas; an empty list is wrong use."""
    found = [word for word in (part.strip() for part in value.split(",")) if word]
    if not found:
        raise click.BadParameter("at least one word was expected")
    return found


def duration(value: str) -> float:
    """Return seconds from a number with a unit: 30s, 5m, 2h, 7d; without one it is seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", value.strip())
    if match is None or float(match[1]) <= 0:
        raise click.BadParameter(f"'{value}' is no duration such as 30s, 5m, 2h or 7d")
    return float(match[1]) * _UNITS[match[2]]
