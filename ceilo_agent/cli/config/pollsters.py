# SPDX-License-Identifier: Apache-2.0
"""What ``config check`` says of the files of dynamic pollsters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ceilo_agent.cli.configuration import directories
from ceilo_agent.definition.pollsters import examine, files_of
from ceilo_agent.errors import ConfigError, Fault

_NO_COMMANDS: Final = "its command is not run: [polling] host_commands is false"


class Pollsters(NamedTuple):
    """What there is to say of them.

    Attributes:
        places: their directories.
        files: how many there are.
        names: of the pollsters without a mistake.
        faults: in the order of the files.
        warnings: what works but looks like a mistake.
    """

    places: Sequence[str] = ()
    files: int = 0
    names: frozenset[str] = frozenset()
    faults: Sequence[Fault] = ()
    warnings: Sequence[Fault] = ()


def examined(conf: Any) -> Pollsters:
    """Read the files that the options name."""
    places = directories(conf)
    try:
        files = files_of(places)
    except ConfigError as error:
        return Pollsters(places, faults=error.faults)
    found = examine(files)
    warnings = list(found.warnings)
    if not conf.polling.host_commands:
        commands = [each.name for each in found.pollsters if each.host_command]
        warnings += [Fault("options", 0, 0, f"{name}: {_NO_COMMANDS}") for name in commands]
    names = frozenset(pollster.name for pollster in found.pollsters)
    return Pollsters(places, len(files), names, found.faults, warnings)


def summary(found: Pollsters) -> str:
    """Return what is said where there is no fault; empty where there are no files."""
    if not found.files or found.faults:
        return ""
    counts = ((found.files, "file"), (len(found.names), "pollster"))
    said = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts)
    return f"{', '.join(found.places)}: {said}, no faults"
