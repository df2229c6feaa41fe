# SPDX-License-Identifier: Apache-2.0
"""All that can be said of a pipeline file without running it: mistakes, and what looks like one.

The meters of the catalogues are followed from the sources through the transformers of each sink, so
that a step which can never have anything to do is told of. Nothing is opened.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ceilo_agent import plugins
from ceilo_agent.definition.matching import Matcher
from ceilo_agent.definition.meters import is_glob, unknown
from ceilo_agent.definition.nodes import Position
from ceilo_agent.definition.pipeline import (
    PipelineFile,
    Role,
    SinkDef,
    SourceDef,
    TransformerDef,
    examine,
    unknown_meters,
)
from ceilo_agent.definition.reader import Subject
from ceilo_agent.errors import Fault, PluginError
from ceilo_agent.meters.catalogue import NAMESPACES, OWN, catalogue, known
from ceilo_agent.meters.elsewhere import elsewhere
from ceilo_agent.plugins import NeverMatches, StatefulTransformer, Transformer
from ceilo_agent.sample import Meter
from ceilo_agent.shown import one_line, shown

NAMED: Final = 3
"""Meters that a warning names; it counts the others."""

LEAVE_OUT: Final = "leave the step out, or exclude the meters with '!'"
"""What to do about meters that come twice."""


class Report(NamedTuple):
    """What there is to say of a file.

    Attributes:
        file: what could be read of it; None where that is nothing.
        faults: what must be mended.
        warnings: what works but looks like a mistake; none while there is a fault of structure.
        subjects: what a warning is about, where it is about one thing; a step of a sink is
            ``("step", "SINK/NUMBER")``, counted from 1.
    """

    file: PipelineFile | None
    faults: list[Fault]
    warnings: list[Fault]
    subjects: Mapping[Fault, Subject]


def check(path: Path, role: Role = Role.LOCAL, pollsters: Collection[str] = ()) -> Report:
    """Read a file and look at all of it.

    Args:
        path: of the file.
        role: what it is read for.
        pollsters: the names of the operator's dynamic pollsters.
    """
    file, faults = examine(path, role)
    if file is None:
        return Report(None, faults, [], {})
    told = {(fault.line, fault.column) for fault in faults}
    strangers = [
        fault
        for fault in unknown_meters(file, {*known(), *pollsters}, elsewhere)
        if (fault.line, fault.column) not in told
    ]
    if faults:
        return Report(file, sorted(faults + strangers), [], {})
    made = _Checker(file, pollsters)
    made.check()
    return Report(
        file,
        sorted(strangers + made.faults),
        sorted([*file.warnings, *made.subjects]),
        {**file.subjects, **made.subjects},
    )


@functools.cache
def _catalogues() -> dict[str, dict[str, Meter]]:
    """Return the meters of the shipped catalogues by namespace and name."""
    return {
        namespace: {
            entry.name: Meter(entry.name, entry.unit, entry.type)
            for entry in catalogue(namespace).meters
        }
        for namespace in NAMESPACES
    }


def taken(source: SourceDef) -> list[Meter]:
    """Return the known meters that a source takes, in the catalogues' order.

    One that polls takes none of the notification agent's own as far as this can say.
    """
    takes = Matcher(source.meters)
    limits = {text.partition(":")[0] for text in source.discovery}
    return [
        meter
        for namespace, meters in _catalogues().items()
        if not limits or _discovery(namespace) in {None, *limits}
        for meter in meters.values()
        if takes(meter.name) and (namespace != OWN or source.interval is None)
    ]


def _discovery(namespace: str) -> str | None:
    """Return the discovery whose targets have the meters of a namespace, None if unknown."""
    try:
        return getattr(plugins.load(plugins.INSPECTOR, namespace), "discovery", None)
    except PluginError:
        return None


class _Checker:
    """Looks at a file without faults of structure.

    Attributes:
        faults: transformers that cannot be made.
        subjects: the warnings, and what they are about.
    """

    def __init__(self, file: PipelineFile, pollsters: Collection[str] = ()) -> None:
        self._pollsters = pollsters
        self.faults: list[Fault] = []
        self.subjects: dict[Fault, Subject] = {}
        self._file = file
        self._taken = {source.name: taken(source) for source in file.sources}

    def check(self) -> None:
        """Look at everything."""
        if self._file.role is not Role.NOTIFICATION:
            self._polled_twice()
        for sink in self._file.sinks:
            self._follow(sink)

    def _warn(self, place: Position, what: str, subject: Subject, hint: str = "") -> None:
        self.subjects[self._fault(place, what, hint)] = subject

    def _fault(self, place: Position, what: str, hint: str = "") -> Fault:
        return Fault(str(self._file.path), *place, one_line(what), hint)

    # -- two sources, one meter ------------------------------------------------------------------

    def _polled_twice(self) -> None:
        first: dict[tuple[str, str], SourceDef] = {}
        for source in self._file.sources:
            if source.interval is None:
                continue
            doubled: dict[str, dict[str, list[str]]] = {}
            for sink in source.sinks:
                for meter in self._taken[source.name]:
                    other = first.setdefault((sink, meter.name), source)
                    if other is not source:
                        doubled.setdefault(other.name, {}).setdefault(sink, []).append(meter.name)
            for other_name, sinks in doubled.items():
                meters = list(dict.fromkeys(name for names in sinks.values() for name in names))
                self._warn(
                    source.position,
                    f"the sources '{shown(other_name)}' and '{shown(source.name)}' both poll "
                    f"{_some(meters)} into {_listed('sink', sinks)}",
                    ("source", source.name),
                    "take them out of one, or give each source a sink",
                )

    # -- through the transformers ----------------------------------------------------------------

    def _follow(self, sink: SinkDef) -> None:
        """Follow the meters that reach a sink through its steps."""
        feeding = [source for source in self._file.sources if sink.name in source.sinks]
        meters = _unique(meter for source in feeding for meter in self._taken[source.name])
        # Followed only while every meter is known that may come.
        sure = bool(meters) and not any(map(self._may_bring_others, feeding))
        polled = self._polled(feeding)
        for number, step in enumerate(sink.transformers, 1):
            subject = ("step", f"{sink.name}/{number}")
            transformer = self._made(step)
            if transformer is None:
                return
            with contextlib.suppress(Exception):  # another's code, and only the warnings need it
                for remark in transformer.remarks():
                    self._warn(step.position, f"{shown(step.name)}: {remark}", subject)
            if sure:
                left = self._passed(step, transformer, meters, subject, polled)
                sure = bool(left)
                meters = left or meters

    def _polled(self, feeding: Iterable[SourceDef]) -> dict[str, str]:
        """Return the meters that come for certain, each with the first source that polls it."""
        found: dict[str, str] = {}
        if self._file.role is not Role.NOTIFICATION:
            for source in feeding:
                for meter in self._taken[source.name] if source.interval is not None else ():
                    found.setdefault(meter.name, source.name)
        return found

    def _may_bring_others(self, source: SourceDef) -> bool:
        """Return whether meters may come from a source that no catalogue has."""
        if self._file.role is Role.NOTIFICATION:
            return any(pattern[0] == "!" or is_glob(pattern) for pattern in source.meters)
        if any(map(Matcher(source.meters), self._pollsters)):
            return True
        return bool(unknown(source.meters, known()))

    def _made(self, step: TransformerDef) -> Transformer | None:
        try:
            made: Transformer = plugins.load(plugins.TRANSFORMER, step.name)(step.parameters)
        except Exception as error:  # another's code
            reason = " ".join(str(error).split()) or type(error).__name__
            what = f"the transformer '{shown(step.name)}' cannot be made: {reason}"
            self.faults.append(self._fault(step.position, what))
            return None
        return made

    def _passed(
        self,
        step: TransformerDef,
        transformer: Transformer,
        meters: Sequence[Meter],
        subject: Subject,
        polled: Mapping[str, str],
    ) -> list[Meter]:
        """Return what a step makes of meters; nothing where that cannot be told."""
        names = {meter.name for meter in meters}
        for index, hint in unknown(step.meters, names):
            pattern = step.meters[index]
            if not pattern.startswith("!"):
                what = f"no meter that reaches this step matches '{shown(pattern)}'"
                self._warn(step.meter_positions[index], what, subject, hint)
        takes = Matcher(step.meters) if step.meters else _all
        into = [meter for meter in meters if takes(meter.name)]
        passing = [meter for meter in meters if not takes(meter.name)]
        if not into:
            if all(pattern.startswith("!") for pattern in step.meters):
                what = "every meter that reaches this step is excluded from it"
                self._warn(step.meter_positions[0], what, subject)
            return passing
        try:
            made: Collection[Meter] = list(transformer.outcome(into))
        except NeverMatches as error:
            what = f"the transformer '{shown(step.name)}' never has anything to do: {error}"
            self._warn(step.position, what, subject)
            return []
        except Exception:  # another's code, and only the warnings need it
            return []
        if namesakes := _namesakes(transformer, into):
            self._warn(
                step.position,
                f"the transformer '{shown(step.name)}' gives {_some(namesakes)} one name, and they "
                "have the same resources: their values mix",
                subject,
                "choose one of them with 'meters'",
            )
        staying = [*passing, *(into if step.keep_original else ())]
        native = _native(transformer, into, staying, polled)
        for source in dict.fromkeys(native.values()):
            again = [name for name, poller in native.items() if poller == source]
            self._warn(step.position, twice(again, source), subject, LEAVE_OUT)
        return _unique([*staying, *made])


def twice(names: Sequence[str], source: str) -> str:
    """Say that a step makes meters that come already."""
    come = "it comes" if len(names) == 1 else "they come"
    return f"makes {_some(names)}, which the source '{shown(source)}' polls too: {come} twice"


def _native(
    transformer: Transformer,
    into: Sequence[Meter],
    staying: Iterable[Meter],
    polled: Mapping[str, str],
) -> dict[str, str]:
    """Return the meters that a step makes of others and that come out as they were polled, too.

    Args:
        transformer: of the step.
        into: what it gets.
        staying: what goes on beside what it makes.
        polled: the meters that come for certain, and the sources that poll them.

    Returns:
        the names, and the sources. A meter of another resource is another one.
    """
    if isinstance(transformer, StatefulTransformer) and transformer.spans_hosts:
        return {}  # what it makes is of no resource that is polled
    kinds, given = _kinds(), {meter.name: meter for meter in into}
    stay = {meter.name: meter for meter in staying}
    found = {}
    for group in (*([meter] for meter in into), into):
        of = {kinds.get(meter) for meter in group}
        if len(of) > 1 or any(meter.name not in polled for meter in group):
            continue
        names = {meter.name for meter in group}
        with contextlib.suppress(Exception):  # of no use alone, or another's code
            for made in dict.fromkeys(meter.name for meter in transformer.outcome(group)):
                native = stay.get(made, given.get(made))
                if (
                    made in names
                    or made not in polled
                    or native is None
                    or kinds.get(native) not in of - {None}
                ):
                    continue
                both = [] if made in stay else transformer.outcome([*group, native])
                if made in stay or [meter.name for meter in both].count(made) > 1:
                    found[made] = polled[made]
    return found


def _namesakes(transformer: Transformer, meters: Iterable[Meter]) -> Sequence[str]:
    """Return the first known meters of one kind of resource that become one, if any do."""
    found: dict[tuple[str, str], list[str]] = {}
    for meter in meters:
        if (kind := _kinds().get(meter)) is None:
            continue
        with contextlib.suppress(Exception):  # of no use alone, or another's code
            for made in transformer.outcome([meter]):
                found.setdefault((made.name, kind), []).append(meter.name)
    return next((names for names in found.values() if len(names) > 1), ())


@functools.cache
def _kinds() -> dict[Meter, str]:
    """Return the kinds of resource that the meters of the shipped catalogues are of."""
    return {
        Meter(entry.name, entry.unit, entry.type): entry.kind
        for namespace in NAMESPACES
        for entry in catalogue(namespace).meters
    }


def _all(_name: str) -> bool:
    """Take every meter."""
    return True


def _unique(meters: Iterable[Meter]) -> list[Meter]:
    return list(dict.fromkeys(meters))


def _some(names: Sequence[str]) -> str:
    """Name the first of some meters, and count the rest."""
    said = ", ".join(names[:NAMED])
    return said if len(names) <= NAMED else f"{said} and {len(names) - NAMED} more"


def _listed(word: str, names: Iterable[str]) -> str:
    quoted = [f"'{shown(name)}'" for name in names]
    return f"the {word}{'' if len(quoted) == 1 else 's'} {', '.join(quoted)}"
