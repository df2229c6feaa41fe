# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's files in, our file and a report out."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from ceilo_agent.definition import document
from ceilo_agent.definition.pipeline import KEYS
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.pipeline.checking import check
from ceilo_agent.pipeline.migration import meters
from ceilo_agent.pipeline.migration.derived import tell_native
from ceilo_agent.pipeline.migration.draft import Draft, Remark, Weight
from ceilo_agent.pipeline.migration.merging import join, text_of_both
from ceilo_agent.pipeline.migration.shapes import drop_unknown
from ceilo_agent.pipeline.migration.sinks import revise_sinks
from ceilo_agent.pipeline.migration.sources import (
    drives_polling,
    overlaps,
    rename_doubles,
    revise,
)
from ceilo_agent.shown import shown

_EVENTS: Final = "only samples go through our file: leave event_pipeline.yaml with Ceilometer"


_SECTION: Final = re.compile(r"\[[\w:.-]+\]")
"""How a file of options begins; a list of one text in YAML, which is no pipeline file either."""


class Misplaced(ConfigError):
    """A polling.yaml in the place of a pipeline.yaml, the other way round, or a file of options."""


class Migrated(msgspec.Struct, frozen=True):
    """The outcome.

    Attributes:
        text: our file.
        changed: whether it differs from the file that went in.
        remarks: what to tell the operator, the heaviest first: at places in the files that went in,
            or in `text`.
        faults: why the file does not load, at places in `text`.
    """

    text: str
    changed: bool
    remarks: list[Remark]
    faults: list[Fault]


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
        Misplaced: a file is not what it was named as.
        ConfigError: a file cannot be read, or is none that could be turned into ours.
    """
    pipe = _draft(pipeline)
    polls = None if polling is None else _draft(polling)
    _place(pipe, polls)
    drop_unknown(pipe, (), KEYS)
    missing = revise_sinks(pipe, publisher)
    if polls is None:
        text, data, changed = _single(pipe)
    else:
        (text, data), changed = _pair(polls, pipe), True
    tell_native(pipe, data.get("sources"), data.get("sinks"))
    remarks = [*(polls.remarks if polls else ()), *pipe.remarks]
    faults, warnings = _checked(text, name)
    said = {remark.fault.what for remark in remarks}
    said |= {f"no publisher is named '{shown(scheme)}'" for scheme in missing}
    for kind, found in (("error", faults), ("warning", warnings)):
        remarks += [
            Remark(Weight.DECIDE, fault._replace(what=f"{kind}: {fault.what}"))
            for fault in found
            if fault.what not in said
        ]
    return Migrated(text, changed, sorted(remarks, key=lambda remark: remark.weight), faults)


def _place(pipe: Draft, polls: Draft | None) -> None:
    """Refuse files that stand in the place of each other.

    Raises:
        Misplaced: with what to write instead.
    """
    if "sources" in pipe.data and "sinks" not in pipe.data:
        what = "it has no sinks: it is a polling.yaml, and no pipeline.yaml"
        hint = f"'config migrate PIPELINE --polling {pipe.file}', with the pipeline.yaml beside it"
        if polls is not None and "sinks" in polls.data:
            hint = f"the other way round: 'config migrate {polls.file} --polling {pipe.file}'"
        raise Misplaced([Fault(pipe.file, 0, 0, what, hint)])
    if polls is not None and "sinks" in polls.data:
        what = "it has sinks: it is a pipeline.yaml, and no polling.yaml"
        raise Misplaced([Fault(polls.file, 0, 0, what, "'--polling' names the polling.yaml")])


def _refuse_options(path: Path) -> None:
    """Refuse a file of options, such as ceilometer.conf.

    Raises:
        Misplaced: with what to do with it.
    """
    lines = [line.strip() for line in document.read(path).text.splitlines()]
    first = next((line for line in lines if line and line[0] not in "#;"), "")
    if not _SECTION.fullmatch(first):
        return
    hint = "name the pipeline.yaml; options stand in ceilo_agent.conf"
    if "[service_credentials]" in lines:
        hint = "name the pipeline.yaml; copy [service_credentials] into ceilo_agent.conf"
    what = "that is no pipeline file: it has options in sections"
    raise Misplaced([Fault(str(path), 0, 0, what, hint)])


def _draft(path: Path) -> Draft:
    """Read a file.

    Raises:
        ConfigError: it is none that could be turned into ours.
    """
    _refuse_options(path)
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
            Weight.DECIDE,
            ("sources",),
            "no source has an interval: nothing is polled",
            "since Ceilometer 8 a polling.yaml says what is: '--polling FILE' joins the two",
        )
    for earlier, later, names in overlaps(sources, same=False) if polls else ():
        pipe.tell(
            Weight.MEANING,
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
            what = f"'{shown(source.name)}' has no interval: it polls nothing"
            polls.tell(Weight.DECIDE, source.path, what)
    for earlier, later, names in overlaps(sources, same=True):
        polls.tell(
            Weight.DECIDE,
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
        [fault._replace(file=name) if fault.file == str(path) else fault for fault in each]
        for each in (found.faults, found.warnings)
    )
    return faults, warnings
