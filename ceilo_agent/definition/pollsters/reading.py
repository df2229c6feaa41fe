# SPDX-License-Identifier: Apache-2.0
"""From the nodes of a file to definitions, all mistakes told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ceilo_agent.definition.nodes import (
    ListNode,
    MappingNode,
    Node,
    Position,
    ScalarNode,
    plain,
)
from ceilo_agent.definition.pollsters import written
from ceilo_agent.definition.pollsters.commands import read_command
from ceilo_agent.definition.pollsters.parts import (
    is_number,
    read_headers,
    read_metadata,
    read_namespaces,
    read_numbers,
)
from ceilo_agent.definition.pollsters.pollster import PollsterDef
from ceilo_agent.definition.pollsters.texts import ValueAttribute
from ceilo_agent.definition.reader import Reader
from ceilo_agent.definition.settings import read_settings
from ceilo_agent.errors import nearest
from ceilo_agent.expressions.value import Value
from ceilo_agent.shown import shown

_OWN: Final = frozenset({"project", "endpoint"})
"""What an operation of a definition may read beside ``value``."""

_PATHS: Final = (
    "response_entries_key",
    "next_sample_url_attribute",
    "user_id_attribute",
    "project_id_attribute",
    "resource_id_attribute",
)
_IDENTITIES: Final = _PATHS[2:]
_ALIKE: Final = (
    "endpoint_type", "method", "discovery", "kind", "description", "metadata_mapping",
    "preserve_mapped_metadata", "timeout", "authentication", "tls", "max_pages",
    "max_response_bytes", "concurrency", "rate", "retries", "value_of",
)  # fmt: skip
"""What a definition has as it is written."""

_UNREAD: Final = object()


class Placed(NamedTuple):
    """A definition and where it stands."""

    pollster: PollsterDef
    file: str
    position: Position


class Definitions:
    """Reads the definitions of one file.

    Args:
        reader: takes the mistakes.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def read(self, root: Node) -> list[Placed]:
        """Return those without a mistake."""
        nodes = self._reader.items(root, "a list of pollsters")
        found = []
        for node in nodes or ():
            item = self._reader.mapping(node, "a pollster (name, sample_type, unit, ...)")
            if item is not None:
                made = _Definition(self._reader, item, None).made()
                place = item.entries["name"].position if "name" in item.entries else item.position
                if made is not None:
                    found.append(Placed(made, self._reader.file, place))
        return found


