# SPDX-License-Identifier: Apache-2.0
"""The installed plugins of a kind, and what each lets an operator write."""

from __future__ import annotations

import functools

import msgspec

from ceilo_agent import plugins
from ceilo_agent.definition.nodes import Position
from ceilo_agent.definition.reader import Reader
from ceilo_agent.errors import PluginError, nearest
from ceilo_agent.shown import shown


class Installed:
    """The plugins of one namespace.

    Args:
        namespace: of their entry points.
        attribute: of their classes: the struct of what operators may write.
    """

    def __init__(self, namespace: str, attribute: str) -> None:
        self._kind = namespace.rpartition(".")[2]
        self._namespace = namespace
        self._attribute = attribute
        self._declared: dict[str, type[msgspec.Struct] | str] = {}

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """The names of all of them; looked up when the file first asks for one."""
        return frozenset(plugins.names(self._namespace))

    def missing(self, name: str, also: frozenset[str] = frozenset()) -> tuple[str, str]:
        """Say that there is no such plugin, and what there is.

        Args:
            name: what the operator wrote.
            also: other names that would do in its place.
        """
        valid = sorted(self.names | also)
        hint = nearest(name, valid) or f"there are {', '.join(valid) or 'none'}"
        return f"no {self._kind} is named '{shown(name)}'", hint

    def struct(self, reader: Reader, name: str, place: Position) -> type[msgspec.Struct] | None:
        """Return what a plugin takes; None after a mistake, which goes to the reader."""
        if name not in self.names:
            reader.fault(place, *self.missing(name))
            return None
        found = self._found(name)
        if isinstance(found, str):
            reader.fault(place, found)
            return None
        return found

    def keys(self, name: str) -> tuple[str, ...]:
        """Return the keys that a plugin takes; none where there is no such plugin."""
        found = self._found(name) if name in self.names else ""
        return () if isinstance(found, str) else found.__struct_encode_fields__

    def _found(self, name: str) -> type[msgspec.Struct] | str:
        """Return what a plugin takes, or why it cannot be used; loaded once."""
        if name not in self._declared:
            self._declared[name] = self._load(name)
        return self._declared[name]

    def _load(self, name: str) -> type[msgspec.Struct] | str:
        """Return what a plugin takes, or why it cannot be used."""
        try:
            found = getattr(plugins.load(self._namespace, name), self._attribute, None)
        except PluginError as error:
            return " ".join(str(error).split())
        if isinstance(found, type) and issubclass(found, msgspec.Struct):
            return found
        reason = f"its {self._attribute} is no msgspec struct"
        return f"the {self._kind} '{name}' cannot be used: {reason}"
