# SPDX-License-Identifier: Apache-2.0
"""Meters that a sink makes and that the agent has by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ceilo_agent.definition.matching import Matcher
from ceilo_agent.meters.catalogue import known
from ceilo_agent.pipeline.checking import LEAVE_OUT, twice
from ceilo_agent.pipeline.migration import meters
from ceilo_agent.pipeline.migration.draft import Draft, Weight
from ceilo_agent.pipeline.migration.shapes import texts

_RENAMING: Final = frozenset(
    {"aggregator", "arithmetic", "delta", "rate_of_change", "unit_conversion"}
)


def tell_native(draft: Draft, sources: Any, sinks: Any) -> None:
    """Tell of each step that makes what a meter of the agent already is.

    Args:
        draft: the file that the sinks are in.
        sources: as they will be.
        sinks: as they will be, in the order of the file.
    """
    fed, polls = _reaching(sources)
    for number, sink in enumerate(sinks if isinstance(sinks, list) else ()):
        if not isinstance(sink, Mapping):
            continue
        name = str(sink.get("name"))
        polled = {**polls.get("", {}), **polls.get(name, {})}
        for step, made in _made(sink, fed.get(name, set())):
            native = [name for name in known() if name in made]
            if not native:
                continue
            path = ("sinks", number, "transformers", step)
            again = [name for name in native if name in polled]
            for source in dict.fromkeys(map(polled.get, again)):
                names = [name for name in again if polled[name] == source]
                draft.tell(Weight.DECIDE, path, twice(names, str(source)), LEAVE_OUT)
            if not again:
                draft.tell(
                    Weight.MEANING,
                    path,
                    f"the agent can give {meters.shortened(native)} by itself",
                    "a source that lists it needs no such step",
                )


def _reaching(sources: Any) -> tuple[dict[str, set[str]], dict[str, dict[str, str]]]:
    """Return what reaches each sink: the meters, and those that are polled with a source of each.

    Under the name of no sink stands what any source polls.
    """
    fed: dict[str, set[str]] = {}
    polls: dict[str, dict[str, str]] = {}
    for source in sources if isinstance(sources, list) else ():
        if not isinstance(source, Mapping):
            continue
        taken = meters.taken(texts(source.get("meters")))
        for sink in ("", *texts(source.get("sinks"))):
            fed.setdefault(sink, set()).update(taken)
            if source.get("interval"):
                found = polls.setdefault(sink, {})
                found |= {meter: str(source.get("name")) for meter in taken if meter not in found}
    return fed, polls


def _made(sink: Mapping[str, Any], names: set[str]) -> Iterator[tuple[int, set[str]]]:
    """Yield each step's number and the new names that it makes."""
    steps = sink.get("transformers")
    for number, step in enumerate(steps if isinstance(steps, list) else ()):
        if not isinstance(step, Mapping) or str(step.get("name")) not in _RENAMING:
            continue
        takes = Matcher(texts(step.get("meters")) or ["*"])
        passing = {name for name in names if not takes(name) or step.get("keep_original") is True}
        made = {name: _renamed(step, name) for name in names if takes(name)}
        yield number, {new for old, new in made.items() if new != old}
        names = passing | set(made.values())


def _renamed(step: Mapping[str, Any], name: str) -> str:
    """Return what a step calls a meter."""
    parameters = step.get("parameters")
    source, target = (_inside(parameters, key) for key in ("source", "target"))
    pattern = _inside(source, "map_from").get("name")
    replacement = _inside(target, "map_to").get("name")
    if isinstance(pattern, str) and isinstance(replacement, str):
        try:
            return re.sub(pattern, replacement, name)
        except (re.error, IndexError):
            return name
    new = target.get("name")
    return new if isinstance(new, str) and new else name


def _inside(value: Any, key: str) -> Mapping[str, Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}
