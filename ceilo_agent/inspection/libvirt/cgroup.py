# SPDX-License-Identifier: Apache-2.0
"""What the host's kernel accounts for each guest: pressure, throttling, memory.

It accounts for control groups, and each guest has one. The formats are those of
Documentation/admin-guide/cgroup-v2.rst, of version 1 those of
Documentation/admin-guide/cgroup-v1/memory.rst and Documentation/scheduler/sched-bwc.rst. The files
are readable by everybody. Pressure is told by version 2 alone, which systemd and libvirt mount
beside version 1, too.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from ceilo_agent.discovery.libvirt.guest import Guest
from ceilo_agent.inspection import pressure
from ceilo_agent.inspection.libvirt.scopes import Hierarchy, Mounts, mounts
from ceilo_agent.sample import Volume

KIND: Final = "instance_cgroup"
"""In the catalogue."""

PREFIX: Final = "cgroup."
"""Of the fields that this module gives."""

NS_PER_US: Final = 1000
LOCATE_EVERY: Final = 10
"""Cycles after which a guest's files are looked for anew: vCPUs and quotas come and go."""


THREADS: Final = ("emulator", "vcpu", "iothread")
"""How the names of the groups of a guest's threads begin.

They are within its own group, or in its ``libvirt`` (under systemd and version 2). libvirt sets
most quotas there, and the kernel counts throttling only where the quota is set.
"""

READ_SIZE: Final = 8192
"""Bytes; no file that is read here is as long."""

Fields = dict[str, Volume]


def _cpu_stat(text: bytes) -> Fields:
    found = _keyed(text)
    if "throttled_usec" in found:
        found["throttled_time"] = found["throttled_usec"] * NS_PER_US
    return found


def _keyed(text: bytes) -> Fields:
    """Parse lines of a key and a whole number."""
    return {key: int(value) for key, value in map(str.split, text.decode("ascii").splitlines())}


def _number(text: bytes) -> Fields:
    return {"": int(text)}


class File(NamedTuple):
    """A file of a control group.

    Attributes:
        field: what its fields begin with, below `PREFIX`.
        name: of the file.
        controller: of version 1, empty for version 2.
        parse: returns its fields; one without a name has the name of the file alone.
        of_threads: whether its figures are those of one group, without the groups below it.
    """

    field: str
    name: str
    controller: str
    parse: Callable[[bytes], Fields]
    of_threads: bool = False


FILES: Final = (
    *(
        File(f"pressure.{resource}", f"{resource}.pressure", "", pressure.parse)
        for resource in pressure.RESOURCES
    ),
    File("cpu", "cpu.stat", "", _cpu_stat, of_threads=True),
    File("cpu", "cpu.stat", "cpu", _cpu_stat, of_threads=True),
    File("memory.current", "memory.current", "", _number),
    File("memory.current", "memory.usage_in_bytes", "memory", _number),
    File("memory.swap", "memory.swap.current", "", _number),
    File("memory.events", "memory.events", "", _keyed),
    File("memory.events", "memory.oom_control", "memory", _keyed),
)
"""All files that are read: a few for each guest, and only those that a wanted meter needs."""


def is_local(uri: str) -> bool:
    """Whether the guests of a libvirt URI run on this host, under its system's libvirtd."""
    found = urlsplit(uri)
    return found.scheme in ("qemu", "qemu+unix") and not found.netloc and found.path == "/system"


class _Run(msgspec.Struct):
    """The files of one run of a guest.

    Attributes:
        number: libvirt's id of the run.
        places: the directories of its control groups, by the controller's name.
        files: and where they are; the figures of several are summed.
        good_for: cycles until they are looked for anew.
    """

    number: int
    places: Mapping[str, str]
    files: Sequence[tuple[File, Sequence[str]]] = ()
    good_for: int = 0


