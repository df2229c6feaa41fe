# SPDX-License-Identifier: Apache-2.0
"""A real Keystone on SQLite, on loopback, with an admin, a project `service` and a user in it.

Its tables and keys are made once and kept: that takes half a minute.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from tests.services import gunicorn, venvs
from tests.services.process import Process, free_port, run

VERSION = "30.0.0"
REQUIREMENTS = (f"keystone=={VERSION}", gunicorn.REQUIREMENT)
PASSWORD = "admin-secret"

# Without a cache each request costs it a third of a second; there is one process, which knows of
# every change.
CONF = """
[DEFAULT]
log_file = {directory}/keystone-own.log
[database]
connection = sqlite:///{directory}/keystone.db
[token]
provider = fernet
[fernet_tokens]
key_repository = {directory}/fernet
[fernet_receipts]
key_repository = {directory}/receipts
[credential]
key_repository = {directory}/credentials
[cache]
enabled = true
backend = dogpile.cache.memory_pickle
[identity]
password_hash_rounds = 4
"""

WSGI = """
import sys
sys.argv = ["keystone"]
from keystone.wsgi.api import application
"""


class Keystone:
    """One that runs.

    Attributes:
        url: with ``/v3``.
        token: the admin's.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/v3"
        self.token = ""

    def sign_in(self) -> None:
        """Get a token for the admin."""
        body = {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {
                        "user": {
                            "name": "admin",
                            "password": PASSWORD,
                            "domain": {"id": "default"},
                        }
                    },
                },
                "scope": {"project": {"name": "admin", "domain": {"id": "default"}}},
            }
        }
        answer = requests.post(f"{self.url}/auth/tokens", json=body, timeout=30)
        answer.raise_for_status()
        self.token = answer.headers["X-Subject-Token"]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask as admin and return what its JSON says; other than 2xx is an error."""
        headers = {"X-Auth-Token": self.token}
        answer = requests.request(
            method, f"{self.url}{path}", json=body, headers=headers, timeout=30
        )
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def create_user(self, name: str, password: str, project: str, role: str) -> dict[str, str]:
        """Create a user with a role in a project, and the project if need be; return its options.

        They are named as in a section of credentials.
        """
        found = self.ask("GET", f"/projects?name={project}")["projects"]
        if not found:
            body = {"project": {"name": project, "domain_id": "default"}}
            found = [self.ask("POST", "/projects", body)["project"]]
        values = {"name": name, "password": password, "domain_id": "default"}
        self.ask("POST", "/users", {"user": values})
        self.grant(name, project, role)
        return {
            "auth_type": "password",
            "auth_url": self.url,
            "username": name,
            "password": password,
            "user_domain_name": "Default",
            "project_name": project,
            "project_domain_name": "Default",
        }

    def grant(self, user: str, project: str, role: str) -> None:
        """Give a user a role in a project; the role is made if need be."""
        (whom,) = self.ask("GET", f"/users?name={user}")["users"]
        (where,) = self.ask("GET", f"/projects?name={project}")["projects"]
        known = self.ask("GET", f"/roles?name={role}")["roles"]
        if not known:
            known = [self.ask("POST", "/roles", {"role": {"name": role}})["role"]]
        self.ask("PUT", f"/projects/{where['id']}/users/{whom['id']}/roles/{known[0]['id']}")

    def register(self, kind: str, name: str, url: str) -> None:
        """Put a service into the catalogue."""
        body = {"service": {"type": kind, "name": name}}
        service = self.ask("POST", "/services", body)["service"]["id"]
        for interface in ("public", "internal", "admin"):
            endpoint = {"service_id": service, "interface": interface, "url": url}
            self.ask("POST", "/endpoints", {"endpoint": endpoint | {"region_id": "RegionOne"}})

    def revoke(self, token: str) -> None:
        """Make a token worthless."""
        headers = {"X-Auth-Token": self.token, "X-Subject-Token": token}
        requests.delete(f"{self.url}/auth/tokens", headers=headers, timeout=30).raise_for_status()

    def move_in(self) -> None:
        """Have the catalogue say where Keystone is now: it was made for another port."""
        for endpoint in self.ask("GET", "/endpoints")["endpoints"]:
            body = {"endpoint": {"url": self.url}}
            self.ask("PATCH", f"/endpoints/{endpoint['id']}", body)


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Keystone]:
    """A Keystone for the length of a block.

    Args:
        directory: of its own.

    Raises:
        ServiceUnavailable: it cannot be installed, or does not start.
    """
    programs = venvs.ensure("keystone", *REQUIREMENTS)
    shutil.copytree(_prepared(programs), directory, dirs_exist_ok=True)
    (directory / "keystone.conf").write_text(CONF.format(directory=directory))
    (directory / "keystone_wsgi.py").write_text(WSGI)
    port = free_port()
    application = ("--chdir", str(directory), "keystone_wsgi:application")
    command = gunicorn.command(programs, port, *application)
    environment = {"OS_KEYSTONE_CONFIG_FILES": str(directory / "keystone.conf")}
    process = Process(command, directory / "keystone.log", environment)
    server = Keystone(port)
    try:
        process.wait_until(lambda: _answers(server))
        server.sign_in()
        server.move_in()
        yield server
    finally:
        process.kill()


def _prepared(programs: Path) -> Path:
    """Return the directory of tables and keys that were made once."""
    made = programs.parent / "prepared"
    with (programs.parent / "prepared.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (made / "complete").exists():
            return made
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        conf = made / "keystone.conf"
        conf.write_text(CONF.format(directory=made))
        manage = [str(programs / "keystone-manage"), "--config-file", str(conf)]
        run([*manage, "db_sync"])
        own = ["--keystone-user", str(os.geteuid()), "--keystone-group", str(os.getegid())]
        for what in ("fernet_setup", "receipt_setup", "credential_setup"):
            run([*manage, what, *own])
        there = "http://127.0.0.1:5000/v3"
        urls = [f"--bootstrap-{kind}-url={there}" for kind in ("admin", "internal", "public")]
        region = "--bootstrap-region-id=RegionOne"
        run([*manage, "bootstrap", f"--bootstrap-password={PASSWORD}", *urls, region])
        (made / "complete").touch()
    return made


def _answers(server: Keystone) -> bool:
    try:
        requests.get(server.url, timeout=5)
    except requests.RequestException:
        return False
    return True
