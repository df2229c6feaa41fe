# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's files in, our file and a report out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from ceilo_agent.definition.nodes import shown
from ceilo_agent.definition.pipeline import KEYS
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.pipeline.checking import check
from ceilo_agent.pipeline.migration import meters
from ceilo_agent.pipeline.migration.derived import tell_native
from ceilo_agent.pipeline.migration.draft import Draft
from ceilo_agent.pipeline.migration.merging import join, text_of_both
from ceilo_agent.pipeline.migration.shapes import drop_unknown
from ceilo_agent.pipeline.migration.sinks import revise_sinks
from ceilo_agent.pipeline.migration.sources import (
    drives_polling,
    overlaps,
    rename_doubles,
    revise,
)

_EVENTS: Final = "only samples go through our file: leave event_pipeline.yaml with Ceilometer"


class Migrated(msgspec.Struct, frozen=True):
    """The outcome.

    Attributes:
        text: our file.
        changed: whether it differs from the file that went in.
        remarks: what changed, at places in the files that went in, in their order.
        faults: what must be decided by hand, at places in `text`.
        warnings: what works but should not stay, at places in `text`.
    """

    text: str
    changed: bool
    remarks: list[Fault]
    faults: list[Fault]
    warnings: list[Fault]


def migrate(
    pipeline: Path, polling: Path | None = None, publisher: str | None = None, name: str = "stdout"
) -> Migrated:
    """Turn Ceilometer's files into ours.

    Args:
        pipeline: a pipeline.yaml.
        polling: the polling.yaml beside it; None: the pipeline.yaml says what is polled.
        publisher: what goes in the place of publishers that are not installed; None: they stay.
        name: of the outcome, for its faults.

    Raises:
        ConfigError: a file cannot be read, or is none that could be turned into ours.
    """
    pipe = _draft(pipeline)
    drop_unknown(pipe, (), KEYS)
    revise_sinks(pipe, publisher)
    drafts = [pipe]
    if polling is None:
        text, data, changed = _single(pipe)
    else:
        drafts.insert(0, _draft(polling))
        text, data = _pair(*drafts)
        changed = True
    tell_native(pipe, data.get("sources"), data.get("sinks"))
    remarks = [remark for draft in drafts for remark in sorted(set(draft.remarks))]
    faults, warnings = _checked(text, name)
    said = {remark.what for remark in remarks}
    return Migrated(text, changed, remarks, faults, [w for w in warnings if w.what not in said])


def _draft(path: Path) -> Draft:
    """Read a file.

    Raises:
        ConfigError: it is none that could be turned into ours.
    """
    draft = Draft(path)
    if not isinstance(draft.data, dict):
        what = "a mapping with sources and sinks was expected"
        raise ConfigError([Fault(draft.file, *draft.place(()), what)])
    for at, source in draft.mappings(("sources",)):
        if "events" in source:
            place = draft.place((*at, "events"))
            raise ConfigError([Fault(draft.file, *place, "a source of events", _EVENTS)])
    return draft


def _single(pipe: Draft) -> tuple[str, dict[str, Any], bool]:
    polls = drives_polling(pipe)
    sources = revise(pipe, polls=polls)
    if not polls and sources:
        pipe.tell(
            ("sources",),
            "no source has an interval, so that nothing is polled: the file is of Ceilometer 8 or "
            "later, whose polling.yaml says what is",
            "'--polling FILE' joins the two",
        )
    for earlier, later, names in overlaps(sources, same=False) if polls else ():
        pipe.tell(
            later.path,
            f"'{shown(later.name)}' polls {meters.shortened(names)} at another interval than "
            f"'{shown(earlier.name)}': each gives its own samples to its own sinks; in Ceilometer "
            "those of both went to the sinks of both",
        )
    return pipe.write(), pipe.outcome(), pipe.changed


def _pair(polls: Draft, pipe: Draft) -> tuple[str, dict[str, Any]]:
    drop_unknown(polls, (), ("sources",))
    rename_doubles(polls)
    sources = revise(polls, polls=False)
    for source in sources:
        if source.interval is None:
            polls.tell(source.path, f"'{shown(source.name)}' has no interval: it polls nothing")
    for earlier, later, names in overlaps(sources, same=True):
        polls.tell(
            later.path,
            f"{meters.shortened(names)}: polled by '{shown(earlier.name)}' too, and comes twice "
            "here; Ceilometer polled once for both",
            "leave one out",
        )
    join(polls, sources, pipe)
    return text_of_both(polls, pipe)


def _checked(text: str, name: str) -> tuple[list[Fault], list[Fault]]:
    """Check a text; return its faults and its warnings."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "pipeline.yaml")
        path.write_text(text, "utf-8", newline="")
        found = check(path)
    faults, warnings = (
        [fault._replace(file=name) for fault in each] for each in (found.faults, found.warnings)
    )
    return faults, warnings