class ControlGroups:
    """Reads the control groups of local guests.

    Args:
        found: where control groups are mounted, None to ask the kernel.
    """

    def __init__(self, found: Mounts | None = None) -> None:
        unified, legacy = mounts() if found is None else found
        read = {file.controller for file in FILES}
        self._hierarchies = {name: Hierarchy(legacy[name]) for name in read if name in legacy}
        if unified is not None:
            self._hierarchies[""] = Hierarchy(unified)
        self._local = False
        self._runs: dict[str, _Run] = {}
        self._prefixes: dict[frozenset[str], frozenset[str]] = {}

    def begin(self, present: Collection[str], *, local: bool) -> None:
        """Begin a cycle: forget the guests that are not among the ids.

        Args:
            present: ids of guests.
            local: whether they run on this host; nothing is read of others.
        """
        self._local = local
        self._runs = {uuid: run for uuid, run in self._runs.items() if uuid in present}
        for hierarchy in self._hierarchies.values():
            hierarchy.forget()

    def read(self, guest: Guest, wanted: frozenset[str]) -> Fields:
        """Return the fields of a guest that the files give; none of one that does not run.

        Args:
            guest: the one.
            wanted: names of fields, with `PREFIX`; a file is read as a whole.
        """
        if guest.run < 0 or not self._local:
            return {}
        run = self._runs.get(guest.uuid)
        if run is None or run.number != guest.run:
            run = self._runs[guest.uuid] = _Run(guest.run, self._find(guest))
        if not run.good_for:
            run.files, run.good_for = _locate(run.places), LOCATE_EVERY
        run.good_for -= 1
        needed = self._needed(wanted)
        found: Fields = {}
        for file, paths in run.files:
            if file.field not in needed:
                continue
            try:
                fields = _summed([file.parse(_content(path)) for path in paths])
            except FileNotFoundError:
                run.good_for = 0  # one of them has gone: a sum without it would fall
                continue
            except (OSError, ValueError):
                continue  # switched off (EOPNOTSUPP), or gone in mid-read (ENODEV): absent
            for name, value in fields.items():
                found[_field(file.field, name)] = value
        return found

    def _needed(self, wanted: frozenset[str]) -> frozenset[str]:
        """Return the `File.field`s that wanted fields come from."""
        needed = self._prefixes.get(wanted)
        if needed is None:
            needed = self._prefixes[wanted] = frozenset(
                file.field for file in FILES if _gives(file, wanted)
            )
        return needed

    def _find(self, guest: Guest) -> dict[str, str]:
        """Return the directories of a guest's control groups, by the controller's name."""
        places: dict[str, str] = {}
        for controller, hierarchy in self._hierarchies.items():
            place = hierarchy.find(guest.run, guest.description.name)
            if place is not None:
                places[controller] = str(place)
        return places


def _locate(places: Mapping[str, str]) -> list[tuple[File, Sequence[str]]]:
    """Return the files that a guest has in the directories of its control groups."""
    entries = {controller: _entries(place) for controller, place in places.items()}
    # A controller is of one version; of the other its files say less (cpu.stat), or are not.
    legacy = {file.field for file in FILES if file.controller and file.controller in places}
    found: list[tuple[File, Sequence[str]]] = []
    for file in FILES:
        place = places.get(file.controller)
        if place is None or (file.field in legacy and not file.controller):
            continue
        if file.name in entries[file.controller]:
            threads = _threads(place, entries[file.controller]) if file.of_threads else ()
            limited = [path for each in threads if _is_limited(path := f"{each}/{file.name}")]
            found.append((file, (f"{place}/{file.name}", *limited)))
    return found


def _threads(place: str, entries: Collection[str]) -> list[str]:
    """Return the directories of a guest's threads."""
    if "libvirt" in entries:
        place = f"{place}/libvirt"
        entries = _entries(place)
    return [f"{place}/{name}" for name in sorted(entries) if name.startswith(THREADS)]


def _is_limited(path: str) -> bool:
    """Whether threads have a quota: without one nothing is counted, and nothing need be read."""
    try:
        return _cpu_stat(_content(path)).get("nr_periods", 0) > 0
    except (OSError, ValueError):
        return False


def _entries(directory: str) -> set[str]:
    try:
        return set(os.listdir(directory))  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return set()


def _summed(parts: Sequence[Fields]) -> Fields:
    if len(parts) == 1:
        return parts[0]
    return {name: sum(part.get(name, 0) for part in parts) for name in parts[0]}


@functools.cache
def _field(file: str, name: str) -> str:
    """Return the whole name of a field of a file."""
    return f"{PREFIX}{file}.{name}" if name else PREFIX + file


def _gives(file: File, wanted: Iterable[str]) -> bool:
    whole = PREFIX + file.field
    return any(name == whole or name.startswith(f"{whole}.") for name in wanted)


def _content(path: str) -> bytes:
    """Read a small file in the fewest system calls."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, READ_SIZE)
    finally:
        os.close(descriptor)
