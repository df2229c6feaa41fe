# SPDX-License-Identifier: Apache-2.0
"""Checks the meter patterns of sources.

A pattern is a meter's name, a glob (``disk.*``), or either after ``!``, which excludes. What may
stand together follows Ceilometer, so that its files load and mean the same.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Final

from ceilo_agent.definition.nodes import Node, Position
from ceilo_agent.definition.reader import Reader
from ceilo_agent.errors import nearest
from ceilo_agent.shown import shown

LONGEST: Final = 255
"""Characters of a pattern: the longest name that a message of Ceilometer's can carry."""

_HINTS: Final = 100
"""Unknown meters that are compared with all known ones; a comparison takes milliseconds."""

_LIST: Final = "a list of meter names"


def read_meters(reader: Reader, node: Node) -> list[tuple[str, Position]]:
    """Return the patterns of a source with their positions; mistakes go to the reader."""
    found = reader.texts(node, _LIST, "a meter name")
    if found is None:
        return []
    if reader.is_empty(node):
        reader.fault(node.position, "no meters are listed", "'*' stands for all")
    for pattern, place in found:
        if pattern == "!":
            reader.fault(place, "'!' excludes nothing", "a meter name follows '!'")
        elif len(pattern) > LONGEST:
            reader.fault(place, f"a meter name of more than {LONGEST} characters")
    _check_together(reader, found)
    return found


def _check_together(reader: Reader, found: Sequence[tuple[str, Position]]) -> None:
    names = [(pattern, place) for pattern, place in found if pattern[0] not in "!*"]
    excluded = [(pattern, place) for pattern, place in found if pattern[0] == "!"]
    if names and excluded:
        # The later kind is the one that was added to a list that worked.
        pattern, place = max(names[0], excluded[0], key=lambda item: item[1])
        reader.fault(
            place,
            f"both included and excluded meters are listed: '{shown(names[0][0])}' and "
            f"'{shown(excluded[0][0])}'",
            "exclusions go alone or with patterns that begin with '*'",
        )
    elif names and any(pattern == "*" for pattern, _ in found):
        pattern, place = names[0]
        reader.fault(
            place, f"'{shown(pattern)}' is listed beside '*', which takes all", "leave one out"
        )


def unknown(patterns: Sequence[str], known: Collection[str]) -> list[tuple[int, str]]:
    """Return the indexes of patterns that match no known meter, with the nearest that would."""
    names, families = set(known), _families(known)
    found: list[tuple[int, str]] = []
    for index, pattern in enumerate(patterns):
        body = pattern.removeprefix("!")
        if is_glob(body):
            taken = body == "*" or any(fnmatchcase(name, body) for name in names)
        else:
            taken = body in names
        if taken:
            continue
        valid = families if "*" in body else names
        found.append((index, nearest(body, sorted(valid)) if len(found) < _HINTS else ""))
    return found


def is_glob(pattern: str) -> bool:
    """Return whether a pattern may match several names."""
    return any(character in pattern for character in "*?[")


def _families(known: Collection[str]) -> set[str]:
    """Return the globs ``a.*``, ``a.b.*`` that take in the known meters."""
    return {
        ".".join(parts[:length]) + ".*"
        for parts in (name.split(".") for name in known)
        for length in range(1, len(parts))
    }
