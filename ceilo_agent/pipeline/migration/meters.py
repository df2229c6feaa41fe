# SPDX-License-Identifier: Apache-2.0
"""What became of Ceilometer's meters: which this agent has, which it has under another name."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from typing import Final

from ceilo_agent.definition.matching import Matcher
from ceilo_agent.definition.meters import unknown
from ceilo_agent.meters.catalogue import NAMESPACES, Entry, catalogue, known
from ceilo_agent.meters.elsewhere import CHANGED, elsewhere

SHOWN: Final = 3
"""Names that stand for a longer list."""


def without(patterns: Sequence[str]) -> dict[int, str]:
    """Return the indexes of the patterns that match no meter of this agent, each with a hint."""
    return {
        index: elsewhere(patterns[index].removeprefix("!")) or nearest
        for index, nearest in _unknown(tuple(patterns))
    }


@functools.lru_cache(maxsize=256)
def _unknown(patterns: tuple[str, ...]) -> list[tuple[int, str]]:
    return unknown(patterns, known())


def changed(pattern: str) -> str:
    """Return where to find what Ceilometer read under a name, empty where it is the same."""
    return CHANGED.get(pattern, "")


def taken(patterns: Collection[str]) -> list[str]:
    """Return the meters of this agent that the patterns take, in the catalogue's order."""
    return list(_taken(tuple(patterns)))


@functools.lru_cache(maxsize=256)
def _taken(patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(filter(Matcher(patterns), known()))


def added(patterns: Collection[str]) -> list[str]:
    """Return the meters that globs and exclusions take here and that Ceilometer does not have."""
    entries = _entries()
    return [n for n in taken(patterns) if not entries[n].ceilometer and n not in patterns]


def of_this_host(patterns: Collection[str]) -> list[str]:
    """Return the meters of the host itself that are listed by name or by a pattern of their own."""
    listed = [pattern for pattern in patterns if pattern.startswith("hardware.")]
    return [name for name in taken(listed) if known()[name] == "host"]


@functools.cache
def _entries() -> dict[str, Entry]:
    return {entry.name: entry for name in NAMESPACES for entry in catalogue(name).meters}


def shortened(names: Sequence[str]) -> str:
    """Return names for a message: the first few and the number of the others."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
