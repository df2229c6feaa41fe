# SPDX-License-Identifier: Apache-2.0
"""What Gnocchi answers, as far as the publisher asks: the same statuses, bodies and refusals.

Measured on Gnocchi 4.7.1. Measures are kept as they came, one by timestamp, without aggregation.

    with edge.serving() as store:
        ... gnocchi://127.0.0.1:{store.port} ...
        store.points[("guest-1", "cpu")] == {"2026-01-01T00:00:00.000000": 7}
"""

from __future__ import annotations

import contextlib
import copy
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.services import faulty

NAMESPACE = uuid.UUID("0a7a15ff-aa13-4ac2-897c-9bdf30ce175b")
POLICY = {
    "name": "ceilometer-low",
    "back_window": 0,
    "definition": [{"granularity": "0:05:00", "points": 8640, "timespan": "30 days, 0:00:00"}],
    "aggregation_methods": ["mean"],
}
TEXT = {"type": "string", "required": False, "min_length": 0, "max_length": 255}
TYPES: dict[str, dict[str, dict[str, Any]]] = {
    "instance": {
        "host": TEXT,
        "image_ref": TEXT,
        "display_name": {**TEXT, "required": True},
        "flavor_id": {**TEXT, "required": True},
        "flavor_name": {**TEXT, "required": True},
        "server_group": TEXT,
        "availability_zone": TEXT,
        "launched_at": {"type": "datetime", "required": False},
        "created_at": {"type": "datetime", "required": False},
        "deleted_at": {"type": "datetime", "required": False},
    },
    "instance_disk": {
        "name": {**TEXT, "required": True},
        "instance_id": {"type": "uuid", "required": True},
    },
}


class Problem(Exception):
    """A reply that is no success."""

    def __init__(self, status: int, description: Any) -> None:
        self.status = status
        self.description = description


