# SPDX-License-Identifier: Apache-2.0
"""What a definition file needs that a Gnocchi lacks, and how it gets it.

Nothing is ever removed, and nothing that somebody else made is narrowed: archive policies and
attributes that exist stay, what they cannot be is told.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from ceilo_agent.errors import Retryable
from ceilo_agent.publishers.gnocchi.batch import GENERIC
from ceilo_agent.publishers.gnocchi.client import Client, Refusal
from ceilo_agent.publishers.gnocchi.definitions import Definitions, ResourceType
from ceilo_agent.publishers.gnocchi.schemas import Schema

ROUNDS: Final = 5
"""How often a Gnocchi is looked at anew: others may change it at the same time."""

PAUSE: Final = 0.5
"""Seconds after an error, before it is looked at anew."""


class Verb(enum.Enum):
    """What can be done, in two forms for people."""

    CREATE = ("create", "created")
    ADD = ("add", "added")
    MAKE = ("make", "made")


NAMED: Final = 3
"""Names that a summary tells; it counts the others."""

_TO_DO: Final = {
    Verb.CREATE: "to create",
    Verb.ADD: "to add attributes to",
    Verb.MAKE: "with attributes to make optional",
}


class Step(NamedTuple):
    """One change that Gnocchi needs.

    Attributes:
        verb: what is done.
        name: of the archive policy or the resource type.
        what: to what, as "archive policy 'ceilometer-low'".
        do: does it; returns False if somebody else has just done it.
    """

    verb: Verb
    name: str
    what: str
    do: Callable[[], bool]

    @property
    def wanted(self) -> str:
        """What it is to do."""
        return f"{self.verb.value[0]} {self.what}"

    @property
    def done(self) -> str:
        """What it has done."""
        return f"{self.verb.value[1]} {self.what}"


class Plan(NamedTuple):
    """What is to be done, and what cannot be.

    Attributes:
        policies: steps that concern archive policies.
        types: steps that concern resource types.
        policy_remarks: what is other there than in the file, and stays.
        type_remarks: likewise.
        lacking: archive policies that metrics are to have, which neither the file nor Gnocchi has.
    """

    policies: list[Step]
    types: list[Step]
    policy_remarks: list[str]
    type_remarks: list[str]
    lacking: list[str]

    @property
    def steps(self) -> list[Step]:
        """Those of both kinds."""
        return self.policies + self.types

    @property
    def remarks(self) -> list[str]:
        """Those of both kinds."""
        return self.policy_remarks + self.type_remarks


class Outcome(msgspec.Struct):
    """What became of a plan.

    Attributes:
        plan: the last one: what is left of it could not be done.
        done: the steps that were.
        refused: why others were not, a line each.
    """

    plan: Plan
    done: list[Step] = []
    refused: list[str] = []


def plan(client: Client, definitions: Definitions) -> Plan:
    """Compare a Gnocchi with a definition file: two requests.

    Raises:
        Retryable: Gnocchi or Keystone cannot be asked now, or do not let the agent in.
    """
    try:
        return _plan(client, definitions, client.archive_policies(), client.resource_types())
    except (KeyError, TypeError, AttributeError) as error:
        raise Retryable(f"{client.where}: what answers is no Gnocchi") from error


def _plan(
    client: Client,
    definitions: Definitions,
    policies: Mapping[str, Mapping[str, Any]],
    types: Mapping[str, Schema],
) -> Plan:
    made = Plan([], [], [], [], [])
    for name, policy in definitions.archive_policies.items():
        if name not in policies:
            make = _creation(client.create_archive_policy, policy.body)
            made.policies.append(Step(Verb.CREATE, name, f"archive policy '{name}'", make))
        elif said := policy.differences(policies[name]):
            made.policy_remarks.append(f"archive policy '{name}' {'; '.join(said)}")
    known = policies.keys() | definitions.archive_policies.keys()
    made.lacking.extend(sorted(definitions.policies_used - known))
    for kind in definitions.resource_types.values():
        if kind.name in types:
            made.types.extend(_changes(client, kind, types[kind.name]))
            made.type_remarks.extend(_differences(kind, types[kind.name]))
        elif kind.name != GENERIC:
            make = _creation(client.create_resource_type, kind.name, kind.schema)
            made.types.append(Step(Verb.CREATE, kind.name, f"resource type '{kind.name}'", make))
    return made


def summary(steps: Sequence[Step], kind: str) -> str:
    """Say in short what lacks: how many of each change, and the first few names.

    Args:
        steps: of a plan, all about one kind of thing.
        kind: of what, as "archive policies".
    """
    parts = []
    for verb, words in _TO_DO.items():
        names = [f"'{step.name}'" for step in steps if step.verb is verb]
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            told = ", ".join(names[:NAMED]) + more
            parts.append(f"{kind} {words}: {len(names)} ({told})")
    return "; ".join(parts)


def apply(client: Client, definitions: Definitions, tell: Callable[[Step], None]) -> Outcome:
    """Do what a plan says, and look again until nothing is left or all that is left was refused.

    Args:
        client: of Gnocchi.
        definitions: what is needed.
        tell: is called after each step that was done here, and not by somebody else.

    Raises:
        Retryable: Gnocchi or Keystone cannot be asked now, or do not let the agent in.
    """
    outcome = Outcome(plan(client, definitions))
    refused: dict[str, str] = {}
    for left in reversed(range(ROUNDS)):
        try:
            for step in outcome.plan.steps:
                try:
                    if step.wanted not in refused and step.do():
                        outcome.done.append(step)
                        tell(step)
                except Refusal as error:
                    refused[step.wanted] = f"cannot {step.wanted}: {error}"
        except Retryable:
            # Two that change a type at the same time: one of them gets an error.
            if not left:
                raise
            time.sleep(PAUSE)
        outcome.plan = plan(client, definitions)
        if all(step.wanted in refused for step in outcome.plan.steps):
            break
    outcome.refused = list(refused.values())
    return outcome


def _creation(create: Callable[..., bool], *arguments: Any) -> Callable[[], bool]:
    return lambda: create(*arguments)


def _changes(client: Client, kind: ResourceType, there: Schema) -> Iterator[Step]:
    """Yield what a type that exists needs: attributes, and ones that are required no more."""
    added = {name: rule for name, rule in kind.schema.items() if name not in there}
    if added:
        operations = [_operation(name, _added(rule)) for name, rule in added.items()]
        what = f"{_listed(added)} to resource type '{kind.name}'"
        yield Step(Verb.ADD, kind.name, what, _patch(client, kind.name, operations))
    freed = {
        name: {**there[name], "required": False}
        for name, rule in kind.schema.items()
        if name in there and there[name]["required"] and not rule["required"]
    }
    if freed:
        operations = [_operation(name, rule) for name, rule in freed.items()]
        what = f"{_listed(freed)} of resource type '{kind.name}' optional"
        yield Step(Verb.MAKE, kind.name, what, _patch(client, kind.name, operations))


def _patch(
    client: Client, name: str, operations: Sequence[Mapping[str, Any]]
) -> Callable[[], bool]:
    def do() -> bool:
        client.patch_resource_type(name, operations)
        return True

    return do


def _operation(name: str, rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return an operation of a JSON patch (RFC 6902); "add" also replaces."""
    return {"op": "add", "path": f"/attributes/{name}", "value": rule}


def _added(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return an attribute for a type whose resources have none yet."""
    if not rule["required"]:
        return dict(rule)
    if rule["type"] == "string" and not rule["min_length"]:
        return {**rule, "options": {"fill": ""}}
    return {**rule, "required": False}


def _differences(kind: ResourceType, there: Schema) -> Iterator[str]:
    for name, rule in kind.schema.items():
        if name in there and there[name]["type"] != rule["type"]:
            yield (
                f"resource type '{kind.name}': the attribute '{name}' is a {there[name]['type']}, "
                f"not a {rule['type']}"
            )
    for name, rule in there.items():
        empty = rule["type"] == "string" and not rule["min_length"]
        if rule["required"] and not empty and name not in kind.schema:
            yield (
                f"resource type '{kind.name}' requires '{name}', of which the file says nothing: "
                "no resource of it can be created"
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
