# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema (draft 2020-12) of files of dynamic pollsters, for editors.

What a schema cannot say, that a path can be read or that a name is no other's, is left to the
loader.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ceilo_agent.definition.pollsters.written import WrittenField, WrittenPollster
from ceilo_agent.definition.schema import DRAFT
from ceilo_agent.definition.structs import object_schema

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_SCALAR: Final[Schema] = {"type": ["string", "number"]}
_TEXTS: Final[Schema] = {"type": "object", "additionalProperties": _SCALAR}


def _one_or_list(one: Schema, **more: int) -> Schema:
    return {"anyOf": [one, {"type": "array", "items": one, **more}, {"type": "null"}]}


_OWN_FORM: Final[dict[str, Schema]] = {
    "namespaces": _one_or_list(_TEXT, minItems=1),
    "metadata_fields": {"anyOf": [*_one_or_list(_SCALAR)["anyOf"], _TEXTS]},
    "value_mapping": {"type": ["object", "null"]},
    "default_value": {"type": ["string", "number", "null"]},
    "headers": _one_or_list(_TEXTS),
    "extra_metadata_fields": _one_or_list({"$ref": "#/$defs/further"}),
    "host_command": _one_or_list(_SCALAR, minItems=1),
}
"""Keys whose values may be written in more than one way."""


def schema() -> Schema:
    """Return the schema."""
    definitions: dict[str, Schema] = {}
    further = _object(WrittenField, definitions)
    further["properties"]["extra_metadata_fields"] = {"type": "null"}
    definitions |= {"pollster": _object(WrittenPollster, definitions), "further": further}
    return {
        "$schema": DRAFT,
        "title": "A file of dynamic pollsters of ceilo-agent",
        "type": "array",
        "items": {"$ref": "#/$defs/pollster"},
        "$defs": definitions,
    }


def _object(struct: type[msgspec.Struct], definitions: dict[str, Schema]) -> Schema:
    made = object_schema(struct, "pollsters", definitions)
    properties = made["properties"] | _OWN_FORM
    for key, each in properties.items():
        if key not in made["required"] and key not in _OWN_FORM:
            properties[key] = _or_nothing(each)
    return made | {"properties": properties}


def _or_nothing(made: Schema) -> Schema:
    """Allow a key with nothing behind it, which counts as left out."""
    if "enum" in made:
        return made | {"enum": [*made["enum"], None]}
    kinds = made.get("type", [])
    if isinstance(kinds, str):
        return made | {"type": [kinds, "null"]}
    if kinds and "null" not in kinds:
        return made | {"type": [*kinds, "null"]}
    return made