class Edge:
    """Gnocchi's answers.

    Attributes:
        server: that gives them; its script can put faults in between.
        resources: as they are shown, by uuid.
        points: values by (id, metric) and timestamp.
        metrics: archive policies by (id, metric).
        asked: how often what was asked, as "POST batch".
    """

    def __init__(self) -> None:
        self.server = faulty.Server(faulty.reply(self._answer))
        self.user = "admin"
        self.policies = {POLICY["name"]: copy.deepcopy(POLICY)}
        self.types = copy.deepcopy(TYPES)
        self.types["generic"] = {}
        self.resources: dict[str, dict[str, Any]] = {}
        self.points: dict[tuple[str, str], dict[str, float]] = {}
        self.metrics: dict[tuple[str, str], str] = {}
        self.asked: Counter[str] = Counter()
        self.now = datetime.now(UTC)
        """What the store's clock says."""

    @property
    def port(self) -> int:
        return self.server.port

    def values(self, name: str, metric: str) -> list[float]:
        """Return the values of a metric in order of time."""
        return [value for _, value in sorted(self.points.get((name, metric), {}).items())]

    def named(self, name: str) -> dict[str, Any]:
        """Return a resource as it is shown."""
        return self.resources[self._uuid(name)]

    def take(self) -> Counter[str]:
        """Return what was asked since the last call."""
        taken, self.asked = self.asked, Counter()
        return taken

    # -- requests --------------------------------------------------------------------------------

    def _answer(self, request: faulty.Request) -> tuple[int, dict[str, str], bytes]:
        headers = {"Content-Type": "application/json"}
        if request.headers.get("Accept") != "application/json":
            return 400, {"Content-Type": "text/html"}, b"<html>ask for JSON alone</html>"
        if not request.headers.get("Authorization"):
            return 401, headers, b'{"error": {"code": 401, "title": "Unauthorized"}}'
        if request.body and "json" not in request.headers.get("Content-Type", ""):
            return 415, headers, b""
        url = urlsplit(request.path)
        parts = [unquote(part) for part in url.path.split("/")[2:]]
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        try:
            body = json.loads(request.body) if request.body else None
            status, found = self._route(request.method, parts, query, body)
        except Problem as problem:
            error = {"code": problem.status, "title": "", "description": problem.description}
            return problem.status, headers, json.dumps(error).encode()
        return status, headers, b"" if found is None else json.dumps(found).encode()

    def _route(  # noqa: C901 - one case for each request
        self, method: str, parts: list[str], query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        self.asked[f"{method} {parts[0]}"] += 1
        match (method, *parts):
            case ("GET", "archive_policy"):
                return 200, list(self.policies.values())
            case ("POST", "archive_policy"):
                return 201, self._new(self.policies, body["name"], body)
            case ("GET", "resource_type"):
                return 200, [
                    {"name": name, "attributes": attributes, "state": "active"}
                    for name, attributes in self.types.items()
                ]
            case ("POST", "resource_type"):
                self._new(self.types, body["name"], body["attributes"])
                return 201, body
            case ("PATCH", "resource_type", name):
                for change in body:
                    self.types[name][change["path"].rpartition("/")[2]] = change["value"]
                return 200, self.types[name]
            case ("POST", "search", "resource", "generic"):
                wanted = {self._uuid(name) for name in body["in"]["id"]}
                assert query["details"] == "true"
                return 200, [self.resources[name] for name in sorted(wanted & set(self.resources))]
            case ("POST", "resource", kind):
                return 201, self._create(kind, body)
            case ("PATCH", "resource", kind, name):
                return 200, self._patch(kind, name, body)
            case ("GET", "resource", "generic", name, "metric"):
                return 200, self._metrics_of(name)
            case ("POST", "aggregates"):
                return 200, self._aggregates(body, query)
            case ("POST", "batch", "resources", "metrics", "measures"):
                assert query == {"create_metrics": "true"}
                self._push(body)
                return 202, None
        raise Problem(404, "The resource could not be found.")

    def _uuid(self, name: str) -> str:
        if "/" in name:
            raise Problem(400, "'/' is not supported in resource id")
        try:
            return str(uuid.UUID(name))
        except ValueError:
            if len(name) > 289:
                raise Problem(400, "transformable resource id >289") from None
            return str(uuid.uuid5(NAMESPACE, f"{name}\0{self.user}"))

    @staticmethod
    def _new(table: dict[str, Any], name: str, value: Any) -> Any:
        if name in table:
            raise Problem(409, f"{name} already exists")
        table[name] = value
        return value

    def _create(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        if kind not in self.types:
            raise Problem(404, f"Resource type {kind} does not exist")
        self._check(kind, body, whole=True)
        name = self._uuid(body["id"])
        if name in self.resources:
            raise Problem(409, f"Resource {name} already exists")
        attributes = dict.fromkeys(self.types[kind]) | {"project_id": None, "user_id": None}
        self.resources[name] = (
            attributes
            | body
            | {
                "id": name,
                "original_resource_id": body["id"],
                "type": kind,
                "creator": self.user,
                "revision_start": self.now.isoformat(),
            }
        )
        return self.resources[name]

    def _patch(self, kind: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        found = self.resources.get(self._uuid(name))
        if found is None or (found["type"] != kind and kind != "generic"):
            raise Problem(404, f"Resource {name} does not exist")
        self._check(kind, body, whole=False)
        if any(found[key] != value for key, value in body.items()):
            found.update(body, revision_start=self.now.isoformat())
        return found

    def _check(self, kind: str, body: dict[str, Any], *, whole: bool) -> None:
        rules = self.types[kind]
        for key in body:
            if key not in rules and key not in {"id", "project_id", "user_id"}:
                self._invalid("extra keys not allowed", key)
        for key, rule in rules.items():
            if whole and rule["required"] and key not in body:
                self._invalid("required key not provided", key)
            if key in body and rule["type"] == "string" and not isinstance(body[key], str):
                self._invalid("expected str", key)

    @staticmethod
    def _invalid(reason: str, key: str) -> None:
        cause = {"cause": "Invalid input", "reason": f"{reason} @ data['{key}']", "detail": [key]}
        raise Problem(400, cause)

    def _push(self, body: dict[str, dict[str, Any]]) -> None:
        unknown = []
        for name, metrics in body.items():
            there = self._uuid(name)
            if there not in self.resources:
                unknown.append({"resource_id": there, "original_resource_id": name})
                continue
            for metric, said in metrics.items():
                if "/" in metric:
                    raise Problem(400, "'/' is not supported in metric name")
                policy = said["archive_policy_name"]
                if policy not in self.policies and (name, metric) not in self.metrics:
                    raise Problem(400, f"Archive policy {policy} does not exist")
                self.metrics.setdefault((name, metric), policy)
        if unknown:
            raise Problem(400, {"cause": "Unknown resources", "detail": unknown})
        for name, metrics in body.items():
            for metric, said in metrics.items():
                new: dict[str, float] = {}
                for measure in said["measures"]:
                    assert datetime.fromisoformat(measure["timestamp"]).tzinfo is None
                    # Of several in one request Gnocchi keeps the first.
                    new.setdefault(measure["timestamp"], measure["value"])
                self.points.setdefault((name, metric), {}).update(new)

    def _metrics_of(self, name: str) -> list[dict[str, Any]]:
        if name not in self.resources:
            raise Problem(404, f"Resource {name} does not exist")
        own = self.resources[name]["original_resource_id"]
        return [
            {"id": f"{own}|{metric}", "name": metric, "archive_policy": self.policies[policy]}
            for (resource, metric), policy in self.metrics.items()
            if resource == own
        ]

    def _aggregates(self, body: Any, query: dict[str, str]) -> dict[str, Any]:
        """Return what POST /v1/aggregates would: the starts of blocks that hold points."""
        block = float(query["granularity"])
        start = datetime.fromisoformat(query["start"]).timestamp()
        found: dict[str, Any] = {}
        for metric, method in body["operations"][1:]:
            own, _, name = metric.partition("|")
            moments = {
                datetime.fromisoformat(f"{time}+00:00").timestamp() // block * block
                for time in self.points.get((own, name), ())
            }
            found[metric] = {
                method: [
                    [datetime.fromtimestamp(moment, UTC).isoformat(), block, 1.0]
                    for moment in sorted(moments)
                    if moment >= start // block * block
                ]
            }
        return {"measures": found}


@contextlib.contextmanager
def serving() -> Iterator[Edge]:
    """One for the length of a block."""
    edge = Edge()
    try:
        yield edge
    finally:
        edge.server.stop()
