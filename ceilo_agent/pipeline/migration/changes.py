# SPDX-License-Identifier: Apache-2.0
"""Changes to what a file says, each at a path of keys and indexes as they were in the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

Path = tuple[str | int, ...]
"""Keys and indexes from the top of the file to a value."""


class Remove(msgspec.Struct, frozen=True):
    """Take a key with its value, or an item of a list, away."""

    path: Path


class Replace(msgspec.Struct, frozen=True):
    """Put another value in the place of one."""

    path: Path
    value: Any


class Rename(msgspec.Struct, frozen=True):
    """Give a key another name."""

    path: Path
    key: str


class Insert(msgspec.Struct, frozen=True):
    """Add a key to the mapping at a path, behind another one if that is there, else at the end."""

    path: Path
    key: str
    value: Any
    after: str = ""


class Splice(msgspec.Struct, frozen=True):
    """Put any number of items in the place of one item of a list."""

    path: Path
    items: tuple[Any, ...]


Change = Remove | Replace | Rename | Insert | Splice


class Changes:
    """Changes by their path. What lies inside a value that goes as a whole is left out.

    Args:
        changes: in any order; of two that put something else at one path the later one counts.
    """

    def __init__(self, changes: Iterable[Change]) -> None:
        self.values: dict[Path, Remove | Replace | Splice] = {}
        self.names: dict[Path, str] = {}
        self.inserts: dict[Path, list[Insert]] = {}
        every = list(changes)
        whole = {c.path for c in every if isinstance(c, Remove | Replace | Splice)}
        for change in every:
            outer = change.path if isinstance(change, Insert) else change.path[:-1]
            if any(outer[:length] in whole for length in range(len(outer) + 1)):
                continue
            if isinstance(change, Rename):
                self.names[change.path] = change.key
            elif isinstance(change, Insert):
                self.inserts.setdefault(change.path, []).append(change)
            else:
                self.values[change.path] = change

    def apply(self, value: Any, path: Path = ()) -> Any:
        """Return a value, found at a path of the file, with the changes made."""
        change = self.values.get(path)
        if isinstance(change, Replace):
            return change.value
        if isinstance(value, Mapping):
            return self._mapping(value, path)
        if isinstance(value, list):
            return [
                each for index, item in enumerate(value) for each in self._item(item, path, index)
            ]
        return value

    def _mapping(self, value: Mapping[str, Any], path: Path) -> dict[str, Any]:
        made = {}
        inserts = self.inserts.get(path, [])
        for key, each in value.items():
            at = (*path, key)
            if not isinstance(self.values.get(at), Remove):
                made[self.names.get(at, key)] = self.apply(each, at)
            made |= {insert.key: insert.value for insert in inserts if insert.after == key}
        return made | {insert.key: insert.value for insert in inserts if insert.key not in made}

    def _item(self, value: Any, path: Path, index: int) -> Iterator[Any]:
        change = self.values.get((*path, index))
        if isinstance(change, Splice):
            yield from change.items
        elif not isinstance(change, Remove):
            yield self.apply(value, (*path, index))
