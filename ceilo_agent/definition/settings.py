# SPDX-License-Identifier: Apache-2.0
"""What an operator wrote for a plugin, as the struct that the plugin declares.

Each value is converted by itself, so that every mistake is found in one pass and told in words of
the file, at its own position.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Collection, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import inspect

from ceilo_agent.definition.nodes import MappingNode, Node, Position, ScalarNode, plain, shown
from ceilo_agent.definition.reader import Reader
from ceilo_agent.errors import nearest


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
    before = len(reader.faults)
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    values: dict[str, Any] = {}
    for key, place in node.keys.items():
        if key not in fields:
            reader.fault(place, f"unknown {word} '{shown(key)}'", _valid(key, list(fields), word))
        elif key in node.entries:
            field = fields[key]
            values[field.name] = _value(
                reader, field.type, node.entries[key], f"{word} '{key}'", key in texts
            )
    for key, field in fields.items():
        if field.required and key not in node.keys:
            reader.fault(node.position, f"the {word} '{key}' is missing")
    if len(reader.faults) > before:
        return None
    try:
        return struct(**values)
    except (ValueError, TypeError) as error:  # the struct's own check of values that hang together
        reader.fault(node.position, str(error))
        return None


def _valid(key: str, known: Sequence[str], word: str) -> str:
    if not known:
        return f"it takes no {word}s"
    return nearest(key, known) or f"it takes {', '.join(known)}"


def _value(reader: Reader, kind: Any, node: Node, name: str, is_text: bool) -> Any:
    """Return one value converted to the type of its field."""
    nested = _struct(kind)
    if nested is not None and isinstance(node, MappingNode):
        return read_settings(reader, nested, node, name.split(" ", 1)[0])
    try:
        value = msgspec.convert(plain(node), kind, strict=not is_text)
    except msgspec.ValidationError:
        _tell(reader, kind, node, name)
        return None
    if isinstance(value, float) and not math.isfinite(value):
        _tell(reader, kind, node, name)
    return value


def _tell(reader: Reader, kind: Any, node: Node, name: str) -> None:
    form = inspect.type_info(kind)
    choices = _choices(form)
    hint = nearest(node.text, choices) if isinstance(node, ScalarNode) else ""
    reader.expected(node, f"{name}: {expected(form)}", hint)


def _struct(kind: Any) -> type[msgspec.Struct] | None:
    """Return the struct among what a type may be, if it is the only one."""
    if typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    arms = typing.get_args(kind) if union else (kind,)
    found = [arm for arm in arms if isinstance(arm, type) and issubclass(arm, msgspec.Struct)]
    return found[0] if len(found) == 1 else None


def expected(form: inspect.Type) -> str:  # noqa: PLR0911 - one line per kind of type
    """Say in an operator's words what a type takes."""
    if isinstance(form, inspect.UnionType):
        return " or ".join(expected(arm) for arm in form.types if not _is_none(arm))
    if choices := _choices(form):
        return "one of " + ", ".join(choices)
    if isinstance(form, inspect.BoolType):
        return "true or false"
    if isinstance(form, inspect.IntType):
        return "a whole number" + _range(form)
    if isinstance(form, inspect.FloatType):
        return "a number" + _range(form)
    if isinstance(form, inspect.StrType):
        return "a text" + (f" that matches {form.pattern}" if form.pattern else "")
    if isinstance(form, inspect.ListType | inspect.SetType | inspect.VarTupleType):
        return f"a list (each item {expected(form.item_type)})"
    if isinstance(form, inspect.DictType | inspect.StructType):
        return "a mapping"
    if isinstance(form, inspect.Metadata):
        return expected(form.type)
    return "another value"


def _choices(form: inspect.Type) -> list[str]:
    if isinstance(form, inspect.EnumType):
        return [str(member.value) for member in form.cls]
    if isinstance(form, inspect.LiteralType):
        return [str(value) for value in form.values]
    if isinstance(form, inspect.UnionType):
        return [choice for arm in form.types for choice in _choices(arm)]
    return []


def _is_none(form: inspect.Type) -> bool:
    return isinstance(form, inspect.NoneType)


def _range(form: inspect.IntType | inspect.FloatType) -> str:
    low, above, high, below = form.ge, form.gt, form.le, form.lt
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    parts = []
    if low is not None:
        parts.append(f"of at least {low:g}")
    if above is not None:
        parts.append(f"above {above:g}")
    if high is not None:
        parts.append(f"of at most {high:g}")
    if below is not None:
        parts.append(f"below {below:g}")
    return " " + " and ".join(parts) if parts else ""
