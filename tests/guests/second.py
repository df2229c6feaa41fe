# SPDX-License-Identifier: Apache-2.0
"""A second libvirtd on this machine, for guests to migrate to and from.

It has mount, network and UTS namespaces of its own, its files below one folder, and a host name and
id of its own: libvirt does not migrate a guest to the host that it is on. Sockets and disks are
visible to both, so a guest moves over a UNIX socket and its disk stays where it is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import libvirt

from tests.guests.daemon import START_SECONDS, STOP_SECONDS, URI
from tests.guests.errors import GuestsUnavailable
from tests.guests.paths import need_root

FOLDERS: Final = {
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "etc": "/etc/libvirt",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
}
"""What the second one has of its own, and where it looks for it."""

SCRIPT: Final = """set -e
hostname second
ip link set lo up
mount --make-rprivate /
%s
exec "$(command -v libvirtd || echo /usr/sbin/libvirtd)" -p "$1/run/libvirtd.pid"
"""

LIBVIRTD_CONF: Final = """host_uuid = "%s"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_ro_perms = "0777"
"""

QEMU_CONF: Final = """stdio_handler = "file"
security_driver = "none"
cgroup_controllers = []
"""


@dataclass(frozen=True)
class Second:
    """The second libvirtd; its folder has the sockets."""

    folder: Path

    @property
    def uri(self) -> str:
        """Where to control it."""
        return f"qemu+unix:///system?socket={self.folder}/run/libvirt-sock"

    @property
    def readonly_uri(self) -> str:
        """Where everybody may read."""
        return f"qemu+unix:///system?socket={self.folder}/run/libvirt-sock-ro"

    def take(self, number: str, *, bandwidth: int = 0, stay: bool = False) -> None:
        """Migrate a guest of the first libvirtd here.

        Args:
            number: the guest's uuid.
            bandwidth: MiB a second at most, 0 without limit.
            stay: whether it stays defined where it was.
        """
        self._migrate(number, URI, self.uri, bandwidth, stay)

    def give_back(self, number: str, *, bandwidth: int = 0, stay: bool = False) -> None:
        """Migrate a guest back to the first libvirtd; see `take`."""
        self._migrate(number, self.uri, URI, bandwidth, stay)

    def _migrate(
        self, number: str, source: str, destination: str, bandwidth: int, stay: bool
    ) -> None:
        flags = (
            libvirt.VIR_MIGRATE_LIVE
            | libvirt.VIR_MIGRATE_PERSIST_DEST
            | libvirt.VIR_MIGRATE_UNSAFE
            | (0 if stay else libvirt.VIR_MIGRATE_UNDEFINE_SOURCE)
        )
        socket = self.folder / "sockets" / uuid.uuid4().hex[:8]
        parameters: dict[str, Any] = {libvirt.VIR_MIGRATE_PARAM_URI: f"unix://{socket}"}
        if bandwidth:
            parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = bandwidth
        with _connection(source) as here, _connection(destination) as there:
            here.lookupByUUIDString(number).migrate3(there, parameters, flags)


@contextlib.contextmanager
def second() -> Iterator[Second]:
    """A second libvirtd for the length of a block; guests that are left on it are removed."""
    need_root()
    # Not below /tmp: the guests' user must get at the sockets.
    folder = Path(tempfile.mkdtemp(prefix="ceilo-second-", dir="/var/tmp"))
    try:
        process = _start(folder)
        try:
            made = Second(folder)
            _wait(made, process)
            try:
                yield made
            finally:
                _empty(made)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path) -> subprocess.Popen[bytes]:
    if shutil.which("unshare") is None:
        raise GuestsUnavailable("no unshare: install util-linux")
    folder.chmod(0o755)
    for name in [*FOLDERS, "sockets"]:
        (folder / name).mkdir(mode=0o755)
    (folder / "sockets").chmod(0o777)
    (folder / "etc" / "libvirtd.conf").write_text(LIBVIRTD_CONF % uuid.uuid4())
    (folder / "etc" / "qemu.conf").write_text(QEMU_CONF)
    mounts = "\n".join(f'mount --bind "$1/{name}" {place}' for name, place in FOLDERS.items())
    with (folder / "output").open("w") as output:
        return subprocess.Popen(
            ["unshare", "-m", "-n", "-u", "sh", "-c", SCRIPT % mounts, "sh", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        )


def _wait(made: Second, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with _connection(made.uri) as handle:
                # The first of each takes seconds: it probes QEMU.
                handle.getDomainCapabilities()
                handle.getSecurityModel()
                return
        except libvirt.libvirtError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                said = (made.folder / "output").read_text().strip().splitlines()
                last = said[-1] if said else str(error)
                raise GuestsUnavailable(f"a second libvirtd does not start: {last}") from error
        time.sleep(0.1)


def _empty(made: Second) -> None:
    with contextlib.suppress(libvirt.libvirtError), _connection(made.uri) as handle:
        for domain in handle.listAllDomains():
            with contextlib.suppress(libvirt.libvirtError):
                if domain.isActive():
                    domain.destroy()
            with contextlib.suppress(libvirt.libvirtError):
                domain.undefine()


@contextlib.contextmanager
def _connection(uri: str) -> Iterator[Any]:
    libvirt.registerErrorHandler(lambda *_: None, None)
    handle = libvirt.open(uri)
    try:
        yield handle
    finally:
        with contextlib.suppress(libvirt.libvirtError):
            handle.close()
