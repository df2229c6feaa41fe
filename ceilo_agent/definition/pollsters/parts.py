# SPDX-License-Identifier: Apache-2.0
"""The parts of a definition that may be written in more than one way: headers, metadata, values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ceilo_agent.definition.nodes import ListNode, MappingNode, Node, Position, ScalarNode, plain
from ceilo_agent.definition.pollsters.authentication import HEADER
from ceilo_agent.definition.reader import Reader
from ceilo_agent.definition.scalars import resolve
from ceilo_agent.errors import Malformed
from ceilo_agent.expressions.value import Value
from ceilo_agent.shown import shown

_UNFIT: Final = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_SECRETS: Final = {"authorization", "x-auth-token", "cookie", "x-api-key"}
_NAMESPACES: Final = "namespaces: a name, or a list of names,"


def read_headers(reader: Reader, node: Node) -> Mapping[str, str]:
    """Return the headers of a mapping or of a list of mappings."""
    found: dict[str, str] = {}
    for name, place, value in _pairs(reader, node, "headers: a mapping of texts"):
        if not HEADER.fullmatch(name):
            reader.fault(place, f"'{shown(name)}' is no name of a header")
        if not isinstance(value, ScalarNode) or isinstance(value.value, bool | None):
            reader.expected(value, f"the header '{shown(name)}': a text")
        elif _UNFIT.search(value.text):
            reader.fault(value.position, f"the header '{shown(name)}' holds what no header can")
        else:
            found[name] = value.text
        if name.lower() in _SECRETS:
            hint = "'authentication' reads it from a file or the environment"
            reader.warn(place, f"the header '{shown(name)}' holds a secret that others read", hint)
    return found


def _pairs(reader: Reader, node: Node, what: str) -> Iterator[tuple[str, Position, Node]]:
    for each in node.items if isinstance(node, ListNode) else [node]:
        mapping = reader.mapping(each, what)
        if mapping is not None:
            for key, value in mapping.entries.items():
                yield key, mapping.keys[key], value


def read_metadata(reader: Reader, node: Node) -> Mapping[str, tuple[Value, ScalarNode]]:
    """Return the metadata of a list of paths, each its own name, or of a mapping, by name."""
    if isinstance(node, ScalarNode) and isinstance(node.value, str):
        node = ListNode([node], node.position)
    if isinstance(node, MappingNode):
        listed = list(node.entries.items())
    elif isinstance(node, ListNode):
        listed = [(each.text if isinstance(each, ScalarNode) else "", each) for each in node.items]
    else:
        reader.expected(node, "metadata_fields: a list of paths, or a mapping of names to paths,")
        return {}
    found: dict[str, tuple[Value, ScalarNode]] = {}
    for name, each in listed:
        value = read_value(reader, each, "metadata_fields")
        if value is not None and isinstance(each, ScalarNode):
            found[name] = (value, each)
    return found


def read_value(reader: Reader, node: Node, where: str) -> Value | None:
    """Return a path with its operations."""
    if not isinstance(node, ScalarNode) or node.value is None or isinstance(node.value, bool):
        reader.expected(node, f"{where}: {Value.words}")
        return None
    try:
        return Value.parse(node.text)
    except Malformed as error:
        reader.fault(node.at(error.offset), f"{where}: {error.what}", error.hint)
        return None


def read_namespaces(reader: Reader, node: Node) -> tuple[str, ...]:
    """Return the names of one text, or of a list of them."""
    if isinstance(node, ScalarNode):
        text = reader.text(node, _NAMESPACES)
        return () if text is None else (text,)
    if reader.is_empty(node):
        reader.expected(node, _NAMESPACES)
    found = reader.texts(node, _NAMESPACES, "the name of a namespace")
    return tuple(text for text, _ in found or ())


def read_numbers(reader: Reader, node: Node, *, any_value: bool) -> Mapping[Any, Any]:
    """Return a mapping of values to numbers.

    A key counts as text and as what YAML makes of it without quotes: APIs give 1 as well as "1".

    Args:
        reader: takes the mistakes.
        node: of `value_mapping`.
        any_value: whether what is mapped to need be no number.
    """
    mapping = reader.mapping(node, "value_mapping: a mapping of values to numbers")
    found: dict[Any, Any] = {}
    for key, value in (mapping.entries if mapping else {}).items():
        if any_value or is_number(value):
            found[key] = plain(value)
        else:
            reader.expected(value, f"value_mapping '{shown(key)}': a number")
    for key, value in list(found.items()):
        found.setdefault(resolve(key), value)
    return found


def is_number(node: Node) -> bool:
    """Return whether a value is a number, or a text that is one."""
    if not isinstance(node, ScalarNode) or isinstance(node.value, bool):
        return False
    return isinstance(resolve(node.text), int | float) and not isinstance(resolve(node.text), bool)
