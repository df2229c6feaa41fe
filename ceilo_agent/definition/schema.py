# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema (draft 2020-12) of the pipeline file, for editors.

It knows the plugins that are installed here. What a schema cannot say (that a sink of some name is
there, that an expression can be read) is left to the loader.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, Final

import msgspec

from ceilo_agent import plugins
from ceilo_agent.definition import meters, naming, sources, tests
from ceilo_agent.definition.roles import Role
from ceilo_agent.definition.structs import object_schema
from ceilo_agent.errors import PluginError

Schema = dict[str, Any]

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"

_NAME: Final[Schema] = {
    "type": "string",
    "minLength": 1,
    "maxLength": naming.LONGEST,
    "pattern": r"^[^\s./]([^/]*[^\s/])?$",
}


def schema(
    known: Collection[str],
    role: Role = Role.LOCAL,
    tell: Callable[[str], None] = lambda _reason: None,
) -> Schema:
    """Return the schema.

    Args:
        known: the names of meters, which editors offer; others are valid, too.
        role: what the file is read for.
        tell: takes what is said of a plugin that is left out because it cannot be used.
    """
    definitions: dict[str, Schema] = {}
    transformers = _plugins(plugins.TRANSFORMER, "Parameters", definitions, tell)
    publishers = _plugins(plugins.PUBLISHER, "Options", definitions, tell)
    definitions |= {
        "name": _NAME,
        "meters": _meters(known),
        "source": _source(role),
        "sink": _sink(),
        "transformer": _transformer(transformers),
        "publisher_url": _publisher_url(publishers),
        "publisher_mapping": _publisher_mapping(publishers),
        "given": object_schema(tests.Given, "given", definitions),
        "expected": object_schema(tests.Expected, "expected", definitions),
        "test": _test(),
    }
    required = ["sources"] if role is Role.POLLING else ["sources", "sinks"]
    return {
        "$schema": DRAFT,
        "title": "The pipeline file of ceilo-agent",
        "type": "object",
        "required": required,
        "additionalProperties": False,
        "properties": {
            "sources": _list("What is polled together.", {"$ref": "#/$defs/source"}, least=1),
            "sinks": _list(
                "What becomes of samples and where they go.", {"$ref": "#/$defs/sink"}, least=1
            ),
            "publishers": {
                "description": "Publishers with a name, which sinks may use.",
                "type": ["object", "null"],
                "propertyNames": {"allOf": [_NAME, {"pattern": "^[^:]*$"}]},
                "additionalProperties": _publisher({"$ref": "#/$defs/publisher_url"}),
            },
            "tests": _optional(_list("Tests of the file.", {"$ref": "#/$defs/test"})),
        },
        "$defs": definitions,
    }


def _list(description: str, items: Schema, least: int = 0) -> Schema:
    made = {"description": description, "type": "array", "items": items}
    return made | {"minItems": least} if least else made


def _optional(made: Schema) -> Schema:
    """Allow a key with nothing behind it, which counts as left out."""
    return made | {"type": [made["type"], "null"]}


def _meters(known: Collection[str]) -> Schema:
    """Return what a list of patterns is; what may stand together follows Ceilometer."""
    names = {"contains": {"type": "string", "pattern": "^[^!*]"}}
    others = {"contains": {"type": "string", "pattern": r"^(!|\*$)"}}
    return {
        "type": ["array", "null"],
        "minItems": 1,
        "items": {
            "anyOf": [
                {"enum": sorted(known)},
                {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": meters.LONGEST,
                    "not": {"const": "!"},
                },
            ]
        },
        "not": {"allOf": [{"type": "array"}, names, others]},
    }


def _source(role: Role) -> Schema:
    found = sorted(plugins.names(plugins.DISCOVERY))
    discovery: Schema = {"type": "string", "minLength": 1}
    if role is not Role.NOTIFICATION:
        discovery = {"type": "string", "pattern": f"^({_one_of(found)})(:|$)", "examples": found}
    texts = {"type": "string", "minLength": 1}
    return {
        "type": "object",
        "required": ["name", "meters"] + (["sinks"] if role is not Role.POLLING else []),
        "additionalProperties": False,
        "properties": {
            "name": {"$ref": "#/$defs/name", "description": "Unique among the sources."},
            "interval": {
                "description": "Seconds between two polls. A source without it does not poll, it "
                "only matches what comes in.",
                "type": "integer",
                "minimum": 1,
                "maximum": sources.LONGEST_INTERVAL,
            },
            "meters": {
                "$ref": "#/$defs/meters",
                "description": "Names and patterns of meters.",
                "type": "array",
            },
            "sinks": _list("Names of sinks.", texts, least=1) | {"uniqueItems": True},
            "discovery": _optional(
                _list("Names of discoveries: only what they find is polled.", discovery)
            ),
            "resources": _optional(_list("Static resources, as in Ceilometer's files.", texts)),
        },
    }


