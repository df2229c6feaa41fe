# SPDX-License-Identifier: Apache-2.0
"""OpenStack's APIs as their references document the answers, with data in which much is odd.

One loopback server stands for all services: Cinder, Glance, Neutron, Octavia, Designate, Swift, a
Ceph gateway, Aodh and Manila. Lists come in pages where the API pages.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

PAGE: Final = 2
"""Entries on a page."""

ALPHA: Final = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
BETA: Final = "b1b2c3d4e5f60718293a4b5c6d7e8f91"
SERVERS: Final = "5e000000-0000-4000-8000-00000000000"
IMAGE: Final = "1a000000-0000-4000-8000-000000000001"
USER: Final = "c1b2c3d4e5f60718293a4b5c6d7e8f92"


def _volume(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"volume-{number}",
        "name": f"disk {number}",
        "status": "in-use",
        "size": 10 * number,
        "availability_zone": "nova",
        "volume_type": "ceph",
        "volume_type_id": "type-1",
        "snapshot_id": None,
        "source_volid": None,
        "user_id": USER,
        "migration_status": None,
        "os-vol-mig-status-attr:migstat": None,
        "os-vol-mig-status-attr:name_id": None,
        "os-vol-host-attr:host": "ctl@ceph#pool",
        "os-vol-tenant-attr:tenant_id": ALPHA,
        "attachments": [{"server_id": f"{SERVERS}{number}", "device": "/dev/vdb"}],
        "volume_image_metadata": {"image_id": IMAGE},
        "metadata": {},
    } | changes


VOLUMES: Final = [
    _volume(1),
    _volume(2, attachments=[], status="available", name=None),
    _volume(3, volume_image_metadata=None, snapshot_id="snapshot-1"),
    _volume(
        4, **{"os-vol-tenant-attr:tenant_id": BETA, "os-vol-mig-status-attr:migstat": "success"}
    ),
    _volume(5, source_volid="volume-1", volume_type=None, volume_type_id=None),
]

SNAPSHOTS: Final = [
    {
        "id": f"snapshot-{number}",
        "name": f"snap {number}",
        "volume_id": f"volume-{number}",
        "status": "available",
        "size": number,
        "description": None,
        "metadata": {"k": "v"},
        "user_id": USER,
        "os-extended-snapshot-attributes:progress": "100%",
        "os-extended-snapshot-attributes:project_id": ALPHA,
    }
    for number in (1, 2, 3)
]

BACKUPS: Final = [
    {
        "id": "backup-1",
        "name": "nightly",
        "volume_id": "volume-1",
        "status": "available",
        "size": 7,
        "description": "each night",
        "is_incremental": True,
        "object_count": 12,
        "container": "backups",
        "user_id": USER,
        "os-backup-project-attr:project_id": ALPHA,
    }
]


def _pool(name: str, **capabilities: Any) -> dict[str, Any]:
    return {
        "name": name,
        "capabilities": {
            "pool_name": name.split("#")[1],
            "total_capacity_gb": 1000.5,
            "free_capacity_gb": 400,
            "allocated_capacity_gb": 600,
            "provisioned_capacity_gb": 900,
            "reserved_percentage": 15,
            "thin_provisioning_support": True,
            "max_over_subscription_ratio": "20.0",
        }
        | capabilities,
    }


POOLS: Final = [
    _pool("ctl@ceph#ssd"),
    _pool("ctl@ceph#hdd", thin_provisioning_support=False, pool_name=""),
    _pool("ctl@lvm#lvm", provisioned_capacity_gb=0, free_capacity_gb=None, total_capacity_gb=None),
]

SERVICES: Final = [
    {
        "binary": "cinder-volume",
        "host": "ctl@ceph",
        "zone": "nova",
        "status": "enabled",
        "state": "up",
    },
    {
        "binary": "cinder-backup",
        "host": "ctl",
        "zone": "nova",
        "status": "disabled",
        "state": "down",
    },
]


def _image(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"image-{number}",
        "name": f"debian {number}",
        "status": "active",
        "visibility": "public",
        "container_format": "bare",
        "disk_format": "qcow2",
        "created_at": "2026-01-02T03:04:05Z",
        "updated_at": "2026-01-03T03:04:05Z",
        "min_disk": 0,
        "min_ram": 0,
        "protected": False,
        "checksum": "abc",
        "owner": ALPHA,
        "size": 1000 + number,
        "virtual_size": None,
        "tags": ["x"],
    } | changes


IMAGES: Final = [_image(1), _image(2, protected=True, virtual_size=5 << 30), _image(3, owner=BETA)]

FLOATING: Final = [
    {
        "id": f"fip-{number}",
        "router_id": "router-1" if status == "ACTIVE" else None,
        "status": status,
        "floating_network_id": "net-1",
        "fixed_ip_address": "10.0.0.5",
        "floating_ip_address": f"203.0.113.{number}",
        "port_id": f"port-{number}",
        "tenant_id": ALPHA,
        "project_id": ALPHA,
    }
    for number, status in enumerate(("ACTIVE", "DOWN", "ERROR", "STRANGE"), 1)
]

VPNS: Final = [
    {
        "id": "vpn-1",
        "name": "office",
        "description": "",
        "status": "PENDING_CREATE",
        "admin_state_up": True,
        "subnet_id": None,
        "router_id": "router-1",
        "flavor_id": None,
        "external_v4_ip": "203.0.113.9",
        "external_v6_ip": "2001:db8::1",
        "tenant_id": ALPHA,
        "project_id": ALPHA,
    }
]

CONNECTIONS: Final = [
    {
        "id": "connection-1",
        "name": "to the office",
        "description": "",
        "peer_address": "198.51.100.1",
        "peer_id": "198.51.100.1",
        "peer_cidrs": ["10.1.0.0/24"],
        "peer_ep_group_id": None,
        "psk": "a secret",
        "initiator": "bi-directional",
        "ikepolicy_id": "ike-1",
        "ipsecpolicy_id": "ipsec-1",
        "vpnservice_id": "vpn-1",
        "mtu": 1500,
        "admin_state_up": True,
        "status": "ACTIVE",
        "tenant_id": ALPHA,
        "project_id": ALPHA,
    }
]

FIREWALLS: Final = [
    {
        "id": "group-1",
        "name": "web",
        "description": "",
        "status": "INACTIVE",
        "admin_state_up": False,
        "ingress_firewall_policy_id": "policy-1",
        "egress_firewall_policy_id": None,
        "project_id": ALPHA,
        "tenant_id": ALPHA,
        "shared": False,
        "ports": [],
    }
]

POLICIES: Final = [
    {
        "id": "policy-1",
        "name": "strict",
        "description": "",
        "firewall_rules": ["rule-1"],
        "shared": True,
        "audited": False,
        "project_id": BETA,
        "tenant_id": BETA,
    }
]

BALANCERS: Final = [
    {
        "id": f"balancer-{number}",
        "name": f"balancer {number}",
        "availability_zone": None,
        "vip_address": "10.0.0.9",
        "vip_port_id": "port-9",
        "provisioning_status": provisioning,
        "operating_status": operating,
        "provider": "amphora",
        "flavor_id": None,
        "project_id": ALPHA,
    }
    for number, (operating, provisioning) in enumerate(
        (("ONLINE", "ACTIVE"), ("NO_MONITOR", "PENDING_UPDATE"), ("ODD", "ERROR")), 1
    )
]

ZONES: Final = [
    {
        "id": f"zone-{number}",
        "name": f"example{number}.org.",
        "email": "dns@example.org",
        "ttl": ttl,
        "description": None,
        "type": "PRIMARY",
        "status": status,
        "action": "NONE",
        "serial": 1700000000 + number,
        "pool_id": "pool-1",
        "project_id": ALPHA,
    }
    for number, (status, ttl) in enumerate((("ACTIVE", 3600), ("PENDING", None), ("ERROR", 60)), 1)
]

RECORDSETS: Final = {"zone-1": 3, "zone-2": 0, "zone-3": 5}

ACCOUNTS: Final = {ALPHA: (3, 4096, 2), BETA: (0, 0, 0)}
"""Objects, bytes and containers."""

CONTAINERS: Final = {
    ALPHA: [
        {"name": "photos", "count": 2, "bytes": 4000, "storage_policy": "gold"},
        {"name": "größe/x", "count": 1, "bytes": 96},
    ],
    BETA: [],
}

BUCKETS: Final = {
    ALPHA: [
        {"bucket": "one", "usage": {"rgw.main": {"size_kb": 10, "num_objects": 4}}},
        {
            "bucket": "two",
            "usage": {
                "rgw.main": {"size_kb": 3, "num_objects": 1},
                "rgw.multimeta": {"size_kb": 0, "num_objects": 2},
            },
        },
        {"bucket": "empty", "usage": {}},
    ],
    BETA: [],
}

USAGE: Final = {
    ALPHA: {"summary": [{"user": ALPHA, "total": {"ops": 17}}, {"user": "x", "total": {"ops": 4}}]},
    BETA: {"summary": []},
}

ALARMS: Final = {
    "evaluation_results": [
        {
            "alarm_id": "alarm-1",
            "project_id": ALPHA,
            "state_counters": {"ok": 3, "alarm": 1, "insufficient data": 0},
        }
    ]
}

SHARES: Final = [
    {
        "id": f"share-{number}",
        "name": f"share {number}",
        "size": size,
        "availability_zone": "nova",
        "share_proto": "NFS",
        "share_type": "type-1",
        "share_network_id": None,
        "status": status,
        "host": "ctl@generic#pool",
        "is_public": False,
        "project_id": ALPHA,
        "user_id": USER,
    }
    for number, (status, size) in enumerate(
        (("available", 5), ("error_deleting", 0), ("odd", 2)), 1
    )
]

LISTS: Final[dict[str, tuple[str, list[Any], bool]]] = {
    "/volume/v3/volumes/detail": ("volumes", VOLUMES, True),
    "/volume/v3/snapshots/detail": ("snapshots", SNAPSHOTS, True),
    "/volume/v3/backups/detail": ("backups", BACKUPS, True),
    "/volume/v3/scheduler-stats/get_pools": ("pools", POOLS, False),
    "/volume/v3/os-services": ("services", SERVICES, False),
    "/network/v2.0/floatingips": ("floatingips", FLOATING, True),
    "/network/v2.0/vpn/vpnservices": ("vpnservices", VPNS, False),
    "/network/v2.0/vpn/ipsec-site-connections": ("ipsec_site_connections", CONNECTIONS, False),
    "/network/v2.0/fwaas/firewall_groups": ("firewall_groups", FIREWALLS, False),
    "/network/v2.0/fwaas/firewall_policies": ("firewall_policies", POLICIES, False),
    "/balancer/v2/lbaas/loadbalancers": ("loadbalancers", BALANCERS, True),
    "/balancer/v2.0/lbaas/loadbalancers": ("loadbalancers", BALANCERS, True),
    "/share/v2/shares/detail": ("shares", SHARES, False),
}
"""What is listed where, and whether in pages whose next one is linked as Cinder and Neutron do."""

CATALOGUE: Final = {
    "block-storage": ("cinder", "/volume/v3"),
    "image": ("glance", "/image"),
    "network": ("neutron", "/network"),
    "load-balancer": ("octavia", "/balancer"),
    "dns": ("designate", "/dns"),
    "object-store": ("swift", "/swift/v1/AUTH_%(project_id)s"),
    "alarming": ("aodh", "/alarm"),
    "shared-file-system": ("manila", "/share/v2"),
}
"""Name and path of each service, by its type."""


class Apis:
    """The server.

    Attributes:
        url: of it.
        asked: each request, as method and path.
        broken: paths that answer 500.
        projects: which of the two projects here one of Keystone's stands for.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken: set[str] = set()
        self.projects: dict[str, str] = {}
        apis = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                apis.answer(self)

            do_HEAD = do_GET  # noqa: N815 - the name that http.server asks for

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request."""
        parts = urlsplit(request.path)
        query = {key: each[-1] for key, each in parse_qs(parts.query).items()}
        self.asked.append(f"{request.command} {request.path}")
        status, headers, body = self._found(parts.path, query, request)
        data = b"" if body is None else json.dumps(body).encode()
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data)

    def _found(
        self, path: str, query: dict[str, str], request: BaseHTTPRequestHandler
    ) -> tuple[int, dict[str, str], Any]:
        if path in self.broken:
            return 500, {}, {"error": "broken"}
        if "/admin/" in path:
            known = request.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256")
        else:
            known = bool(request.headers.get("X-Auth-Token"))
        if path in LISTS and known:
            name, entries, paged = LISTS[path]
            return 200, {}, self._page(path, query, name, entries, paged=paged)
        for prefix, make in self._others():
            if path.startswith(prefix) and known:
                return make(path, query)
        version = self._version(path)
        if version is not None:
            return 200, {}, version
        return (404 if known else 401), {}, {"error": path}

    def _page(
        self, path: str, query: dict[str, str], name: str, entries: list[Any], *, paged: bool
    ) -> dict[str, Any]:
        if not paged:
            return {name: entries}
        first = 0
        if marker := query.get("marker"):
            first = [each["id"] for each in entries].index(marker) + 1
        shown = entries[first : first + PAGE]
        body: dict[str, Any] = {name: shown}
        if first + PAGE < len(entries):
            more = urlencode({**query, "marker": shown[-1]["id"]})
            body[f"{name}_links"] = [
                {"rel": "previous", "href": f"{self.url}{path}"},
                {"rel": "next", "href": f"{self.url}{path}?{more}"},
            ]
        return body

    def _others(
        self,
    ) -> list[tuple[str, Callable[[str, dict[str, str]], tuple[int, dict[str, str], Any]]]]:
        return [
            ("/image/v2/images", self._images),
            ("/dns/v2/zones/", self._recordsets),
            ("/dns/v2/zones", self._zones),
            ("/swift/v1/AUTH_", self._account),
            ("/admin/bucket", lambda _, query: (200, {}, BUCKETS[self._project(query["uid"])])),
            ("/admin/usage", lambda _, query: (200, {}, USAGE[self._project(query["uid"])])),
            ("/alarm/v2/metrics", lambda *_: (200, {}, ALARMS)),
        ]

    def _project(self, number: str) -> str:
        return self.projects.get(number, BETA)

    def _images(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        page = self._page(path, query, "images", IMAGES, paged=True)
        links = page.pop("images_links", None)
        if links:
            # Glance's link is a path, without what a proxy puts before it.
            page["next"] = links[1]["href"].removeprefix(f"{self.url}/image")
        return 200, {}, page

    def _zones(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        page = self._page(path, query, "zones", ZONES, paged=True)
        links = page.pop("zones_links", None)
        page["links"] = {"self": f"{self.url}{path}"}
        if links:
            page["links"]["next"] = links[1]["href"]
        return 200, {}, page

    def _recordsets(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        zone = path.split("/")[4]
        count = RECORDSETS[zone]
        shown = min(count, int(query.get("limit", count)))
        body = {
            "recordsets": [{"id": f"{zone}-{each}", "zone_id": zone} for each in range(shown)],
            "links": {"self": f"{self.url}{path}"},
            "metadata": {"total_count": count},
        }
        return 200, {}, body

    def _account(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        project = self._project(path.removeprefix("/swift/v1/AUTH_").strip("/"))
        objects, used, containers = ACCOUNTS[project]
        headers = {
            "X-Account-Object-Count": str(objects),
            "X-Account-Bytes-Used": str(used),
            "X-Account-Container-Count": str(containers),
        }
        return 200, headers, CONTAINERS[project] if query.get("format") == "json" else None

    def _version(self, path: str) -> Any:
        """Return what a service says of its versions, for clients that ask."""
        known = {
            "/volume/v3": ("v3.0", "3.71", "3.0", "/"),
            "/image": ("v2.16", "", "", "/v2/"),
            "/network": ("v2.0", "", "", "/v2.0/"),
            "/balancer": ("v2.27", "", "", "/v2/"),
            "/dns": ("v2.0", "", "", "/v2/"),
            "/share/v2": ("v2.0", "2.80", "2.0", "/"),
            "/alarm": ("v2.0", "", "", "/v2/"),
        }
        path = path.rstrip("/")
        name = next((each for each in known if path in (each, f"{each}/v2", f"{each}/v2.0")), None)
        if name is None:
            return None
        number, newest, oldest, below = known[name]
        links = [{"rel": "self", "href": f"{self.url}{name}{below}"}]
        of = {"id": number, "status": "CURRENT", "version": newest, "min_version": oldest}
        return {"versions": [{**of, "links": links}]}


@contextmanager
def running() -> Iterator[Apis]:
    """The APIs for the length of a block."""
    made = Apis()
    try:
        yield made
    finally:
        made.stop()
