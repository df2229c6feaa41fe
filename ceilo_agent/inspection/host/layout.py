# SPDX-License-Identifier: Apache-2.0
"""From the wanted meters to the sources that must be read and the columns that they fill."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from ceilo_agent.inspection.host.computed import FUNCTIONS
from ceilo_agent.meters.catalogue import Catalogue, Entry, catalogue
from ceilo_agent.sample import Volume

Readings = Mapping[str, Mapping[str, Any]]
"""What was read: fields by source and name; what is absent is not there."""

_KEPT: Final = 64
"""Layouts that are remembered: as many sets of sources as ever fall due together."""


class _Cell(NamedTuple):
    """How one column is filled.

    Attributes:
        place: the column's place among the columns.
        fields: source and name of each field it takes.
        make: what makes the value of the fields, None to take the one as it is.
        per: the value is divided by this.
    """

    place: int
    fields: tuple[tuple[str, str], ...]
    make: Callable[..., Volume | None] | None
    per: float


class KindLayout:
    """The columns of one kind of resource.

    Attributes:
        name: the kind's.
        columns: shared by all observations of the kind.
        sources: what must be read to fill them.
    """

    def __init__(self, found: Catalogue, kind: str, wanted: frozenset[str]) -> None:
        self.name = kind
        self.columns = found.columns(kind, wanted)
        entries = {entry.name: entry for entry in found.meters}
        self._cells = tuple(
            _cell(index, entries[column.meter.name], found.kinds[kind].fields)
            for index, column in enumerate(self.columns)
            if column.derive is None
        )
        self.sources = frozenset(source for cell in self._cells for source, _ in cell.fields)

    def volumes(self, readings: Readings) -> list[Volume | None]:
        """Return a value for each column, None where it is absent or derived."""
        values: list[Volume | None] = [None] * len(self.columns)
        for place, fields, make, per in self._cells:
            found = [readings.get(source, {}).get(name) for source, name in fields]
            value = make(*found) if make else found[0]
            values[place] = value if value is None or per == 1 else _divided(value, per)
        return values


def _cell(index: int, entry: Entry, prefix: str) -> _Cell:
    names = entry.needs if entry.compute else (str(entry.read),)
    fields = [(prefix + name).partition(".") for name in names]
    return _Cell(
        index,
        tuple((source, name) for source, _, name in fields),
        FUNCTIONS[entry.compute] if entry.compute else None,
        entry.per,
    )


def _divided(value: Volume, per: float) -> Volume:
    """Divide; a whole result stays an integer, however large."""
    if isinstance(value, int) and isinstance(per, int) and value % per == 0:
        return value // per
    return value / per


@functools.lru_cache(maxsize=_KEPT)
def layout(wanted: frozenset[str]) -> Mapping[str, KindLayout]:
    """Return the layout of each kind that has a wanted meter; the same one for the same meters."""
    found = catalogue("host")
    kinds = {kind: KindLayout(found, kind, wanted) for kind in found.kinds}
    return {kind: made for kind, made in kinds.items() if made.columns}
