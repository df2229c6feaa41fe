# SPDX-License-Identifier: Apache-2.0
"""A loopback server that answers as Nova's API does, as far as an agent asks it.

Nova itself does not run here: it takes a database, a message bus, Placement and a cell. The bodies
are those of Nova's API reference (doc/api_samples/servers of its sources, version 2.1); the filters
`host`, `all_tenants` and `changes-since`, the pages and the need for an admin's token are as
documented there. Tokens are shown to the real Keystone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from tests.services import faulty

PREFIX = "/v2.1"
LINKS = "http://openstack.example.com/6f70656e737461636b20342065766572"


def server(uuid: str, **changes: Any) -> dict[str, Any]:
    """Return a server as the API reference shows one, with some of its fields changed."""
    return {
        "accessIPv4": "1.2.3.4",
        "accessIPv6": "80fe::",
        "addresses": {"private": [{"addr": "192.168.0.3", "version": 4}]},
        "created": "2013-09-03T04:01:32Z",
        "flavor": {"id": "42", "links": [{"href": f"{LINKS}/flavors/42", "rel": "bookmark"}]},
        "hostId": "bcf92836fc9ed4203a75cb0337afc7f917d2be504164b995c2334b25",
        "id": uuid,
        "image": image("70a599e0-31e7-49b7-b260-868f441e862b"),
        "key_name": None,
        "links": [{"href": f"{LINKS}/servers/{uuid}", "rel": "bookmark"}],
        "metadata": {"My Server Name": "Apache1"},
        "name": "new-server-test",
        "config_drive": "",
        "OS-DCF:diskConfig": "AUTO",
        "OS-EXT-AZ:availability_zone": "nova",
        "OS-EXT-SRV-ATTR:host": "c3f14e9812ad496baf92ccfb3c61e15f",
        "OS-EXT-SRV-ATTR:hypervisor_hostname": "fake-mini",
        "OS-EXT-SRV-ATTR:instance_name": "instance-00000001",
        "OS-EXT-STS:power_state": 1,
        "OS-EXT-STS:task_state": None,
        "OS-EXT-STS:vm_state": "active",
        "os-extended-volumes:volumes_attached": [],
        "OS-SRV-USG:launched_at": "2013-09-23T13:53:12.774549",
        "OS-SRV-USG:terminated_at": None,
        "progress": 0,
        "security_groups": [{"name": "default"}],
        "status": "ACTIVE",
        "tenant_id": "6f70656e737461636b20342065766572",
        "updated": "2013-09-03T04:01:32Z",
        "user_id": "fake",
        **changes,
    }


def image(uuid: str) -> dict[str, Any]:
    """Return an image as a server shows it."""
    return {"id": uuid, "links": [{"href": f"{LINKS}/images/{uuid}", "rel": "bookmark"}]}


class Nova:
    """One that runs.

    Attributes:
        edge: its HTTP server; its script can put faults in between.
        servers: by id.
        page: how many servers it gives at once.
        asked: the queries for lists, in order.
    """

    def __init__(self, keystone: str | None = None) -> None:
        self.edge = faulty.Server(faulty.reply(self._answer))
        self.servers: dict[str, dict[str, Any]] = {}
        self.page = 1000
        self.asked: list[dict[str, str]] = []
        self._keystone = keystone

    @property
    def url(self) -> str:
        """What Keystone's catalogue has."""
        return f"{self.edge.url}{PREFIX}"

    def add(self, shown: dict[str, Any]) -> None:
        """Have a server, changed now."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.servers[shown["id"]] = shown | {"updated": now}

    def _answer(self, request: faulty.Request) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Content-Type": "application/json", "Date": format_datetime(datetime.now(UTC))}
        roles = self._roles(request.headers.get("X-Auth-Token", ""))
        parts = urlsplit(request.path)
        query = {key: found[0] for key, found in parse_qs(parts.query).items()}
        if parts.path.rstrip("/") in {"", PREFIX}:
            status, body = 200, self._version()
        elif roles is None:
            status, body = 401, {"error": {"code": 401, "message": "Unauthorized"}}
        elif "admin" not in roles:
            status, body = 403, {"forbidden": {"code": 403, "message": "Policy does not allow"}}
        elif parts.path == f"{PREFIX}/servers/detail":
            status, body = 200, self._list(query)
        elif parts.path.startswith(f"{PREFIX}/servers/"):
            found = self.servers.get(parts.path.rpartition("/")[2])
            status, body = (200, {"server": found}) if found else (404, {"itemNotFound": {}})
        else:
            status, body = 404, {"itemNotFound": {"code": 404, "message": "not found"}}
        return status, headers, json.dumps(body).encode()

    def _list(self, query: dict[str, str]) -> dict[str, Any]:
        self.asked.append(query)
        found = [
            shown
            for _, shown in sorted(self.servers.items())
            if shown["OS-EXT-SRV-ATTR:host"] == query.get("host")
            and shown["updated"] >= query.get("changes-since", "")
            and ("changes-since" in query or shown["status"] != "DELETED")
            and shown["id"] > query.get("marker", "")
        ]
        body: dict[str, Any] = {"servers": found[: self.page]}
        if len(found) > self.page:
            last = found[self.page - 1]["id"]
            link = f"http://elsewhere.example.com/v2.1/servers/detail?limit={self.page}"
            body["servers_links"] = [{"href": f"{link}&marker={last}", "rel": "next"}]
        return body

    def _version(self) -> dict[str, Any]:
        links = [{"href": f"{self.url}/", "rel": "self"}]
        return {"version": {"id": "v2.1", "status": "CURRENT", "version": "2.96",
                            "min_version": "2.1", "links": links}}  # fmt: skip

    def _roles(self, token: str) -> set[str] | None:
        """Return the roles of who asks, None for a stranger; all are admins without a Keystone."""
        if self._keystone is None:
            return {"admin"}
        headers = {"X-Auth-Token": token, "X-Subject-Token": token}
        answer = requests.get(f"{self._keystone}/auth/tokens", headers=headers, timeout=30)
        if not answer.ok:
            return None
        return {role["name"] for role in answer.json()["token"].get("roles", [])}
