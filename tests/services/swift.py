# SPDX-License-Identifier: Apache-2.0
"""A real Swift of one replica on loopback, that asks a Keystone who asks."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import requests

from tests.services import venvs
from tests.services.errors import ServiceUnavailable
from tests.services.keystone import Keystone
from tests.services.process import Process, free_port, run

VERSION = "2.38.3"
REQUIREMENTS = (f"swift=={VERSION}", "keystonemiddleware==13.0.1")

KINDS = ("account", "container", "object")

COMMON = """
[DEFAULT]
swift_dir = {directory}
devices = {directory}/devices
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
"""

SERVER = """
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
[container-updater]
"""

RESELLER = "ResellerAdmin"
"""The role of who may look into the accounts of all projects."""

PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper authtoken keystoneauth proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
delay_auth_decision = true
www_authenticate_uri = {url}
"""

# swift-ring-builder would be run three times for each ring.
RINGS = """
import sys
from swift.common.ring import RingBuilder
for given in sys.argv[2:]:
    kind, port = given.split(":")
    ring = RingBuilder(1, 1, 0)
    where = {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "one"}
    ring.add_dev(where | {"weight": 1})
    ring.rebalance()
    ring.get_ring().save(f"{sys.argv[1]}/{kind}.ring.gz")
"""

# The program itself looks for swift.conf in /etc only.
UPDATER = """
import sys
from swift.common import daemon, utils
utils.set_swift_dir(sys.argv[1])
from swift.container.updater import ContainerUpdater
daemon.run_daemon(ContainerUpdater, f"{sys.argv[1]}/container.conf", once=True)
"""

HASHES = "[swift-hash]\nswift_hash_path_prefix = a\nswift_hash_path_suffix = b\n"


class Swift:
    """One that runs; its ports stay the same over `stop` and `start`.

    Attributes:
        url: of the proxy, with what stands before an account's project.
    """

    def __init__(self, programs: Path, directory: Path, identity: Keystone) -> None:
        self._programs, self._directory, self._identity = programs, directory, identity
        self._ports = {kind: free_port() for kind in (*KINDS, "proxy")}
        self.url = f"http://127.0.0.1:{self._ports['proxy']}/v1/AUTH_"
        self._processes: list[Process] = []

    def prepare(self) -> None:
        """Write its files; have a user of its own in Keystone, and an admin of all accounts."""
        credentials = self._identity.create_user("swift", "swift-secret", "service", "admin")
        self._identity.grant("admin", "admin", RESELLER)
        self._identity.sign_in()
        (self._directory / "devices" / "one").mkdir(parents=True)
        (self._directory / "swift.conf").write_text(HASHES)
        for kind in KINDS:
            self._configure(kind, SERVER.format(kind=kind))
        self._run(RINGS, *(f"{kind}:{self._ports[kind]}" for kind in KINDS))
        lines = [f"{name} = {value}" for name, value in credentials.items()]
        self._configure("proxy", "\n".join([PROXY.format(url=self._identity.url), *lines, ""]))

    def start(self) -> None:
        """Start its four servers."""
        for kind in (*KINDS, "proxy"):
            command = [str(self._programs / f"swift-{kind}-server"), self._file(kind)]
            log = self._directory / f"swift-{kind}.log"
            self._processes.append(Process(command, log, {"PYTHONWARNINGS": "ignore"}))
        self._processes[-1].wait_until(self._answers)

    def stop(self) -> None:
        """End them: connections are refused."""
        for process in self._processes:
            process.stop()
        self._processes.clear()

    def store(self, project: str, containers: Mapping[str, Mapping[str, bytes]]) -> None:
        """Put objects into containers of a project's account."""
        for container, objects in containers.items():
            self._put(f"{project}/{container}")
            for name, data in objects.items():
                self._put(f"{project}/{container}/{name}", data)
        # An account learns of its containers' objects by and by.
        self._run(UPDATER)

    def _run(self, script: str, *arguments: str) -> None:
        run([str(self._programs / "python"), "-c", script, str(self._directory), *arguments])

    def _put(self, path: str, data: bytes = b"") -> None:
        headers = {"X-Auth-Token": self._identity.token}
        answer = requests.put(f"{self.url}{quote(path)}", data=data, headers=headers, timeout=30)
        assert answer.ok, f"{path}: {answer.status_code} {answer.text}"

    def _configure(self, kind: str, text: str) -> None:
        user = pwd.getpwuid(os.geteuid()).pw_name
        common = COMMON.format(directory=self._directory, port=self._ports[kind], user=user)
        (self._directory / f"{kind}.conf").write_text(common + text)

    def _file(self, kind: str) -> str:
        return str(self._directory / f"{kind}.conf")

    def _answers(self) -> bool:
        headers = {"X-Auth-Token": self._identity.token}
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.url}nobody", headers=headers, timeout=5).ok
        return False


@contextlib.contextmanager
def running(directory: Path, identity: Keystone) -> Iterator[Swift]:
    """A Swift for the length of a block; the catalogue names it.

    Args:
        directory: of its own, on a file system with extended attributes.
        identity: who says who asks.

    Raises:
        ServiceUnavailable: it cannot be installed, does not start, or could keep no object there.
    """
    _check(directory)
    made = Swift(venvs.ensure("swift", *REQUIREMENTS), directory, identity)
    made.prepare()
    try:
        made.start()
        identity.register("object-store", "swift", f"{made.url}%(project_id)s")
        yield made
    finally:
        made.stop()


def _check(directory: Path) -> None:
    """Swift keeps the metadata of objects in extended attributes."""
    try:
        os.setxattr(directory, "user.swift.metadata", b"")
    except OSError as error:
        what = f"Swift needs extended attributes: {directory}: {error.strerror}"
        raise ServiceUnavailable(what) from error