def _sink() -> Schema:
    text = {
        "anyOf": [
            {"$ref": "#/$defs/publisher_url"},
            {
                "description": "The name of a publisher from 'publishers:'.",
                "type": "string",
                "pattern": "^[^:/]+$",
            },
        ]
    }
    return {
        "type": "object",
        "required": ["name", "publishers"],
        "additionalProperties": False,
        "properties": {
            "name": {"$ref": "#/$defs/name", "description": "Unique among the sinks."},
            "transformers": _optional(_list("One after another.", {"$ref": "#/$defs/transformer"})),
            "publishers": _list("Each gets every sample of this sink.", _publisher(text), least=1),
        },
    }


def _publisher(text: Schema) -> Schema:
    """Return what a publisher is, a text or a mapping; what is wrong in one is told of that."""
    mapping = {"$ref": "#/$defs/publisher_mapping"}
    return {"if": {"type": "object"}, "then": mapping, "else": text}


def _transformer(structs: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "required": ["name"],
        "additionalProperties": False,
        "properties": {
            "name": _names("The transformer.", structs),
            "parameters": {
                "description": "What the transformer is told; each has its own.",
                "type": ["object", "null"],
            },
            "meters": {
                "$ref": "#/$defs/meters",
                "description": "The meters that it gets, the others pass it by. Without it, all.",
            },
            "keep_original": {
                "description": "Whether what it gets goes on beside what it makes of it.",
                "type": ["boolean", "null"],
            },
        },
        "allOf": [
            {
                "if": {"required": ["name"], "properties": {"name": {"const": name}}},
                "then": _with_parameters(made),
            }
            for name, made in sorted(structs.items())
        ]
        or [{}],
    }


def _names(description: str, structs: dict[str, Schema]) -> Schema:
    """Return what a plugin's name is, each with what it does."""
    names = [
        {"const": name, "description": made["description"]}
        for name, made in sorted(structs.items())
    ]
    return {"description": description, **({"oneOf": names} if names else {"enum": []})}


def _with_parameters(made: Schema) -> Schema:
    if made["required"]:
        return {"required": ["parameters"], "properties": {"parameters": made}}
    return {"properties": {"parameters": _optional(made)}}


def _publisher_url(structs: dict[str, Schema]) -> Schema:
    return {
        "description": "A publisher's URL, or its scheme alone.",
        "type": "string",
        "pattern": f"^({_one_of(structs)})(://|$)",
        "examples": [f"{name}://" for name in sorted(structs)],
        "allOf": [
            {
                "if": {"pattern": f"^{_one_of([name])}(://|$)"},
                "then": {"description": made["description"]},
            }
            for name, made in sorted(structs.items())
        ]
        or [{}],
    }


def _publisher_mapping(structs: dict[str, Schema]) -> Schema:
    def of(name: str) -> Schema:
        return {"required": ["url"], "properties": {"url": {"pattern": f"^{_one_of([name])}(:|$)"}}}

    return {
        "type": "object",
        "required": ["url"],
        "properties": {"url": {"$ref": "#/$defs/publisher_url"}},
        "allOf": [
            {
                "if": of(name),
                # An option that is required may stand in the URL.
                "then": {
                    "additionalProperties": False,
                    "properties": {**made["properties"], "url": True},
                },
            }
            for name, made in sorted(structs.items())
        ]
        or [{}],
    }


def _test() -> Schema:
    return {
        "type": "object",
        "required": ["name", "given", "expect"],
        "additionalProperties": False,
        "properties": {
            "name": {
                "description": "Unique among the tests.",
                "type": "string",
                "minLength": 1,
                "maxLength": tests.LONGEST_NAME,
            },
            "source": {
                "description": "The source that polls what is given.",
                "type": ["string", "null"],
                "minLength": 1,
            },
            "given": _list("The samples that go in.", {"$ref": "#/$defs/given"}, least=1),
            "until": {
                "description": "How far the clock goes after the last sample, in seconds.",
                "type": ["number", "null"],
                "minimum": 0,
                "maximum": tests.LATEST,
            },
            "meters": {
                "$ref": "#/$defs/meters",
                "description": "Patterns of the meters that are compared. Without it, all.",
            },
            "expect": _list("Exactly what must come out.", {"$ref": "#/$defs/expected"}),
        },
    }


def _one_of(names: Collection[str]) -> str:
    """Return a regular expression that takes any of some names; without any, none."""
    return "|".join(re.sub(r"([^\w-])", r"\\\1", name) for name in sorted(names)) or "(?!)"


def _sentence(plugin: Any) -> str:
    """Return the first sentence of a plugin's own docstring."""
    text = " ".join((plugin.__doc__ or "").split())
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]


def _plugins(
    namespace: str, attribute: str, definitions: dict[str, Schema], tell: Callable[[str], None]
) -> dict[str, Schema]:
    """Return what each plugin of a kind takes, by its name."""
    kind = namespace.rpartition(".")[2]
    found = {}
    for name in plugins.names(namespace):
        try:
            plugin = plugins.load(namespace, name)
            struct = getattr(plugin, attribute, None)
        except PluginError as error:
            tell(str(error))
            continue
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct):
            made = object_schema(struct, f"{kind}.{name}", definitions)
            found[name] = {"description": _sentence(plugin) or f"The {kind} '{name}'."} | made
        else:
            tell(f"the {kind} '{name}' cannot be used: its {attribute} is no msgspec struct")
    return found
