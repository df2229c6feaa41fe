# SPDX-License-Identifier: Apache-2.0
"""What an operator wrote for a plugin, as the struct that the plugin declares.

Each value is converted by itself, so that every mistake is found in one pass and told in words of
the file, at its own position.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import inspect

from ceilo_agent.definition.durations import seconds
from ceilo_agent.definition.nodes import ListNode, MappingNode, Node, ScalarNode, describe, plain
from ceilo_agent.definition.reader import Reader
from ceilo_agent.errors import Malformed, Misfit, nearest
from ceilo_agent.plugins import Parsed
from ceilo_agent.shown import shown

_LONGEST: Final = 366 * 86400
"""Seconds of a duration that a hint gives."""
_NAMED: Final = 25
"""Keys that a hint names."""
_OF_TIME: Final = re.compile("time|retention|interval|grace|window|delay")
"""In the names of settings that are durations."""

_WRONG: Final = object()
"""Stands for a value that is a mistake; None may be a right one."""


def read_settings(
    reader: Reader,
    struct: type[msgspec.Struct],
    node: MappingNode,
    word: str,
    texts: Collection[str] = (),
) -> msgspec.Struct | None:
    """Return an instance of a plugin's struct; None after a mistake, which goes to the reader.

    Args:
        reader: takes the mistakes.
        struct: what the plugin declares.
        node: what the operator wrote.
        word: what a key is called in messages: option, parameter.
        texts: the keys whose values are text whatever they mean, as in the query of a URL.
    """
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    values: dict[str, Any] = {}
    hints = []
    for key, place in node.keys.items():
        if key not in fields:
            hints.append(_valid(key, list(fields), word))
            reader.fault(place, f"unknown {word} '{shown(key)}'", hints[-1])
            values[key] = _WRONG
        else:
            kind, value = fields[key].type, node.entries[key]
            values[fields[key].name] = _value(reader, kind, value, word, key, key in texts)
    for key in reader.missing(node, [k for k, f in fields.items() if f.required], hints):
        reader.fault(node.position, f"the {word} '{key}' is missing")
        values[key] = _WRONG
    if _WRONG in values.values():
        return None
    try:
        return struct(**values)
    except (ValueError, TypeError) as error:  # the struct's own check of values that hang together
        wrong = _along(node, error.path if isinstance(error, Misfit) else ())
        reader.fault(wrong.position, " ".join(str(error).split()))
        return None


def _valid(key: str, known: Sequence[str], word: str) -> str:
    if not known:
        return f"it takes no {word}s"
    return nearest(key, known) or (f"it takes {', '.join(known)}" if len(known) <= _NAMED else "")


def _value(reader: Reader, kind: Any, node: Node, word: str, key: str, is_text: bool) -> Any:
    """Return one value converted to the type of its field; after a mistake _WRONG."""
    nested = _struct(kind)
    if nested is not None and isinstance(node, MappingNode):
        return read_settings(reader, nested, node, word) or _WRONG
    inner = _inner(kind)
    if inner is not None and isinstance(node, MappingNode):
        table = {k: _value(reader, inner, v, word, k, is_text) for k, v in node.entries.items()}
        return _WRONG if _WRONG in table.values() else table
    parsed, others = _arms(kind)
    if parsed is not None and _is_parsed(node, others):
        assert isinstance(node, ScalarNode)
        return _parse(reader, parsed, node, f"{word} '{key}'")
    found, inside = node, ""
    try:
        if others is None:  # only a text with a meaning will do: null is as wrong as a list
            value = _WRONG
        else:
            value = msgspec.convert(plain(node), others, strict=not is_text)
    except msgspec.ValidationError as error:
        found = _at(node, str(error))
        inside = "" if found is node else " in it"
    else:
        if value is not _WRONG and (not isinstance(value, float) or math.isfinite(value)):
            return value
    choices = _choices(inspect.type_info(others), inside=found is not node)
    hint = ""
    if isinstance(found, ScalarNode) and "number" in takes(kind) and _OF_TIME.search(key):
        hint = seconds(found.value, _LONGEST)
    if isinstance(found, ScalarNode):
        hint = hint or nearest(found.text, choices)
    said = (
        "another value" if _is_hidden(kind) and isinstance(found, ScalarNode) else describe(found)
    )
    what = f"{word} '{key}': {takes(kind)} was expected, found {said}{inside}"
    reader.fault(found.position, what, hint)
    return _WRONG


def _arms(kind: Any) -> tuple[type[Parsed] | None, Any]:
    """Split a type into its text with a meaning of its own, and what else it may be.

    A struct is any mapping there: msgspec cannot convert one that holds such texts.
    """
    arms = _alternatives(kind)
    parsed = [arm for arm in arms if isinstance(arm, type) and issubclass(arm, Parsed)]
    if (nested := _struct(kind)) is not None:
        kind = typing.Union[tuple(dict if arm is nested else arm for arm in arms)]  # noqa: UP007
    if not parsed:
        return None, kind
    others = tuple(arm for arm in arms if arm not in parsed)
    return parsed[0], typing.Union[others] if others else None  # noqa: UP007 - arms are values


def _is_parsed(node: Node, others: Any) -> bool:
    """Return whether a value is text with a meaning, or a number that can be nothing else."""
    if not isinstance(node, ScalarNode) or isinstance(node.value, bool):
        return False
    numbers = others is None or others is type(None)
    return isinstance(node.value, str) or (numbers and node.value is not None)


def _parse(reader: Reader, parsed: type[Parsed], node: ScalarNode, where: str) -> Any:
    try:
        return parsed.parse(node.text)
    except Malformed as error:
        reader.fault(node.at(error.offset), f"{where}: {error.what}", error.hint)
        return _WRONG


def _at(node: Node, message: str) -> Node:
    """Return the node that msgspec's message is about: it ends with "at `$.key[0]`"."""
    path = message.rpartition(" - at `$")[2].removesuffix("`") if " - at `$" in message else ""
    parts = re.findall(r"\.([^.\[]+)|\[(\d+)\]", path)
    return _along(node, [int(index) if index else key for key, index in parts])


