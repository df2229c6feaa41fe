# SPDX-License-Identifier: Apache-2.0
"""Meters that a sink makes and that the agent has by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ceilo_agent.meters.catalogue import known
from ceilo_agent.pipeline.matching import Matcher
from ceilo_agent.pipeline.migration import meters
from ceilo_agent.pipeline.migration.draft import Draft
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
    fed: dict[str, set[str]] = {}
    polled: set[str] = set()
    for source in sources if isinstance(sources, list) else ():
        if isinstance(source, Mapping):
            taken = meters.taken(texts(source.get("meters")))
            if source.get("interval"):
                polled.update(taken)
            for sink in texts(source.get("sinks")):
                fed.setdefault(sink, set()).update(taken)
    for number, sink in enumerate(sinks if isinstance(sinks, list) else ()):
        if not isinstance(sink, Mapping):
            continue
        names = fed.get(str(sink.get("name")), set())
        for step, made, left in _made(sink, names):
            native = [name for name in known() if name in made]
            if not native:
                continue
            path = ("sinks", number, "transformers", step)
            twice = [name for name in native if name in polled]
            if twice and not left & set(twice):
                draft.tell(
                    path,
                    f"a source polls {meters.shortened(twice)}, which this step makes too: "
                    "they come twice",
                    "leave the step out, or exclude the meters with '!'",
                )
            else:
                draft.tell(
                    path,
                    f"the agent can give {meters.shortened(native)} by itself",
                    "a source that lists it needs no such step",
                )


def _made(sink: Mapping[str, Any], names: set[str]) -> Iterator[tuple[int, set[str], set[str]]]:
    """Yield each step's number, the new names that it makes, and the names that pass it."""
    steps = sink.get("transformers")
    for number, step in enumerate(steps if isinstance(steps, list) else ()):
        if not isinstance(step, Mapping) or str(step.get("name")) not in _RENAMING:
            continue
        takes = Matcher(texts(step.get("meters")) or ["*"])
        passing = {name for name in names if not takes(name) or step.get("keep_original") is True}
        made = {name: _renamed(step, name) for name in names if takes(name)}
        yield number, {new for old, new in made.items() if new != old}, passing
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
