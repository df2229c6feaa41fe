# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema of what a plugin declares: its struct of parameters or options.

msgspec makes it of most types, but not of `Parsed` texts, nor does it refuse unknown keys.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from ceilo_agent.plugins import Parsed


def object_schema(
    struct: type[msgspec.Struct], prefix: str, definitions: dict[str, Any]
) -> dict[str, Any]:
    """Return the schema of a struct.

    Args:
        struct: what the plugin declares.
        prefix: begins the names of what goes into `definitions`.
        definitions: takes the schemas of enums and the like, which others refer to.
    """
    properties, required = {}, []
    for field in msgspec.structs.fields(struct):
        made = _of(field.type, prefix, definitions)
        if isinstance(field.default, str | int | float | bool):
            made["default"] = field.default
        properties[field.encode_name] = made
        if field.required:
            required.append(field.encode_name)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _of(kind: Any, prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    kind = _given(kind)
    described = dict(_described(kind))
    bare = typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
    union = typing.get_origin(bare) in (typing.Union, types.UnionType)
    arms = typing.get_args(bare) if union else (bare,)
    parsed = [arm for arm in arms if isinstance(arm, type) and issubclass(arm, Parsed)]
    structs = [arm for arm in arms if isinstance(arm, type) and issubclass(arm, msgspec.Struct)]
    if not parsed and not structs:
        return _joined(_plain(kind, prefix, definitions))
    others = tuple(arm for arm in arms if arm not in (*parsed, *structs))
    made = [_text(arm, others) for arm in parsed]
    made += [_nested(arm, prefix, definitions) for arm in structs]
    if others == (types.NoneType,) and len(made) == 1:
        # No `anyOf`: what is wrong inside would be told of the whole.
        if parsed:
            made[0]["type"] = [*made[0]["type"], "null"]
        return {**made[0], **described}
    for each in made:
        if "$ref" in each:
            each["type"] = "object"
    if others:
        made.append(_plain(typing.Union[others], prefix, definitions))  # noqa: UP007 - values
    return {**(made[0] if len(made) == 1 else {"anyOf": made}), **described}


def _given(kind: Any) -> Any:
    """Return a type without what stands for a key that is left out."""
    if typing.get_origin(kind) is Annotated:
        return Annotated[(_given(typing.get_args(kind)[0]), *kind.__metadata__)]
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind
    return typing.Union[tuple(a for a in typing.get_args(kind) if a is not msgspec.UnsetType)]  # noqa: UP007


def _nested(
    struct: type[msgspec.Struct], prefix: str, definitions: dict[str, Any]
) -> dict[str, Any]:
    """Return a reference to the schema of a struct, which may hold itself, or of nothing."""
    name = f"{prefix}:{struct.__name__}"
    if name not in definitions:
        definitions[name] = {}
        made = object_schema(struct, prefix, definitions)
        definitions[name] = made | {"type": ["object", "null"]}
    return {"$ref": f"#/$defs/{name}"}


def _text(parsed: type[Parsed], others: tuple[Any, ...]) -> dict[str, Any]:
    """Return what a text with a meaning is; a number, where it can be nothing else, is its text."""
    alone = not set(others) - {type(None)}
    return {"description": parsed.words, "type": ["string", "number"] if alone else "string"}


def _plain(kind: Any, prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return msgspec's schema of a type."""
    (made,), found = msgspec.json.schema_components(
        [kind],
        schema_hook=_anything,
        ref_template=f"#/$defs/{prefix}.{{name}}",
    )
    definitions |= {f"{prefix}.{name}": schema for name, schema in found.items()}
    return made


def _joined(made: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that takes one type or nothing without `anyOf`, which hides what is wrong."""
    arms = made.get("anyOf", [])
    others = [arm for arm in arms if arm != {"type": "null"}]
    if len(others) != 1 or len(arms) != 2:
        return made
    (arm,) = others
    joined = {**arm, **{key: value for key, value in made.items() if key != "anyOf"}}
    if isinstance(arm.get("type"), str) and "enum" not in arm:
        return joined | {"type": [arm["type"], "null"]}
    if arm.keys() == {"enum"}:
        return joined | {"enum": [*arm["enum"], None]}
    return made


def _anything(kind: type) -> dict[str, Any]:
    """Return a schema that takes everything, for a type that msgspec does not know."""
    return {"title": kind.__name__}


def _described(kind: Any) -> Iterator[tuple[str, str]]:
    """Yield the description that stands outermost."""
    if typing.get_origin(kind) is Annotated:
        for meta in kind.__metadata__:
            if isinstance(meta, msgspec.Meta) and meta.description:
                yield "description", meta.description