def _along(node: Node, path: Iterable[str | int]) -> Node:
    """Return the node that keys and indexes lead to, as far as they do."""
    for part in path:
        if isinstance(node, MappingNode) and part in node.entries:
            node = node.entries[str(part)]
        elif isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
        else:
            break
    return node


def _is_hidden(kind: Any) -> bool:
    """Return whether a field holds secrets, alone or as the values of a dictionary."""
    arms = [*_alternatives(kind), *_alternatives(_inner(kind))]
    return any(isinstance(a, type) and issubclass(a, Parsed) and a.hidden for a in arms)


def _struct(kind: Any) -> type[msgspec.Struct] | None:
    """Return the struct among what a type may be, if it is the only one."""
    found = [
        arm
        for arm in _alternatives(kind)
        if isinstance(arm, type) and issubclass(arm, msgspec.Struct)
    ]
    return found[0] if len(found) == 1 else None


def _inner(kind: Any) -> Any:
    """Return the type of the values of the dictionary that a type may be, None without one."""
    found = [arm for arm in _alternatives(kind) if typing.get_origin(arm) is dict]
    return typing.get_args(found[0])[1] if len(found) == 1 else None


def _alternatives(kind: Any) -> Sequence[Any]:
    """Return what a type may be: the members of a union, else itself."""
    if typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return typing.get_args(kind) if union else (kind,)


def takes(kind: Any) -> str:
    """Say in an operator's words what a field of a struct takes."""
    parsed, others = _arms(kind)
    words = "" if others is None else _words(inspect.type_info(others))
    return " or ".join(filter(None, (words, parsed.words if parsed else "")))


def _words(form: inspect.Type) -> str:
    if isinstance(form, inspect.Metadata):
        return _words(form.type)
    if isinstance(form, inspect.NoneType):
        return ""
    if isinstance(form, inspect.UnionType):
        said = [_words(arm) for arm in form.types]
        if "a number" in said and "a whole number" in said:
            said.remove("a whole number")
        return " or ".join(filter(None, said))
    if choices := _choices(form):
        return "one of " + ", ".join(choices)
    for kinds, words in _WORDS:
        if isinstance(form, kinds):
            return words + _bounds(form)
    return "another value"


_WORDS: Final[Sequence[tuple[Any, str]]] = (
    (inspect.BoolType, "true or false"),
    (inspect.IntType, "a whole number"),
    (inspect.FloatType, "a number"),
    (inspect.StrType, "a text"),
    ((inspect.ListType, inspect.SetType, inspect.VarTupleType), "a list"),
    ((inspect.DictType, inspect.StructType), "a mapping"),
)


def _choices(form: inspect.Type, inside: bool = False) -> list[str]:
    """Return the texts that a value may be; with `inside` also those of the items of a list."""
    if isinstance(form, inspect.Metadata):
        return _choices(form.type, inside)
    if inside and (item := getattr(form, "item_type", None)):
        return _choices(item)
    if isinstance(form, inspect.EnumType):
        return [str(member.value) for member in form.cls]
    if isinstance(form, inspect.LiteralType):
        return [str(value) for value in form.values]
    if isinstance(form, inspect.UnionType):
        return [choice for arm in form.types for choice in _choices(arm, inside)]
    return []


def _bounds(form: Any) -> str:
    """Say which numbers, which texts, or what a list holds."""
    if item := getattr(form, "item_type", None):
        return f" (each item {_words(item)})"
    if pattern := getattr(form, "pattern", None):
        return " that is not blank" if pattern == r"\S" else f" that matches {pattern}"
    low, high = getattr(form, "ge", None), getattr(form, "le", None)
    if low is not None and high is not None:
        return f" from {low} to {high}"
    parts = [
        f"{words} {bound}"
        for words, name in (
            ("of at least", "ge"),
            ("above", "gt"),
            ("of at most", "le"),
            ("below", "lt"),
        )
        if (bound := getattr(form, name, None)) is not None
    ]
    return " " + " and ".join(parts) if parts else ""
