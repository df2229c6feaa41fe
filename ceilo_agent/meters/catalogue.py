# SPDX-License-Identifier: Apache-2.0
"""Reads the catalogue: every meter that an agent can poll, and every field that it leaves out.

A catalogue file is a mapping::

    namespace: compute
    kinds:                         # what a resource of each kind is, and where its fields stand
      instance_disk: {fields: 'block.*.', description: one disk of a guest}
    meters:
      - name: disk.device.read.bytes
        unit: B
        type: cumulative
        kind: instance_disk
        read: rd.bytes             # the field, below the kind's `fields`
        description: What the guest read.
    left_out:
      - fields: ['block.*.name']
        reason: names the resource

A meter says where its value comes from in one of three ways: `read` a field, `compute` it by a
function of the inspector (`needs` lists the fields that it takes, ``**`` stands for the rest of a
name), or `derive` it from the last two readings of other meters (`of`); `per` divides the value.
"""

from __future__ import annotations

import functools
import itertools
from importlib import resources
from typing import Any, Final

import msgspec
import yaml
from msgspec import structs

from ceilo_agent.plugins import Column, Derivation
from ceilo_agent.sample import Meter, SampleType

NAMESPACES: Final = ("compute", "host", "central", "notification")

DEFINED: Final = "central"
"""What the definitions of dynamic pollsters are, which stand in a directory of this name."""

OWN: Final = "notification"
"""What no agent polls: the notification agent says it of itself."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One meter of the catalogue.

    Attributes:
        name: as in pipeline.yaml and in the store.
        unit: as in Ceilometer where the meter is Ceilometer's.
        type: gauge, cumulative or delta.
        kind: the kind of resource that has it.
        description: one line of meaning.
        read: the field it is read from, below the kind's `fields`.
        per: the value is divided by this.
        compute: the name of the inspector's function that makes it from `needs`.
        needs: the fields that `compute` takes.
        derive: how it follows from the last two readings of `of`.
        of: the names of the meters that `derive` takes, of the same kind.
        ceilometer: whether Ceilometer has the meter under this name.
    """

    name: str
    unit: str
    type: SampleType
    kind: str
    description: str
    read: str | None = None
    per: int | float = 1
    compute: str | None = None
    needs: tuple[str, ...] = ()
    derive: Derivation | None = None
    of: tuple[str, ...] = ()
    ceilometer: bool = False


class Kind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of resource: the prefix of its fields (``*`` is an index) and what it is."""

    description: str
    id: str
    fields: str = ""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of the reply that are no meter, and why."""

    fields: tuple[str, ...]
    reason: str


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that one namespace can read."""

    namespace: str
    kinds: dict[str, Kind]
    meters: tuple[Entry, ...]
    left_out: tuple[LeftOut, ...] = ()

    def columns(self, kind: str, wanted: frozenset[str]) -> tuple[Column, ...]:
        """Return the columns of a kind that the wanted meters need, in the catalogue's order.

        Meters that a wanted one is derived from come along.
        """
        entries = [entry for entry in self.meters if entry.kind == kind]
        needed = set(wanted)
        for entry in entries:
            if entry.name in wanted:
                needed.update(entry.of)
        return tuple(
            Column(Meter(entry.name, entry.unit, entry.type), entry.derive, entry.of, entry.per)
            for entry in entries
            if entry.name in needed
        )


def load(text: str) -> Catalogue:
    """Parse a catalogue file.

    Raises:
        ValueError: the text is no catalogue; the message says where and what.
    """
    found = msgspec.convert(_yaml(text), Catalogue)
    names = [entry.name for entry in found.meters]
    for name in sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"the meter {name} stands twice in the catalogue")
    for entry in found.meters:
        _check(entry, found)
    return found


def _check(entry: Entry, found: Catalogue) -> None:
    if entry.kind not in found.kinds:
        raise ValueError(f"the meter {entry.name} is of an unknown kind: {entry.kind}")
    siblings = {other.name for other in found.meters if other.kind == entry.kind}
    for name in entry.of:
        if name not in siblings:
            raise ValueError(f"the meter {entry.name} is derived from {name}, which is no sibling")
    if sum(way is not None for way in (entry.read, entry.compute, entry.derive)) != 1:
        raise ValueError(f"the meter {entry.name} says no way, or two ways, to get its value")


@functools.cache
def catalogue(namespace: str) -> Catalogue:
    """Return the shipped catalogue of a namespace."""
    place = resources.files(__package__)
    found = load(place.joinpath(f"{namespace}.yaml").read_text("utf-8"))
    if namespace != DEFINED:
        return found
    texts = [
        each.read_text("utf-8")
        for each in sorted(place.joinpath(DEFINED).iterdir(), key=lambda each: each.name)
    ]
    return structs.replace(found, meters=tuple(map(_defined, itertools.chain(*map(_yaml, texts)))))


def _defined(definition: dict[str, Any]) -> Entry:
    """Return the entry of a definition; what else it says is for who polls it."""
    return Entry(
        name=definition["name"],
        unit=definition["unit"],
        type=SampleType(definition["sample_type"]),
        kind=definition["kind"],
        description=definition["description"],
        read=definition["value_attribute"],
        ceilometer=True,
    )


def _yaml(text: str) -> Any:
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506


@functools.cache
def known() -> dict[str, str]:
    """Return the namespace of every meter of the shipped catalogues, by the meter's name."""
    return {
        entry.name: namespace for namespace in NAMESPACES for entry in catalogue(namespace).meters
    }
