# SPDX-License-Identifier: Apache-2.0
"""Where the attributes of a resource come from: JSONPath over a sample, in Ceilometer's dialect.

Ceilometer parses with jsonpath-rw-ext, this with its successor jsonpath-ng: ``a.(b|c)`` is the
first of ``a.b`` and ``a.c`` that is there and not null. ``|`` binds tighter than ``.``.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
from jsonpath_ng.ext.parser import parse

from ceilo_agent.definition.nodes import ListNode, MappingNode, Node, ScalarNode, describe
from ceilo_agent.definition.reader import Reader
from ceilo_agent.definition.settings import read_settings
from ceilo_agent.errors import Malformed, nearest
from ceilo_agent.publishers.gnocchi.schemas import check_name
from ceilo_agent.sample import Sample, as_document
from ceilo_agent.shown import shown

Attribute = Callable[[Mapping[str, Any]], Any]
"""Returns the value of an attribute from what `document_of` returns; None where there is none."""

LONGEST: Final = 1000
"""Characters of a path."""

_PLACE: Final = re.compile(r"(?: at \d+:|, col )(\d+)")
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
_BRACKETS: Final = {"(": ")", "[": "]"}
_TOKEN: Final = re.compile(r"near token (.+) \(")


def document_of(sample: Sample) -> dict[str, Any]:
    """Return what paths look into: the fields of a sample under Ceilometer's names."""
    return as_document(sample) | {"source": sample.source}


@functools.cache
def compiled(text: str) -> Callable[[Any], list[Any]]:
    """Return what finds all that a path leads to, nulls left out, in its order.

    Raises:
        Malformed: the text is no path.
    """
    if len(text) > LONGEST:
        raise Malformed(f"a path of more than {LONGEST} characters")
    try:
        with warnings.catch_warnings():
            # '|' is to go in jsonpath-ng 2, which setup.cfg therefore excludes.
            warnings.simplefilter("ignore", DeprecationWarning)
            find = parse(text).find
    except Exception as error:  # each of its extensions has exceptions of its own
        raise _explained(text, error) from error
    return lambda whole: [match.value for match in find(whole) if match.value is not None]


def _explained(text: str, error: Exception) -> Malformed:
    said = " ".join(str(error).split())
    place = _PLACE.search(said)
    offset = min(int(place[1]), len(text)) if place else 0
    if "near the end" in said:
        return Malformed(f"the path ends too early{_open_bracket(text)}", len(text))
    if token := _TOKEN.search(said):
        return Malformed(f"'{shown(token[1])}' is not expected here in a path", offset)
    if "Unexpected character" in said:
        return Malformed(f"'{shown(text[offset : offset + 1])}' cannot stand in a path", offset)
    return Malformed(f"no path: {_PLACE.sub('', said).rstrip(' .!')}", offset)


def _open_bracket(text: str) -> str:
    """Say which bracket of a path is not closed; empty where all are."""
    pending = []
    for sign in _QUOTED.sub("", text):
        if sign in _BRACKETS:
            pending.append(sign)
        elif pending and sign == _BRACKETS[pending[-1]]:
            pending.pop()
    return f": a '{_BRACKETS[pending[-1]]}' is missing, '{pending[-1]}' is open" if pending else ""


# -- what stands in the file -----------------------------------------------------------------------


class _Split(msgspec.Struct, forbid_unknown_fields=True):
    """Ceilometer's trait plugin `split`: one piece of a text."""

    separator: str = "."
    segment: int = 0
    max_split: int | None = None

    def __post_init__(self) -> None:
        if not self.separator:
            raise ValueError("separator: a text that is not empty was expected")

    def __call__(self, value: Any) -> str | None:
        limit = -1 if self.max_split is None else self.max_split
        parts = str(value).split(self.separator, limit)
        return parts[self.segment] if -len(parts) <= self.segment < len(parts) else None


