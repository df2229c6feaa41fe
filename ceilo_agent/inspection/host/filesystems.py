# SPDX-License-Identifier: Apache-2.0
"""Space of the local file systems.

statvfs() on a file system whose server is dead never returns, so only those are asked whose data
this host holds itself, and none that is mounted below another kind: the way there would hang too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Final

import psutil

from ceilo_agent.inspection.host.part import Part

# fmt: off
LOCAL: Final = frozenset((
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "msdos", "nilfs2", "ntfs3",
    "reiserfs", "vfat", "xfs", "zfs",
))
"""Types of file systems that are asked for their space: those on disks of this host."""

_REMOTE: Final = frozenset((
    "9p", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "fuse", "fuseblk", "gfs2", "gpfs",
    "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs", "virtiofs",
))
"""Types whose answers come from a server, a cluster or a process, and may not come."""
# fmt: on

_FIELDS: Final = tuple(name for name in dir(os.statvfs_result) if name.startswith("f_"))


def filesystems() -> Iterator[Part]:
    """Read each local file system once, at the first of the places where it is mounted.

    Raises:
        OSError: the kernel does not tell the mounts.
    """
    # A later mount hides an earlier one at the same place.
    visible = {mount.mountpoint: mount for mount in psutil.disk_partitions(all=True)}
    remote = {path for path, mount in visible.items() if _is_remote(mount.fstype)}
    seen: set[str] = set()
    for path, mount in visible.items():
        if mount.fstype not in LOCAL or mount.device in seen or _is_below(path, remote):
            continue
        try:
            space = os.statvfs(path)
        except OSError:
            continue
        seen.add(mount.device)
        yield Part(
            name=mount.device,
            metadata={"device": mount.device, "path": path, "fstype": mount.fstype},
            device=str(space.f_fsid),
            readings={"statvfs": _fields(space)},
        )


def _is_remote(fstype: str) -> bool:
    return fstype in _REMOTE or fstype.startswith(("fuse.", "glusterfs"))


def _is_below(path: str, places: set[str]) -> bool:
    return bool(places) and any(str(parent) in places for parent in PurePosixPath(path).parents)


def _fields(space: os.statvfs_result) -> dict[str, Any]:
    """Return the fields by name; those on inodes only where the file system counts them."""
    fields = {name: getattr(space, name) for name in _FIELDS}
    if not space.f_files:
        for name in ("f_files", "f_ffree", "f_favail"):
            del fields[name]
    return fields
