# SPDX-License-Identifier: Apache-2.0
"""What DevStack's functions ask of Keystone, as its administrator.

python -m tests.devstack.identity user NAME PASSWORD PROJECT ROLE...
python -m tests.devstack.identity service NAME TYPE             prints its id
python -m tests.devstack.identity endpoint SERVICE_ID REGION URL
"""

from __future__ import annotations

import os
import sys
from urllib.parse import urlsplit

from tests.services.keystone import Keystone


def user(server: Keystone, name: str, password: str, project: str, *roles: str) -> None:
    """Create a user with roles in a project, both if need be."""
    projects = server.ask("GET", f"/projects?name={project}")["projects"]
    if not projects:
        body = {"project": {"name": project, "domain_id": "default"}}
        projects = [server.ask("POST", "/projects", body)["project"]]
    users = server.ask("GET", f"/users?name={name}")["users"]
    if not users:
        values = {"name": name, "password": password, "domain_id": "default"}
        users = [server.ask("POST", "/users", {"user": values})["user"]]
    for role in roles:
        (known,) = server.ask("GET", f"/roles?name={role}")["roles"]
        path = f"/projects/{projects[0]['id']}/users/{users[0]['id']}/roles/{known['id']}"
        server.ask("PUT", path)


def service(server: Keystone, name: str, kind: str) -> None:
    """Print the id of a service; it is created if need be."""
    found = server.ask("GET", f"/services?name={name}&type={kind}")["services"]
    if not found:
        body = {"service": {"type": kind, "name": name}}
        found = [server.ask("POST", "/services", body)["service"]]
    print(found[0]["id"])


def endpoint(server: Keystone, of: str, region: str, url: str) -> None:
    """Put a service into the catalogue, once."""
    if not server.ask("GET", f"/endpoints?service_id={of}")["endpoints"]:
        body = {"service_id": of, "interface": "public", "url": url, "region_id": region}
        server.ask("POST", "/endpoints", {"endpoint": body})


if __name__ == "__main__":
    asked = Keystone(urlsplit(os.environ["KEYSTONE_SERVICE_URI"]).port or 0)
    asked.token = os.environ["KEYSTONE_TOKEN"]
    {"user": user, "service": service, "endpoint": endpoint}[sys.argv[1]](asked, *sys.argv[2:])
