# SPDX-License-Identifier: Apache-2.0
"""A real Glance on SQLite, on loopback, that keeps images in files and asks a Keystone who asks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from tests.services import gunicorn, venvs
from tests.services.keystone import Keystone
from tests.services.process import Process, free_port, run

VERSION = "33.0.0"
REQUIREMENTS = (f"glance=={VERSION}", gunicorn.REQUIREMENT)

CONF = """
[DEFAULT]
log_file = {directory}/glance-own.log
enabled_backends = here:file
enabled_import_methods = []
[database]
connection = sqlite:///{directory}/glance.db
[glance_store]
default_backend = here
[here]
filesystem_store_datadir = {directory}/images
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {directory}/tasks
[paste_deploy]
flavor = keystone
config_file = {paste}
[keystone_authtoken]
www_authenticate_uri = {credentials[auth_url]}
"""


class Glance:
    """One that runs; its port stays the same over `stop` and `start`.

    Attributes:
        url: of the API, without ``/v2``.
    """

    def __init__(self, programs: Path, directory: Path, identity: Keystone) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._programs, self._directory, self._identity = programs, directory, identity
        self._process: Process | None = None

    def prepare(self) -> None:
        """Make the tables, and a user of its own in Keystone."""
        credentials = self._identity.create_user("glance", "glance-secret", "service", "admin")
        paste = self._programs.parent / "etc" / "glance" / "glance-api-paste.ini"
        text = CONF.format(directory=self._directory, paste=paste, credentials=credentials)
        lines = [f"{name} = {value}" for name, value in credentials.items()]
        conf = self._directory / "glance-api.conf"
        conf.write_text("\n".join([text, *lines, ""]))
        run([str(self._programs / "glance-manage"), "--config-file", str(conf), "db_sync"])

    def start(self) -> None:
        """Start it."""
        command = gunicorn.command(self._programs, self.port, "glance.wsgi.api:application")
        environment = {"OS_GLANCE_CONFIG_DIR": str(self._directory)}
        log = self._directory / "glance.log"
        self._process = Process(command, log, environment)
        self._process.wait_until(self._answers)

    def stop(self) -> None:
        """End it: connections are refused."""
        if self._process is not None:
            self._process.stop()

    def create(self, name: str, data: bytes, **more: Any) -> str:
        """Create an image and return its id."""
        formats = {"disk_format": "raw", "container_format": "bare"}
        made = self._ask("POST", "", json={"name": name, **formats, **more}).json()
        kind = {"Content-Type": "application/octet-stream"}
        self._ask("PUT", f"/{made['id']}/file", kind, data=data)
        found: str = made["id"]
        return found

    def _ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any
    ) -> requests.Response:
        all_headers = {"X-Auth-Token": self._identity.token} | (headers or {})
        url = f"{self.url}/v2/images{path}"
        answer = requests.request(method, url, headers=all_headers, timeout=30, **more)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def _answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(self.url, timeout=5).status_code == 300
        return False


@contextlib.contextmanager
def running(directory: Path, identity: Keystone) -> Iterator[Glance]:
    """A Glance for the length of a block; the catalogue names it.

    Args:
        directory: of its own.
        identity: who says who asks.

    Raises:
        ServiceUnavailable: it cannot be installed, or does not start.
    """
    made = Glance(venvs.ensure("glance", *REQUIREMENTS), directory, identity)
    made.prepare()
    try:
        made.start()
        identity.register("image", "glance", made.url)
        yield made
    finally:
        made.stop()