class _Definition:
    """Reads one definition, or a further request of one.

    Args:
        reader: takes the mistakes.
        item: the definition.
        parent: the keys of the definition whose further request it is, _UNREAD if they have a
            mistake; None for a definition.
    """

    def __init__(self, reader: Reader, item: MappingNode, parent: Any) -> None:
        self._reader = reader
        self._parent = parent
        self._item = _given(item)
        self._entries = self._item.entries

    def made(self) -> PollsterDef | None:
        """Return it; None after a mistake, which goes to the reader."""
        before = len(self._reader.faults)
        for key in written.REFUSED.keys() & self._item.keys.keys():
            place = self._item.keys[key]
            self._reader.fault(place, f"the key '{key}' is not supported", written.REFUSED[key])
        own = self._parent is None
        struct = written.WrittenPollster if own else written.WrittenField
        without = {key for key in _PATHS if self._is_empty(key)} | written.REFUSED.keys()
        if own and "value" in self._item.keys:
            without.add("value")
            self._reader.fault(
                self._item.keys["value"], "unknown key 'value'", "did you mean 'value_attribute'?"
            )
        keys: Any = read_settings(self._reader, struct, _less(self._item, without), "key")
        parts = self._parts()
        fields = self._fields(keys)
        if keys is None or len(self._reader.faults) > before:
            return None
        self._check(keys)
        if keys.value_of is not None and keys.value_of not in [each.name for each in fields]:
            place = self._entries["value_of"].position
            what = f"no extra_metadata_fields has the name '{shown(keys.value_of)}'"
            self._reader.fault(place, what, nearest(keys.value_of, [f.name for f in fields]))
        if len(self._reader.faults) > before or self._parent is _UNREAD:
            return None
        return self._joined(keys, parts, fields)

    def _is_empty(self, key: str) -> bool:
        """Return whether a path is switched off, as Ceilometer lets ''."""
        node = self._entries.get(key)
        return isinstance(node, ScalarNode) and node.value == ""

    def _parts(self) -> dict[str, Any]:
        """Return what has a form of its own, by key."""
        reader, entries = self._reader, self._entries
        parts: dict[str, Any] = {}
        if "namespaces" in entries:
            parts["namespaces"] = read_namespaces(reader, entries["namespaces"])
            if parts["namespaces"] and "central" not in parts["namespaces"]:
                where = entries["namespaces"].position
                reader.warn(
                    where, "nothing polls it", "agents of 'central' alone do: write central"
                )
        if "metadata_fields" in entries:
            found = read_metadata(reader, entries["metadata_fields"])
            parts["metadata_fields"] = {name: value for name, (value, _) in found.items()}
            for value, place in found.values():
                self._check_names(value, place)
        if "headers" in entries:
            parts["headers"] = read_headers(reader, entries["headers"])
        if "host_command" in entries:
            parts["host_command"] = read_command(reader, entries["host_command"])
        nested = self._parent is not None
        if "value_mapping" in entries:
            parts["value_mapping"] = read_numbers(
                reader, entries["value_mapping"], any_value=nested
            )
        if "default_value" in entries:
            node = entries["default_value"]
            if not nested and not is_number(node):
                reader.expected(node, "default_value: a number")
            parts["default_value"] = plain(node)
        return parts

    # -- what hangs together ---------------------------------------------------------------------

    def _check(self, keys: Any) -> None:
        for key in ("value_attribute", "value", "url_path", *_PATHS):
            found = getattr(keys, key, None)
            if isinstance(found, ValueAttribute):
                self._check_names(found.value, self._entries[key])
                if found.part is not None:
                    self._check_names(found.part, self._entries[key])
                continue
            found = found.found if key == "url_path" and found is not None else found
            if isinstance(found, Value):
                self._check_names(found, self._entries[key])
        self._check_request(keys)
        self._check_list(keys)
        for name in keys.metadata_mapping.keys() - self._metadata_names():
            place = _key_place(self._entries["metadata_mapping"], name)
            self._reader.warn(place, f"no metadata_fields has the name '{shown(name)}'")

    def _check_names(self, value: Value, node: Node) -> None:
        """Refuse names that are not known where a value stands."""
        discovery = self._entries.get("discovery")
        by_project = isinstance(discovery, ScalarNode) and discovery.value == "projects"
        for name, offset in value.names.items():
            place = node.at(offset) if isinstance(node, ScalarNode) else node.position
            if self._parent is None and name not in _OWN:
                what = f"'{name}' is known in extra_metadata_fields alone"
                self._reader.fault(place, what)
            elif name == "project" and not by_project and self._parent is None:
                what = "no project is known here"
                self._reader.fault(place, what, "write discovery: projects")

    def _check_request(self, keys: Any) -> None:
        if "host_command" in self._entries:
            if "discovery" in self._entries and keys.discovery != "endpoint":
                place = self._entries["discovery"].position
                what = f"a command is run once, not for each of {keys.discovery}"
                self._reader.fault(place, what)
            return
        path = "" if keys.url_path is None else keys.url_path.found
        absolute = isinstance(path, str) and "://" in path.partition("?")[0]
        static = keys.discovery == "resources"
        if not path and not static:
            self._missing("url_path")
        if keys.endpoint_type is None and not absolute and not static and self._parent is None:
            hint = "or a URL as url_path, or discovery: resources"
            self._missing("endpoint_type", hint)
        if keys.discovery == "projects" and absolute:
            place = self._entries["discovery"].position
            self._reader.fault(place, "a URL is asked once, not for each project")
        if static and absolute:
            place = self._entries["url_path"].position
            hint = "write a path, which is joined to each resource"
            self._reader.fault(place, "a URL is asked once, not for each resource", hint)
        if keys.method == "HEAD" and (keys.response_handlers or ["headers"]) != ["headers"]:
            place = self._entries["response_handlers"].position
            what = "an answer to HEAD has headers alone"
            self._reader.fault(place, what, "write response_handlers: [headers]")

    def _missing(self, key: str, hint: str = "") -> None:
        self._reader.fault(self._item.position, f"the key '{key}' is missing", hint)

    def _check_list(self, keys: Any) -> None:
        """Refuse a name of several meters without a list of them, and the other way round."""
        attribute = _value_of(keys)
        listed = attribute is not None and attribute.part is not None
        node = self._entries["name"]
        if self._parent is not None and (keys.name.attribute or listed):
            self._reader.fault(node.position, "a further request gives one value, no list of them")
        elif keys.name.attribute and not listed:
            place = self._entries["value_attribute"].position
            what = "a name with {...} takes the value of each part of a list"
            self._reader.fault(place, what, "write [LIST].VALUE")
        elif listed and not keys.name.attribute:
            what = "the value of each part of a list takes a name for each"
            self._reader.fault(node.position, what, "let the name end with .{ATTRIBUTE}")

    def _metadata_names(self) -> set[str]:
        node = self._entries.get("metadata_fields")
        if isinstance(node, MappingNode):
            return set(node.entries)
        listed = node.items if isinstance(node, ListNode) else [node]
        return {each.text for each in listed if isinstance(each, ScalarNode)}

    # -- further requests ------------------------------------------------------------------------

    def _fields(self, keys: Any) -> tuple[PollsterDef, ...]:
        """Return the further requests of a definition, whose keys are None after a mistake."""
        node = self._entries.get("extra_metadata_fields")
        if node is None:
            return ()
        if self._parent is not None:
            place = self._item.keys["extra_metadata_fields"]
            self._reader.fault(place, "a further request makes none itself")
            return ()
        found = []
        for each in node.items if isinstance(node, ListNode) else [node]:
            item = self._reader.mapping(each, "a further request (name, url_path, value, ...)")
            if item is not None:
                found.append(_Definition(self._reader, item, keys or _UNREAD).made())
        return tuple(each for each in found if each is not None)

    # -- the definition --------------------------------------------------------------------------

    def _joined(
        self, keys: Any, parts: Mapping[str, Any], fields: tuple[PollsterDef, ...]
    ) -> PollsterDef:
        parent: Any = self._parent
        attribute = _value_of(keys) or (parent and parent.value_attribute)
        named: dict[str, Any] = {key: getattr(keys, key) for key in _ALIKE}
        for key in _PATHS:
            if key in self._entries:
                named[key] = getattr(keys, key)
        if parent is not None:
            # What Ceilometer makes of an answer without an id has none, and need not.
            named.setdefault("resource_id_attribute", None)
        name = keys.name
        cached, skip = keys.extra_metadata_fields_cache_seconds, keys.extra_metadata_fields_skip
        if parent is not None:
            cached = parent.extra_metadata_fields_cache_seconds if cached is None else cached
            skip = parent.extra_metadata_fields_skip if skip is None else skip
        handlers = keys.response_handlers or ["headers" if keys.method == "HEAD" else "json"]
        return PollsterDef(
            name=name.text,
            sample_type=keys.sample_type or parent.sample_type,
            unit=keys.unit or parent.unit,
            value_attribute=attribute.value,
            sub_value=attribute.part if name.attribute else None,
            sub_meter=_sub_meter(name.text, name.attribute),
            url_path="" if keys.url_path is None else keys.url_path.found,
            skip_sample_values=tuple(keys.skip_sample_values),
            empty_statuses=tuple(keys.empty_statuses),
            response_handlers=tuple(handlers),
            extra_metadata_fields=fields,
            extra_metadata_fields_cache_seconds=3600 if cached is None else cached,
            extra_metadata_fields_skip=tuple(skip or ()),
            **named,
            **parts,
        )


def _given(item: MappingNode) -> MappingNode:
    """Return a mapping without the keys that have nothing behind them: Ceilometer's default."""
    nothing = {
        key
        for key, node in item.entries.items()
        if isinstance(node, ScalarNode) and node.value is None
    }
    return _less(item, nothing)


def _less(item: MappingNode, without: set[str]) -> MappingNode:
    entries = {key: node for key, node in item.entries.items() if key not in without}
    keys = {key: place for key, place in item.keys.items() if key not in without}
    return MappingNode(entries, keys, item.position)


def _key_place(node: Node, key: str) -> Position:
    return node.keys.get(key, node.position) if isinstance(node, MappingNode) else node.position


def _value_of(keys: Any) -> ValueAttribute | None:
    """Return where the value stands; a further request may call it `value`."""
    found: ValueAttribute | None = getattr(keys, "value", None) or keys.value_attribute
    return found


def _sub_meter(name: str, attribute: str | None) -> tuple[str, str] | None:
    return None if attribute is None else (name.partition("{")[0], attribute)
