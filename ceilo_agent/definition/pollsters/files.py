# SPDX-License-Identifier: Apache-2.0
"""The files of dynamic pollsters: those that ship with the agent, and those of operators."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

from ceilo_agent.definition import document
from ceilo_agent.definition.pollsters.pollster import PollsterDef
from ceilo_agent.definition.pollsters.reading import Definitions, Placed
from ceilo_agent.definition.reader import Reader
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.options import POLLSTERS
from ceilo_agent.shown import shown

LOG = logging.getLogger(__name__)

SUFFIX: Final = ".yaml"

_SHIPPED: Final = ("meters", "central")
"""Where the definitions of Ceilometer's own central meters are, below the package."""


class Examined(NamedTuple):
    """What could be read of some files, and every mistake in them.

    Attributes:
        pollsters: those without a mistake.
        faults: in the order of the files.
        warnings: what works but looks like a mistake.
    """

    pollsters: Sequence[PollsterDef]
    faults: Sequence[Fault]
    warnings: Sequence[Fault]


def load(paths: Iterable[Path | str]) -> Sequence[PollsterDef]:
    """Return the definitions of some files.

    Raises:
        ConfigError: every mistake in them.
    """
    return _sound(examine(paths))


def load_dirs(dirs: Iterable[Path | str], shipped: bool = True) -> Sequence[PollsterDef]:
    """Return the definitions of directories, and those that ship with the agent.

    A definition of a directory replaces a shipped one of the same name.

    Raises:
        ConfigError: every mistake in them, or a directory that is not there. The default one may
            be missing.
    """
    own = load(files_of(dirs))
    if not shipped:
        return own
    names = {pollster.name for pollster in own}
    kept = []
    for pollster in load(shipped_files()):
        if pollster.name in names:
            LOG.info("pollsters: the shipped definition of %s is replaced", pollster.name)
        else:
            kept.append(pollster)
    return [*kept, *own]


def shipped_files() -> list[Path]:
    """Return the files that ship with the agent, sorted."""
    place = Path(str(resources.files("ceilo_agent").joinpath(*_SHIPPED)))
    return sorted(place.glob(f"*{SUFFIX}"))


def files_of(dirs: Iterable[Path | str]) -> list[Path]:
    """Return the files of directories: sorted in each, a directory that stands twice once.

    Raises:
        ConfigError: a directory that is not the default one is missing, or one cannot be read.
    """
    found: list[Path] = []
    faults = []
    for place in dict.fromkeys(Path(each) for each in dirs):
        try:
            inside = sorted(each for each in place.iterdir() if each.suffix == SUFFIX)
        except FileNotFoundError:
            inside = []
            if str(place) != POLLSTERS:
                hint = "[polling] pollsters_definitions_dirs"
                faults.append(Fault(str(place), 0, 0, "no such directory", hint))
        except OSError as error:
            inside = []
            faults.append(Fault(str(place), 0, 0, f"cannot be read: {error.strerror}"))
        found += inside
    if faults:
        raise ConfigError(faults)
    return found


def examine(paths: Iterable[Path | str]) -> Examined:
    """Read files as far as their mistakes allow."""
    placed: list[Placed] = []
    faults: list[Fault] = []
    warnings: list[Fault] = []
    for path in map(Path, paths):
        try:
            found = document.parse(document.read(path).text, str(path))
        except ConfigError as error:
            faults += error.faults
            continue
        reader = Reader(str(path), found)
        if found.root is not None:
            placed += Definitions(reader).read(found.root)
        faults += sorted(reader.faults)
        warnings += sorted(reader.warnings)
    faults += _twice(placed)
    return Examined([each.pollster for each in placed], faults, warnings)


def _twice(placed: Iterable[Placed]) -> list[Fault]:
    """Return a fault for each definition whose name another one has already."""
    first: dict[str, Placed] = {}
    faults = []
    for each in placed:
        name = each.pollster.name
        other = first.setdefault(name, each)
        if other is not each:
            where = f"{other.file}:{other.position.line}:{other.position.column}"
            what = f"a second pollster with the name '{shown(name)}'"
            faults.append(Fault(each.file, *each.position, what, f"the first is at {where}"))
    return faults


def _sound(found: Examined) -> Sequence[PollsterDef]:
    """Return the definitions, unless there is a mistake.

    Raises:
        ConfigError: there is.
    """
    if found.faults:
        raise ConfigError(found.faults)
    for warning in found.warnings:
        LOG.warning("%s", warning)
    return found.pollsters
