# SPDX-License-Identifier: Apache-2.0
"""Attributes of a resource, as its type in Gnocchi takes them and as Gnocchi shows them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from ceilo_agent.publishers.gnocchi.batch import TIME_AT_MOST, storable
from ceilo_agent.publishers.gnocchi.client import canonical
from ceilo_agent.publishers.gnocchi.schemas import Schema

BASE: Final[Schema] = {
    "project_id": {"type": "string", "required": False, "max_length": 255},
    "user_id": {"type": "string", "required": False, "max_length": 255},
}
"""What resources of every type have."""


class Fitted(NamedTuple):
    """Attributes that fit.

    Attributes:
        values: these, normalised: equal ones are equal to Gnocchi.
        unknown: names that the type does not have.
        wrong: what was expected in place of a value that was left out, by name.
    """

    values: dict[str, Any]
    unknown: tuple[str, ...]
    wrong: dict[str, str]


def fit(schema: Schema, attributes: Mapping[str, Any]) -> Fitted:
    """Return the attributes that a type takes; None values are none."""
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    unknown = []
    for name, value in attributes.items():
        if value is None:
            continue
        rule = schema.get(name) or BASE.get(name)
        if rule is None:
            unknown.append(name)
            continue
        try:
            values[name] = normal(rule, value)
        except (ValueError, TypeError, OverflowError):
            wrong[name] = f"a {rule['type']} was expected in '{name}'"
    return Fitted(values, tuple(unknown), wrong)


def lacking(schema: Schema, values: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Return what is required and not there: texts that may be empty, and the names of others.

    Guests that Nova does not know have no flavor, yet Ceilometer's type `instance` requires one;
    an empty text there is what Gnocchi itself puts into resources that are older than an attribute.
    """
    filled: dict[str, str] = {}
    missing = []
    for name, rule in schema.items():
        if rule.get("required") and name not in values:
            if rule["type"] == "string" and not rule.get("min_length"):
                filled[name] = ""
            else:
                missing.append(name)
    return filled, missing


def changed(schema: Schema, values: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the values that are other than what Gnocchi shows of a resource."""
    found = {}
    for name, value in values.items():
        shown = there.get(name)
        rule = schema.get(name) or BASE[name]
        try:
            same = shown is not None and normal(rule, shown) == value
        except (ValueError, TypeError, OverflowError):
            same = False
        if not same:
            found[name] = value
    return found


def normal(rule: Mapping[str, Any], value: Any) -> Any:
    """Return a value in the one form of its type.

    Raises:
        ValueError: it is of another, or out of bounds.
        TypeError: likewise.
        OverflowError: likewise.
    """
    made = _NORMAL[rule["type"]](value)
    if isinstance(made, str) and rule["type"] == "string":
        if len(made) < rule.get("min_length", 0):
            raise ValueError(made)
        return made[: rule.get("max_length", 255)]
    if isinstance(made, float) and rule["type"] == "number":
        low, high = rule.get("min"), rule.get("max")
        if (low is not None and made < low) or (high is not None and made > high):
            raise ValueError(made)
    return made


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(value)
    text = str(value)
    if storable(text):
        return text
    return "".join(letter if storable(letter) else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _uuid(value: Any) -> str:
    text = canonical(str(value))
    if len(text) != 36 or text.count("-") != 4:
        raise ValueError(value)
    return text


def _moment(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        moment = datetime.fromtimestamp(value, UTC)
    else:
        moment = datetime.fromisoformat(value)
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    if not 0 <= moment.replace(tzinfo=UTC).timestamp() < TIME_AT_MOST:
        raise ValueError(value)
    return moment.isoformat(timespec="microseconds")


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


_NORMAL: Final[dict[str, Callable[[Any], Any]]] = {
    "string": _text,
    "uuid": _uuid,
    "datetime": _moment,
    "number": _number,
    "bool": _truth,
}
"""By the types of attributes that Gnocchi 4 has."""
