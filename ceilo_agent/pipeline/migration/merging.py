# SPDX-License-Identifier: Apache-2.0
"""Joins a polling.yaml and a pipeline.yaml: each source gets the sinks that its meters went to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ceilo_agent.definition.matching import Matcher
from ceilo_agent.definition.naming import LONGEST
from ceilo_agent.pipeline.migration import meters
from ceilo_agent.pipeline.migration.draft import Draft, says, written_anew
from ceilo_agent.pipeline.migration.shapes import texts
from ceilo_agent.pipeline.migration.sources import Source, unused
from ceilo_agent.shown import shown

_START: Final = re.compile(r"\A((?:[ \t]*(?:#.*)?\r?\n)*)---[ \t]*(#.*)?\r?\n")


class Taker(msgspec.Struct, frozen=True):
    """A source of pipeline.yaml: which samples it took, and its sinks."""

    path: tuple[str | int, ...]
    name: str
    takes: Matcher
    sinks: tuple[str, ...]


def takers(pipeline: Draft) -> list[Taker]:
    """Return the sources of a pipeline.yaml, and say what else in them is without use."""
    found = []
    for path, source in pipeline.mappings(("sources",)):
        for key in ("interval", "resources", "discovery"):
            if key in source:
                pipeline.done((*path, key), f"'{key}' removed: polling.yaml says what is polled")
        found.append(
            Taker(
                path,
                str(source.get("name", "")),
                Matcher(texts(source.get("meters", source.get("counters")))),
                tuple(texts(source.get("sinks"))),
            )
        )
    return found


def join(polling: Draft, sources: Sequence[Source], pipeline: Draft) -> None:
    """Give every source of polling.yaml its sinks, and take those of pipeline.yaml away.

    Args:
        polling: the polling.yaml, already changed.
        sources: those that are left of it.
        pipeline: the pipeline.yaml.
    """
    every = takers(pipeline)
    names = {source.name for source in sources}
    used: set[str] = set()
    for source in sources:
        if source.patterns:  # else the loader says what is wrong
            used |= _join(polling, source, every, names)
    for taker in every:
        if taker.name not in used:
            what = f"source '{shown(taker.name)}' removed: polling.yaml polls none of its meters"
            pipeline.forget(taker.path)
            pipeline.done(taker.path, what)
    pipeline.remove(
        ("sources",),
        "the sources are those of polling.yaml now, each with its sinks: what comes from "
        "notifications of services has no source",
    )


def _join(polling: Draft, source: Source, every: Sequence[Taker], names: set[str]) -> set[str]:
    """Give one source its sinks; return the names of the takers that took some of its meters."""
    groups: dict[tuple[str, ...], list[str]] = {}
    used: set[str] = set()
    for meter in _ordered(source.patterns):
        found = [taker for taker in every if taker.takes(meter)]
        used |= {taker.name for taker in found}
        sinks = tuple(dict.fromkeys(sink for taker in found for sink in taker.sinks))
        groups.setdefault(sinks, []).append(meter)
    lost = groups.pop((), [])
    name = shown(source.name)
    if not groups:
        what = f"source '{name}' removed: no source of pipeline.yaml takes its meters"
        polling.forget(source.path)
        polling.remove(source.path, what)
    elif len(groups) == 1 and not lost:
        (sinks,) = groups
        if "sinks" in polling.get(source.path):
            polling.replace((*source.path, "sinks"), list(sinks))
            what = (
                "'sinks' are those of pipeline.yaml now: Ceilometer ignored those in polling.yaml"
            )
            polling.done((*source.path, "sinks"), what)
        else:
            polling.insert(source.path, "sinks", list(sinks))
    else:
        _split(polling, source, groups, names)
    if groups and lost:
        what = f"{meters.shortened(lost)} removed: no source of pipeline.yaml takes them"
        polling.done(source.path, what)
    return used


def _split(
    polling: Draft, source: Source, groups: dict[tuple[str, ...], list[str]], names: set[str]
) -> None:
    """Make one source for each set of sinks."""
    now: dict[str, Any] = polling.now(source.path)
    base = max(groups, key=lambda sinks: (len(groups[sinks]), -len(sinks)))
    made = []
    for sinks, taken in groups.items():
        patterns = taken
        name = source.name
        if sinks == base:
            patterns = _shorter(source.patterns, taken)
        else:
            name = _name(source.name, [s for s in sinks if s not in base] or list(sinks), names)
            names.add(name)
        made.append({**now, "name": name, "meters": patterns, "sinks": list(sinks)})
    polling.splice(source.path, made)
    if len(made) > 1:
        every = ", ".join(f"'{shown(each['name'])}'" for each in made)
        what = f"split into {every}: pipeline.yaml gives their meters to different sinks"
        polling.done(source.path, what, "comments in it are not kept")


def _name(source: str, sinks: Sequence[str], taken: set[str]) -> str:
    name = "-".join([source, *sinks])
    if len(name) > LONGEST:
        return unused(source, taken)
    return unused(name, taken) if name in taken else name


def _ordered(patterns: Sequence[str]) -> list[str]:
    """Return the meters that patterns take, those that are named in the order of the names."""
    order = {pattern: number for number, pattern in enumerate(patterns)}
    return sorted(meters.taken(patterns), key=lambda name: order.get(name, len(order)))


def _shorter(patterns: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return patterns that take just some of what others take: by name, or by exclusions."""
    if any(pattern[0] not in "*!" for pattern in patterns):
        return list(wanted)
    left = [f"!{name}" for name in meters.taken(patterns) if name not in set(wanted)]
    kept = [pattern for pattern in patterns if pattern != "*" or not left]
    excluding = [*kept, *left]
    shorter = len(excluding) < len(wanted) and set(meters.taken(excluding)) == set(wanted)
    return excluding if shorter else list(wanted)


def text_of_both(polling: Draft, pipeline: Draft) -> tuple[str, dict[str, Any]]:
    """Return one file made of two, and what it says."""
    data = {**polling.outcome(), **pipeline.outcome()}
    first = _START.sub(r"\1", polling.write())
    second = _START.sub(r"\1", pipeline.write())
    text = f"{first.rstrip()}\n\n{second.lstrip()}"
    if not says(text, data):
        pipeline.done((), "written anew, together with polling.yaml: comments are not kept")
        text = written_anew(data)
    return text, data
