# SPDX-License-Identifier: Apache-2.0
"""Which letters a command is about."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from ceilo_agent import options
from ceilo_agent.definition.roles import Role
from ceilo_agent.delivery.spool import Unreadable
from ceilo_agent.notification.letterfile import FILE
from ceilo_agent.notification.letters import Shelf


class Letters(NamedTuple):
    """The letters of one worker.

    Attributes:
        worker: its name, ``0``.
        shelf: open.
    """

    worker: str
    shelf: Shelf


@contextlib.contextmanager
def opened(config_files: tuple[str, ...], directory: str | None) -> Iterator[list[Letters]]:
    """Open the letters of all workers, for the length of a block.

    Raises:
        ConfigError: the options have faults.
        Unreadable: a file cannot be read.
    """
    spool = Path(directory) if directory else options.spool_path(options.parse(config_files))
    with contextlib.ExitStack() as closing:
        found = []
        for path in sorted((spool / Role.NOTIFICATION).glob(f"*/{FILE}"), key=_number):
            try:
                shelf = Shelf(path)
            except (OSError, sqlite3.Error) as error:
                if not path.exists():
                    continue  # a running agent has taken over the letters of a worker that is gone
                raise Unreadable(f"{path} cannot be read: {error}") from error
            closing.callback(shelf.close)
            found.append(Letters(path.parent.name, shelf))
        try:
            yield found
        except sqlite3.Error as error:
            raise Unreadable(f"letters cannot be read: {error}") from error


def letter_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take one letter, or all of them."""
    function = click.option("--all", "everything", is_flag=True, help="All of them.")(function)
    return click.argument("letter", required=False, metavar="[WORKER/NUMBER]")(function)


def named(letter: str | None, *, everything: bool) -> tuple[str, int] | None:
    """Return the worker and the number of a letter, None for all.

    Raises:
        click.UsageError: neither or both were given, or it is no letter's name.
    """
    if everything == (letter is not None):
        raise click.UsageError("a letter is needed (WORKER/NUMBER, such as 0/17), or --all")
    if letter is None:
        return None
    worker, slash, number = letter.partition("/")
    if not slash or not number.isdecimal():
        raise click.UsageError(f"'{letter}' is no letter: WORKER/NUMBER was expected, such as 0/17")
    return worker, int(number)


def change(
    config_files: tuple[str, ...],
    directory: str | None,
    one: tuple[str, int] | None,
    work: Callable[[Shelf, int | None], int],
) -> int:
    """Do something with one letter or with all; return with how many it was done.

    Raises:
        click.UsageError: there is no such letter.
    """
    with opened(config_files, directory) as found:
        if one is None:
            return sum(work(letters.shelf, None) for letters in found)
        done = sum(work(each.shelf, one[1]) for each in found if each.worker == one[0])
    if not done:
        raise click.UsageError(f"there is no letter {one[0]}/{one[1]} (`letters list` has them)")
    return done


def counted(count: int) -> str:
    """Return a number of letters in words."""
    return f"{count} letter{'' if count == 1 else 's'}"


def _number(path: Path) -> tuple[int, str]:
    return len(path.parent.name), path.parent.name
