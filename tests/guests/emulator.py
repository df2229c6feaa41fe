"""Which QEMU the guests run.

Where no udev gave /dev/kvm to QEMU's user, libvirtd 9.0 probes QEMU as able to use KVM, then
finds that its user cannot, holds what it probed for outdated and probes again: at each of
several look-ups, for minutes in all. Guests here never need KVM, so on such a machine they run
through a script that tells the probe so. Elsewhere libvirt chooses (AppArmor, for one, lets it
start only the binaries it knows).
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
from pathlib import Path

from tests.guests.errors import GuestsUnavailable
from tests.guests.paths import cache_dir, locked

BINARY = "qemu-system-x86_64"
_KVM = Path("/dev/kvm")
_USERS = ("libvirt-qemu", "qemu")
_SCRIPT = """#!/bin/sh
for argument do
    shift
    case $argument in none,accel=kvm:tcg) argument=none,accel=tcg ;; esac
    set -- "$@" "$argument"
done
exec {binary} "$@"
"""


def emulator() -> Path | None:
    """The program to name in a domain's XML; None leaves it to libvirt."""
    binary = shutil.which(BINARY)
    if binary is None:
        raise GuestsUnavailable(f"no {BINARY}: install qemu-system-x86")
    if not _KVM.exists() or _kvm_is_open():
        return None
    path = cache_dir() / "qemu"
    script = _SCRIPT.format(binary=shlex.quote(binary))
    with locked("emulator"):
        # Left as it is if it can be: its age tells libvirt whether to probe again.
        if not path.exists() or path.read_text() != script:
            path.write_text(script)
            path.chmod(0o755)
    return path


def _kvm_is_open() -> bool:
    """Whether QEMU's user may use /dev/kvm, by its mode."""
    for name in _USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        status = _KVM.stat()
        groups = os.getgrouplist(name, user.pw_gid)
        if status.st_uid == user.pw_uid:
            return status.st_mode & 0o600 == 0o600
        if status.st_gid in groups:
            return status.st_mode & 0o060 == 0o060
        return status.st_mode & 0o006 == 0o006
    return True
