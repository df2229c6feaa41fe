# SPDX-License-Identifier: Apache-2.0
"""One file of Ceilometer's, what is to change in it, and what there is to say about it."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any, Final, NamedTuple

from ceilo_agent.definition import document
from ceilo_agent.definition.nodes import ListNode, MappingNode, Node, Position, plain
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.pipeline.migration import emit
from ceilo_agent.pipeline.migration.changes import (
    Change,
    Changes,
    Insert,
    Path,
    Remove,
    Rename,
    Replace,
    Splice,
)
from ceilo_agent.pipeline.migration.edits import Text
from ceilo_agent.pipeline.migration.spans import Unplaced

_NO_COMMENTS: Final = "written anew: its comments are not kept"


class Weight(enum.IntEnum):
    """What a remark asks of the operator; the heaviest first."""

    DECIDE = 1
    """Something that nobody but the operator can decide."""
    MEANING = 2
    """Something is different from then on."""
    DONE = 3
    """A change that keeps the meaning."""


class Remark(NamedTuple):
    """What to tell the operator."""

    weight: Weight
    fault: Fault


class Draft:
    """One file.

    Attributes:
        file: its name.
        data: what it says: dicts, lists and scalars.

    Raises:
        ConfigError: it cannot be read, is not YAML or contradicts itself.
    """

    def __init__(self, path: FilePath) -> None:
        self.file = str(path)
        self.text = document.read(path).text
        found = document.parse(self.text, self.file)
        if found.faults:
            raise ConfigError(found.faults)
        if found.root is None:
            raise ConfigError([Fault(self.file, 0, 0, "the file is empty")])
        self.data: Any = plain(found.root)
        self._remarks: dict[tuple[Path, Remark], None] = {}
        self._root = found.root
        self._changes: dict[Path, list[Change]] = {}  # by the first two steps of their paths
        self._said: set[str] = set()

    # -- what the file says ----------------------------------------------------------------------

    def get(self, path: Path) -> Any:
        """Return the value at a path as it was in the file; None where there is none."""
        value = self.data
        for step in path:
            if isinstance(step, str) and isinstance(value, dict):
                value = value.get(step)
            elif isinstance(step, int) and isinstance(value, list) and step < len(value):
                value = value[step]
            else:
                return None
        return value

    def now(self, path: Path) -> Any:
        """Return the value at a path with all changes made so far."""
        near = self._changes.get(path[:2], []) if len(path) > 1 else self._all()
        return Changes(near).apply(self.get(path), path)

    def mappings(self, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield the mappings of a list with their paths."""
        items = self.get(path)
        for index, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, dict):
                yield (*path, index), item

    def line(self, path: Path) -> int:
        """Return the line of a value."""
        return self.place(path).line

    def place(self, path: Path) -> Position:
        """Return where a key stands, or an item of a list."""
        node: Node = self._root
        place = node.position
        for step in path:
            if isinstance(node, MappingNode) and step in node.entries:
                place, node = node.keys[str(step)], node.entries[str(step)]
            elif isinstance(node, ListNode) and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
                place = node.position
            else:
                break
        return place

    # -- what is to be said and done -------------------------------------------------------------

    @property
    def remarks(self) -> list[Remark]:
        """What to tell the operator, in the order of the file."""
        return sorted({remark for _, remark in self._remarks}, key=lambda remark: remark.fault)

    def tell(self, weight: Weight, path: Path, what: str, hint: str = "") -> None:
        """Add a remark about the key or item at a path."""
        remark = Remark(weight, Fault(self.file, *self.place(path), what, hint))
        self._remarks[path, remark] = None

    def tell_once(self, weight: Weight, path: Path, what: str, hint: str = "") -> None:
        """Add a remark that would be the same at other places, at the first of them."""
        if what not in self._said:
            self._said.add(what)
            self.tell(weight, path, what, hint)

    def done(self, path: Path, what: str, hint: str = "") -> None:
        """Add a remark about a change that keeps the meaning."""
        self.tell(Weight.DONE, path, what, hint)

    def forget(self, path: Path) -> None:
        """Take the remarks about what lies at or below a path back: it goes as a whole."""
        self._remarks = {
            (at, remark): None for at, remark in self._remarks if at[: len(path)] != path
        }

    def remove(self, path: Path, what: str, hint: str = "", weight: Weight = Weight.DONE) -> None:
        """Take a key or an item away and say why."""
        self._add(Remove(path))
        self.tell(weight, path, what, hint)

    def replace(self, path: Path, value: Any) -> None:
        """Put another value in the place of one."""
        self._add(Replace(path, value))

    def rename(self, path: Path, key: str) -> None:
        """Give a key another name."""
        self._add(Rename(path, key))

    def insert(self, path: Path, key: str, value: Any, after: str = "") -> None:
        """Add a key to a mapping, behind another one."""
        self._add(Insert(path, key, value, after))

    def splice(self, path: Path, items: list[Any]) -> None:
        """Put items in the place of one."""
        self._add(Splice(path, tuple(items)))

    def _add(self, change: Change) -> None:
        self._changes.setdefault(change.path[:2], []).append(change)

    def _all(self) -> list[Change]:
        return [change for near in self._changes.values() for change in near]

    # -- the outcome -----------------------------------------------------------------------------

    @property
    def changed(self) -> bool:
        """Whether anything is to change."""
        return bool(self._changes)

    def outcome(self) -> Any:
        """Return what the file says with all changes made."""
        return self.now(())

    def write(self) -> str:
        """Return the text with all changes made, with its comments where that is possible."""
        if not self._changes:
            return self.text
        try:
            made = Text(self.text, Changes(self._all())).changed()
        except Unplaced:
            made = ""
        if says(made, self.outcome()):
            return made
        self._remarks[(), Remark(Weight.DONE, Fault(self.file, 1, 1, _NO_COMMENTS))] = None
        return written_anew(self.outcome())


def written_anew(data: Any) -> str:
    """Return data as YAML, laid out by us."""
    if not isinstance(data, dict | list) or not data:
        return emit.flow(data) + "\n"
    return "\n".join(emit.block(data, 0)) + "\n"


def says(text: str, data: Any) -> bool:
    """Return whether a text says just that."""
    try:
        found = document.parse(text, "")
    except ConfigError:
        return False
    return found.root is not None and not found.faults and _same(plain(found.root), data)


def _same(one: Any, other: Any) -> bool:
    """Compare so that 1, 1.0 and true differ."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
