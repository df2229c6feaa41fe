# SPDX-License-Identifier: Apache-2.0
"""The transformers of a sink: parameters that nobody read, and values that meant nothing."""

from __future__ import annotations

import contextlib
import typing
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ceilo_agent import plugins
from ceilo_agent.definition.sinks import TRANSFORMER_KEYS
from ceilo_agent.errors import PluginError, nearest
from ceilo_agent.pipeline.migration.changes import Path
from ceilo_agent.pipeline.migration.draft import Draft
from ceilo_agent.pipeline.migration.meanings import tell_meanings
from ceilo_agent.pipeline.migration.shapes import drop_unknown, number
from ceilo_agent.shown import shown

_POLICIES: Final = {
    "project_id": (("first", "last"), "last"),
    "user_id": (("first", "last"), "last"),
    "resource_metadata": (("first", "last", "drop"), "last"),
    "timestamp": (("first", "last"), "first"),
}
"""The aggregator's choices in Ceilometer, and what it took in the place of any other word."""


class Declared(dict[str, Any]):
    """What transformers declare as their parameters, by name; None for one that is not there."""

    def __init__(self) -> None:
        super().__init__()
        self._installed = plugins.names(plugins.TRANSFORMER)

    def __missing__(self, name: str) -> Any:
        """Return what one declares that was not asked for before."""
        self[name] = None
        if name in self._installed:
            with contextlib.suppress(PluginError):
                self[name] = getattr(plugins.load(plugins.TRANSFORMER, name), "Parameters", None)
        return self[name]


def revise_steps(draft: Draft, path: Path, declared: Declared) -> None:
    """Change the transformers of one sink.

    Args:
        draft: the file.
        path: of their list.
        declared: what the transformers take.
    """
    for at, step in draft.mappings(path):
        drop_unknown(draft, at, TRANSFORMER_KEYS)
        name, parameters = step.get("name"), step.get("parameters")
        if not isinstance(name, str) or not isinstance(parameters, dict | None):
            continue
        where = (*at, "parameters")
        if parameters:
            if name == "delta":
                _delta(draft, where, parameters)
            elif name == "aggregator":
                _aggregator(draft, where, parameters)
            _unknown(draft, where, parameters, declared[name])
            _lonely(draft, where, parameters)
            _empty(draft, where, parameters)
        now = draft.now(where)
        tell_meanings(draft, at, name, now if isinstance(now, dict) else {})


def _fields(kind: Any) -> dict[str, Any] | None:
    """Return the types of the fields of the struct among what a value may be, by their names."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    arms = typing.get_args(kind)
    return next((found for arm in arms if (found := _fields(arm)) is not None), None)


def _unknown(draft: Draft, path: Path, written: Any, kind: Any) -> None:
    """Remove parameters that the transformer does not take; Ceilometer swallowed them."""
    fields = _fields(kind)
    if fields is None or not isinstance(written, dict):
        return
    now = _now(draft, path)
    for key, value in written.items():
        if key not in now:
            continue  # removed for a reason of its own
        if key in fields:
            _unknown(draft, (*path, key), value, fields[key])
        else:
            what = f"parameter '{shown(key)}' removed: Ceilometer ignored it"
            inside = [name for name, each in fields.items() if key in (_fields(each) or ())]
            hint = f"it belongs into '{inside[-1]}'" if inside else nearest(key, fields)
            draft.remove((*path, key), what, hint)


def _lonely(draft: Draft, path: Path, written: Mapping[str, Any]) -> None:
    """Remove a half of a map without the other half: it changed nothing."""
    halves = {"source": "map_from", "target": "map_to"}
    found = {
        (half, key)
        for half, name in halves.items()
        for key, text in _inside(written, half, name).items()
        if key in {"name", "unit"} and text and key in _now(draft, (*path, half, name))
    }
    for half, key in sorted(found):
        other = "target" if half == "source" else "source"
        if (other, key) not in found:
            where = f"{other}.{halves[other]}.{key}"
            what = f"'{halves[half]}.{key}' removed: without {where} Ceilometer ignored it"
            draft.remove((*path, half, halves[half], key), what)


def _inside(written: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """Return the mapping below some keys, an empty one where there is none."""
    value: Any = written
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _now(draft: Draft, path: Path) -> Mapping[str, Any]:
    """Return the mapping at a path with the changes made so far, an empty one for all else."""
    found = draft.now(path)
    return found if isinstance(found, Mapping) else {}


def _empty(draft: Draft, path: Path, written: Mapping[str, Any]) -> None:
    """Remove what Ceilometer took for not given, and what would count here."""
    for key in ("scale", "max"):
        target = _inside(written, "target")
        if key in _now(draft, (*path, "target")) and target[key] is not None and not target[key]:
            at = (*path, "target", key)
            draft.remove(at, f"'target.{key}' removed: Ceilometer took its value for none")


def _delta(draft: Draft, path: Path, written: Mapping[str, Any]) -> None:
    """Remove what a delta never changed: it comes out in the unit that went in."""
    for where in (
        *(("target", key) for key in ("unit", "type", "scale", "max")),
        ("source", "map_from", "unit"),
        ("target", "map_to", "unit"),
    ):
        if where[-1] in _inside(written, *where[:-1]):
            what = f"'{'.'.join(where)}' removed: Ceilometer's delta ignored it"
            draft.remove((*path, *where), what)


def _aggregator(draft: Draft, path: Path, written: Mapping[str, Any]) -> None:
    """Write down the policies that counted, and numbers as numbers."""
    for key, (choices, default) in _POLICIES.items():
        value, at = written.get(key), (*path, key)
        if key in written and not value:
            draft.remove(at, f"'{key}' removed: Ceilometer took its value for none")
        elif value and value not in choices:
            draft.replace(at, default)
            what = f"'{key}: {default}' now: Ceilometer took that in the place of"
            draft.done(at, f"{what} '{shown(str(value))}'")
    for key in ("size", "retention_time"):
        if (value := number(written.get(key))) is not None:
            draft.replace((*path, key), value)
            draft.done((*path, key), f"'{key}' is the number {value} now: no meaning changed")
