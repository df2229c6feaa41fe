# SPDX-License-Identifier: Apache-2.0
"""The sources: what is polled, and what of it this agent has."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec

from ceilo_agent import plugins
from ceilo_agent.definition.sources import KEYS, unfit_base
from ceilo_agent.meters.elsewhere import RENAMED
from ceilo_agent.pipeline.migration import meters
from ceilo_agent.pipeline.migration.changes import Path
from ceilo_agent.pipeline.migration.draft import Draft, Weight
from ceilo_agent.pipeline.migration.shapes import drop_unknown, listed, number, put, texts
from ceilo_agent.shown import shown

DEFAULT_INTERVAL: Final = 600
"""Seconds: what a source without an interval had in the pipeline.yaml of Mitaka."""

_GONE: Final = {
    "counters": "'meters' stands beside it, and Ceilometer read only that",
    "group_id_coordination_expression": "it is Python code, and guests are never shared out here",
}
_DISCOVERIES: Final = {"local_instances": "libvirt"}
_LETTERS: Final = "Ceilometer read each letter of the text as one name"


class Source(msgspec.Struct, frozen=True):
    """What a source of the outcome takes.

    Attributes:
        path: of it in the file.
        name: as it is now.
        interval: seconds; None where it has none.
        patterns: of meters.
        limited: whether it polls only what its discovery finds.
    """

    path: Path
    name: str
    interval: int | None
    patterns: tuple[str, ...]
    limited: bool


def revise(draft: Draft, *, polls: bool) -> list[Source]:
    """Change the sources of a file that says what is polled, and return those that are left.

    Args:
        draft: the file.
        polls: whether a source without an interval polled every 600 s, as in Mitaka.
    """
    found = [(path, _revise(draft, path, polls)) for path, _ in draft.mappings(("sources",))]
    return [
        Source(
            path,
            str(now.get("name", "")),
            now["interval"] if isinstance(now.get("interval"), int) else None,
            tuple(texts(now.get("meters"))),
            bool(now.get("discovery")),
        )
        for path, now in found
        if now is not None
    ]


def drives_polling(draft: Draft) -> bool:
    """Return whether a pipeline.yaml says what is polled: one of its sources says when or what."""
    keys = {"interval", "resources", "discovery"}
    return any(keys & source.keys() for _, source in draft.mappings(("sources",)))


def rename_doubles(draft: Draft) -> None:
    """Give sources of one name, which Ceilometer let pass in polling.yaml, a name each."""
    named = [
        (path, source["name"])
        for path, source in draft.mappings(("sources",))
        if isinstance(source.get("name"), str)
    ]
    taken: dict[str, int] = {}
    every = {name for _, name in named}
    for path, name in named:
        if name not in taken:
            taken[name] = draft.line(path)
            continue
        made = unused(name, every)
        every.add(made)
        draft.replace((*path, "name"), made)
        draft.done(
            (*path, "name"),
            f"renamed to '{shown(made)}': in Ceilometer the source of this name in line "
            f"{taken[name]} lost its resources and discovery to this one",
        )


def unused(name: str, taken: Collection[str]) -> str:
    """Return a name with the first number behind it that makes it a new one."""
    count = 2
    while f"{name}-{count}" in taken:
        count += 1
    return f"{name}-{count}"


def _revise(draft: Draft, path: Path, polls: bool) -> dict[str, Any] | None:
    """Change one source; return it as it is now, None when nothing is left of it."""
    source = draft.get(path)
    key = "counters" if "counters" in source and "meters" not in source else "meters"
    drop_unknown(draft, path, {*KEYS, key}, _GONE)
    if key == "counters":
        draft.rename((*path, key), "meters")
        draft.done((*path, key), "'counters' is called 'meters' now")
    listed(draft, (*path, "sinks"), _LETTERS)
    _interval(draft, path, polls)
    _discovery(draft, path)
    if not _meters(draft, path, key):
        return None
    now: dict[str, Any] = draft.now(path)
    _wide(draft, path, key, now)
    return now


def _interval(draft: Draft, path: Path, polls: bool) -> None:
    """Write down the interval that a source had."""
    at = (*path, "interval")
    value = draft.get(at)
    if "interval" not in draft.get(path):
        if polls:
            draft.insert(path, "interval", DEFAULT_INTERVAL, "name")
            draft.done(path, f"'interval: {DEFAULT_INTERVAL}' added: it was the default")
    elif (seconds := number(value)) is not None:
        draft.replace(at, seconds)
        draft.done(at, f"'interval' is the number {seconds} now: no meaning changed")
    elif isinstance(value, float) and 0 < value < 10**9:
        draft.replace(at, int(value))
        draft.done(
            at, f"'interval' is {int(value)} now: Ceilometer left out what is behind the dot"
        )


def _discovery(draft: Draft, path: Path) -> None:
    for key in ("resources", "discovery"):
        items = listed(draft, (*path, key), "Ceilometer refused a text")
        if key == "resources":
            for at, name in items:
                if unfit_base(str(name)):
                    what = (
                        f"'{shown(str(name))}' removed: only http:// and https:// URLs are polled"
                    )
                    draft.remove(at, what, weight=Weight.MEANING)
            continue
        installed = plugins.names(plugins.DISCOVERY) if items else ()
        for at, name in items:
            kind = str(name).partition(":")[0]
            if kind in installed:
                continue
            if kind in _DISCOVERIES:
                put(draft, (*path, key), at, _DISCOVERIES[kind])
                draft.done(at, f"'{kind}' is called '{_DISCOVERIES[kind]}' now")
            else:
                what = f"'{shown(str(name))}' removed: there is no such discovery"
                draft.remove(at, what, weight=Weight.MEANING)
        if items and draft.now((*path, key)) == []:
            draft.remove((*path, key), f"'{key}' removed: nothing is left of it")


def _meters(draft: Draft, path: Path, key: str) -> bool:
    """Take away what this agent does not have; return whether anything is left of the source."""
    items = listed(draft, (*path, key), _LETTERS)
    patterns = [(at, item) for at, item in items if isinstance(item, str) and item]
    if not patterns or len(patterns) < len(items):
        return True  # the loader says what is wrong
    written = [text for _, text in patterns]
    gone: dict[int, str] = {}
    for index, hint in meters.without(written).items():
        at, text = patterns[index]
        if text in RENAMED:
            put(draft, (*path, key), at, RENAMED[text])
            draft.done(at, f"'{text}' is called '{RENAMED[text]}' now")
        else:
            gone[index] = hint
    left = [text for index, text in enumerate(written) if index not in gone]
    included = [text for text in written if not text.startswith("!")]
    if included and not any(text in left for text in included):
        name = shown(str(draft.get((*path, "name"))))
        draft.forget(path)
        whole = f"source '{name}' removed: this agent has none of its meters"
        draft.remove(path, whole, _reasons(written, gone), Weight.MEANING)
        return False
    if not left:
        draft.replace((*path, key), ["*"])
    for index, hint in gone.items():
        at, text = patterns[index]
        if left:
            draft.remove(at, _no_meter(text), hint, Weight.MEANING)
        else:
            draft.tell(Weight.MEANING, at, _no_meter(text), hint)
    return True


def _reasons(written: list[str], gone: dict[int, str]) -> str:
    """Return why there are no such meters, each reason once, with the first pattern that has it."""
    first: dict[str, str] = {}
    for index, hint in gone.items():
        if hint:
            first.setdefault(hint, written[index])
    return "; ".join(f"'{shown(text)}': {hint}" for hint, text in [*first.items()][: meters.SHOWN])


def _no_meter(pattern: str) -> str:
    return f"'{shown(pattern)}' removed: this agent has no such meter"


def _wide(draft: Draft, path: Path, key: str, now: dict[str, Any]) -> None:
    """Tell of meters that the patterns take here and did not take there."""
    patterns = texts(now.get("meters"))
    for name in patterns:
        if other := meters.changed(name):
            draft.tell(
                Weight.MEANING,
                (*path, key),
                f"'{name}' is another meter here",
                f"what it was is '{other}'",
            )
    globs = [each for each in patterns if set(each) & set("!*?[")]
    if globs and (names := meters.added(patterns)):
        draft.tell(
            Weight.MEANING,
            (*path, key),
            f"'{shown(globs[0])}' takes meters here that Ceilometer does not have: "
            f"{meters.shortened(names)}",
        )
    if names := meters.of_this_host(patterns):
        draft.tell(
            Weight.MEANING,
            (*path, key),
            f"{meters.shortened(names)}: read from the host that the agent runs on, not over SNMP",
        )


def overlaps(found: list[Source], *, same: bool) -> Iterator[tuple[Source, Source, list[str]]]:
    """Yield pairs of sources, the earlier first, that take the same meters, with these.

    Args:
        found: the sources.
        same: whether their intervals are to be the same, or to differ.
    """
    takers: dict[str, dict[int | None, Source]] = {}  # by meter and interval, the first of each
    for later in found:
        if later.limited:
            continue
        both: dict[str, tuple[Source, list[str]]] = {}
        for meter in meters.taken(later.patterns):
            others = takers.setdefault(meter, {})
            for interval, earlier in others.items():
                if (interval == later.interval) == same:
                    both.setdefault(earlier.name, (earlier, []))[1].append(meter)
            others.setdefault(later.interval, later)
        for earlier, names in both.values():
            yield earlier, later, names
