# SPDX-License-Identifier: Apache-2.0
"""Where libvirt puts the control groups of a guest, by the guest's id and name.

libvirt tells nobody; the names are those that it makes itself: `virDomainDriverGenerateMachineName`
(src/hypervisor/domain_driver.c), `virSystemdMakeScopeName` (src/util/virsystemd.c) and
`virCgroupNewPartition` (src/util/vircgroup.c). The guest's id is in the name, so each run of a
guest has directories of its own.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

DRIVER: Final = "qemu"

NAME_LENGTH: Final = 64
"""Bytes after which libvirt cuts a machine's name: systemd takes no longer one."""

DEPTH: Final = 5
"""Partitions within partitions that are looked into."""

_HOSTNAME: Final = frozenset(string.ascii_letters + string.digits)
_UNIT: Final = frozenset(string.ascii_letters + string.digits + ":_.")

_PARTITION: Final = re.compile(r"machine|.*\.slice|.*\.partition")
"""Directories that may hold guests, or further ones."""


class Mounts(NamedTuple):
    """Where control groups are mounted.

    Attributes:
        unified: of version 2, None without; with version 1 beside it, it has no controllers.
        legacy: of version 1, by the controller's name.
    """

    unified: Path | None
    legacy: dict[str, Path]


def mounts(proc: Path = Path("/proc")) -> Mounts:
    """Read where control groups are mounted (proc_pid_mounts(5))."""
    unified: Path | None = None
    legacy: dict[str, Path] = {}
    try:
        lines = (proc / "self/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, place, kind, options = line.split()[:4]
        if kind == "cgroup2":
            unified = unified or Path(place)
        elif kind == "cgroup":
            for option in options.split(","):
                legacy.setdefault(option, Path(place))
    return Mounts(unified, legacy)


def machine_names(number: int, name: str) -> list[str]:
    """Return the names that versions of libvirt give to the machine of a running guest.

    Args:
        number: libvirt's id of the run.
        name: the guest's.
    """
    made = [_machine_name(number, name, strict) for strict in (False, True)]
    return list(dict.fromkeys(made))


def _machine_name(number: int, name: str, strict: bool) -> str:
    """Keep what a host name may have.

    Dots and dashes do not follow one another. For old versions (`strict` is False as well) what is
    dropped between two of them ends the row of dashes: ``a-_-b`` was ``a--b``.
    """
    made = f"{DRIVER}-{number}-"
    skip = True
    for letter in name:
        if len(made) >= NAME_LENGTH:
            break
        if letter in ".-":
            made += "" if skip else letter
            skip = True
        elif letter in _HOSTNAME:
            made += letter
            skip = False
        elif not strict:
            skip = False
    return made.rstrip("-.")


def escaped(name: str) -> str:
    r"""Escape a name for systemd as libvirt does: ``a-b`` is ``a\x2db``."""
    made = []
    for place, letter in enumerate(name):
        if letter == "/":
            made.append("-")
        elif letter in _UNIT and not (place == 0 and letter == "."):
            made.append(letter)
        else:
            made += [f"\\x{byte:02x}" for byte in letter.encode()]
    return "".join(made)


def directory_names(number: int, name: str) -> list[str]:
    """Return the names that the directory of a running guest may have."""
    machines = machine_names(number, name)
    scopes = [f"machine-{escaped(machine)}.scope" for machine in machines]
    return scopes + [f"{machine}.libvirt-{DRIVER}" for machine in machines]


class Hierarchy:
    """One mounted hierarchy, searched for guests.

    Args:
        mount: where it is mounted.
    """

    def __init__(self, mount: Path) -> None:
        self.mount = mount
        self._elsewhere: dict[str, Path] | None = None

    def find(self, number: int, name: str) -> Path | None:
        """Return the directory of a running guest, None without.

        Where the usual places do not have it, all partitions are listed once until `forget`.
        """
        names = directory_names(number, name)
        for directory in names:
            parent = "machine.slice" if directory.endswith(".scope") else "machine"
            place = self.mount / parent / directory
            if place.is_dir():
                return place
        if self._elsewhere is None:
            self._elsewhere = dict(_walk(self.mount, DEPTH))
        return next((self._elsewhere[each] for each in names if each in self._elsewhere), None)

    def forget(self) -> None:
        """List anew when it is needed again."""
        self._elsewhere = None


def _walk(directory: Path, depth: int) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each directory of a guest in the partitions below a directory."""
    try:
        with os.scandir(directory) as found:
            names = [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for name in names:
        if name.endswith((".scope", f".libvirt-{DRIVER}")):
            yield name, directory / name
        elif depth > 1 and _PARTITION.fullmatch(name):
            yield from _walk(directory / name, depth - 1)