class _Map(msgspec.Struct, forbid_unknown_fields=True):
    """Ceilometer's trait plugin `map`: other values in place of some."""

    values: dict[str, Any]
    default: Any = None
    case_sensitive: bool = True

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("values: a mapping that is not empty was expected")
        if not self.case_sensitive:
            self.values = {key.casefold(): value for key, value in self.values.items()}

    def __call__(self, value: Any) -> Any:
        text = str(value) if self.case_sensitive else str(value).casefold()
        return self.values.get(text, self.default)


_PLUGINS: Final[Mapping[str, type[_Map | _Split]]] = {"map": _Map, "split": _Split}


def read_attributes(reader: Reader, node: Node) -> dict[str, Attribute]:
    """Return the attributes of a mapping of names to paths; mistakes go to the reader."""
    mapping = reader.mapping(node, "a mapping of attributes to paths in the sample")
    found = {}
    for name, value in (mapping.entries if mapping else {}).items():
        assert mapping is not None
        check_name(reader, name, mapping.keys[name])
        attribute = _read(reader, name, value)
        if attribute is not None:
            found[name] = attribute
    return found


def _read(reader: Reader, name: str, node: Node) -> Attribute | None:
    if not isinstance(node, MappingNode):
        return _fields(reader, name, node, None)
    reader.keys(node, ("fields", "plugin"), required=("fields",))
    if "fields" not in node.entries:
        return None
    plugin = None
    if "plugin" in node.entries:
        plugin = _plugin(reader, name, node.entries["plugin"])
        if plugin is None:
            return None
    return _fields(reader, name, node.entries["fields"], plugin)


def _fields(
    reader: Reader, name: str, node: Node, plugin: Callable[[Any], Any] | None
) -> Attribute | None:
    """Return an attribute from a path, from the first of several, or a number as it is."""
    if isinstance(node, ScalarNode) and isinstance(node.value, int):
        constant = node.value
        return lambda _whole: constant
    paths = []
    for each in node.items if isinstance(node, ListNode) else [node]:
        if not isinstance(each, ScalarNode) or not isinstance(each.value, str) or not each.value:
            what = f"attribute '{shown(name)}': a path was expected, found {describe(each)}"
            reader.fault(each.position, what)
            return None
        try:
            paths.append(compiled(each.value))
        except Malformed as error:
            what = f"attribute '{shown(name)}': {error.what}"
            reader.fault(each.at(error.offset), what, error.hint)
            return None
    if not paths:
        reader.fault(node.position, f"attribute '{shown(name)}': no path is listed")
        return None

    def first(whole: Mapping[str, Any]) -> Any:
        values: Iterable[Any] = (value for path in paths for value in path(whole))
        if plugin is not None:
            values = map(plugin, values)
        return next((value for value in values if value is not None), None)

    return first


def _plugin(reader: Reader, name: str, node: Node) -> Callable[[Any], Any] | None:
    """Return one of Ceilometer's trait plugins; None after a mistake."""
    settings = MappingNode({}, {}, node.position)
    called: Node = node
    if isinstance(node, MappingNode):
        reader.keys(node, ("name", "parameters"), required=("name",))
        if "name" not in node.entries:
            return None
        called = node.entries["name"]
        given = node.entries.get("parameters")
        if isinstance(given, MappingNode):
            settings = given
        elif given is not None and getattr(given, "value", "") is not None:
            reader.expected(given, "a mapping of parameters")
            return None
    text = reader.text(called, "the name of a plugin")
    if text is None:
        return None
    if text not in _PLUGINS:
        what = f"attribute '{shown(name)}': the plugin '{shown(text)}' is not supported"
        hint = nearest(text, _PLUGINS) or f"there are {', '.join(_PLUGINS)}"
        reader.fault(called.position, what, hint)
        return None
    made = read_settings(reader, _PLUGINS[text], settings, "parameter")
    return made if isinstance(made, _Map | _Split) else None
