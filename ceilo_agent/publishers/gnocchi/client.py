# SPDX-License-Identifier: Apache-2.0
"""Gnocchi's REST API, version 1 (https://gnocchi.osci.io/rest.html): what is asked and answered.

One method, one request, but for lists that come in pages. Every fault is a `Retryable`, a
`Refusal`, or one of the two answers that a caller acts upon, `NotThere` and `UnknownResources`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote, urlencode

import msgspec

from ceilo_agent.errors import DeliveryError, Permanent, Retryable
from ceilo_agent.publishers.replies import FOREVER, fault_of

PAGE: Final = 1000
"""Items that Gnocchi gives at once by default (``[api] max_limit``)."""

_JSON: Final = {"Content-Type": "application/json"}
_JSON_PATCH: Final = {"Content-Type": "application/json-patch+json"}


class Reply(NamedTuple):
    """What a server answered.

    Attributes:
        status: of the reply.
        headers: by name, in any case.
        body: as it came.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends requests to one Gnocchi, with what it takes to be let in.

    Attributes:
        where: whom messages name, without user name and password.
    """

    where: str

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        """Send a request; `path` begins with ``/v1/`` and has its query.

        Raises:
            Retryable: nobody answers, or Keystone lets nobody in.
        """

    def project_id(self, name: str, domain: str) -> str | None:
        """Return the id of a project that is given by name, or by id where there is no Keystone.

        Raises:
            Retryable: Keystone cannot be asked now.
        """

    def close(self) -> None:
        """Close the connection; the next request makes another."""


class Refusal(Permanent):
    """Gnocchi says that a request is wrong (400, 413, 422 and the like).

    Attributes:
        cause: in a word, as "Invalid input"; the whole text where it gave no more than that.
        reason: what is wrong; may be empty.
        detail: of what, in a form that depends on the cause.
    """

    def __init__(self, message: str, cause: str, reason: str, detail: Any) -> None:
        self.cause = cause
        self.reason = reason
        self.detail = detail
        super().__init__(message)


class NotThere(Retryable):
    """404: what the request names does not exist (yet, or any more)."""


class UnknownResources(DeliveryError):
    """Measures were refused, all of them, since some of their resources do not exist.

    Attributes:
        ids: of these, as they were sent.
    """

    def __init__(self, ids: frozenset[str]) -> None:
        self.ids = ids
        super().__init__(f"{len(ids)} resources are not there")


class Client:
    """Speaks to one Gnocchi. Not for use by several threads at a time."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def where(self) -> str:
        """Whom messages name."""
        return self._transport.where

    def close(self) -> None:
        """Close the connection; the next request makes another."""
        self._transport.close()

    def project_id(self, name: str, domain: str) -> str | None:
        """Return the id of a project that is given by name, or by id where there is no Keystone.

        Raises:
            Retryable: Keystone cannot be asked now.
        """
        return self._transport.project_id(name, domain)

    # -- archive policies and resource types -----------------------------------------------------

    def archive_policies(self) -> dict[str, dict[str, Any]]:
        """Return every archive policy by name, as Gnocchi shows it.

        Raises:
            Retryable: not now.
        """
        listed = self._get("/v1/archive_policy")
        return {policy["name"]: policy for policy in listed}

    def create_archive_policy(self, policy: Mapping[str, Any]) -> bool:
        """Create an archive policy; return False if one of its name is there already.

        Args:
            policy: `name`, `definition`, and if need be `aggregation_methods` and `back_window`.

        Raises:
            Refusal: Gnocchi cannot read it.
            Retryable: not now, or not by this user.
        """
        return self._create("/v1/archive_policy", policy) is not None

    def resource_types(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the attributes of every resource type by name: `type`, `required` and bounds.

        Raises:
            Retryable: not now.
        """
        listed = self._get("/v1/resource_type")
        return {found["name"]: found["attributes"] for found in listed}

    def create_resource_type(self, name: str, attributes: Mapping[str, Mapping[str, Any]]) -> bool:
        """Create a resource type; return False if one of its name is there already.

        Raises:
            Refusal: Gnocchi cannot read it.
            Retryable: not now, or not by this user.
        """
        body = {"name": name, "attributes": attributes}
        return self._create("/v1/resource_type", body) is not None

    def patch_resource_type(self, name: str, operations: Sequence[Mapping[str, Any]]) -> None:
        """Change a resource type by a JSON patch (RFC 6902) of ``/attributes/...``.

        Raises:
            NotThere: no such type.
            Refusal: it cannot be changed so.
            Retryable: not now, or not by this user.
        """
        path = f"/v1/resource_type/{quote(name, safe='')}"
        self._done(self._send("PATCH", path, operations, _JSON_PATCH), 200)

    # -- resources -------------------------------------------------------------------------------

    def find_resources(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return those of the resources that exist, with all attributes, by the ids asked for.

        One request for PAGE of them.

        Raises:
            Retryable: not now, or not by this user.
        """
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(ids), PAGE):
            asked = ids[start : start + PAGE]
            query = {"in": {"id": list(asked)}}
            by_uuid = {canonical(each): each for each in asked}
            for resource in self._pages("/v1/search/resource/generic", {"details": "true"}, query):
                name = by_uuid.get(resource["id"]) or resource.get("original_resource_id", "")
                found[name] = resource
        return found

    def create_resource(self, kind: str, resource: Mapping[str, Any]) -> dict[str, Any] | None:
        """Create a resource and return it; None if one of its id is there already.

        Args:
            kind: the name of its type.
            resource: `id`, `project_id`, `user_id` and the type's attributes.

        Raises:
            NotThere: no such type.
            Refusal: it lacks an attribute that its type requires, or has one that it does not know.
            Retryable: not now, or not by this user.
        """
        return self._create(f"/v1/resource/{quote(kind, safe='')}", resource)

    def patch_resource(self, kind: str, uuid: str, attributes: Mapping[str, Any]) -> None:
        """Change attributes of a resource; Gnocchi keeps those before as a revision.

        Args:
            kind: the name of its type.
            uuid: Gnocchi's own id of it.
            attributes: the new values.

        Raises:
            NotThere: no such resource, or it is of another type.
            Refusal: its type does not know an attribute, or takes no such value.
            Retryable: not now, or not by this user.
        """
        path = f"/v1/resource/{quote(kind, safe='')}/{quote(uuid, safe='')}"
        self._done(self._send("PATCH", path, attributes, _JSON), 200)

    # -- measures --------------------------------------------------------------------------------

    def push_measures(self, measures: Mapping[str, Mapping[str, Any]]) -> None:
        """Hand over measures; metrics that do not exist are created, resources are not.

        Args:
            measures: by resource id and metric: `archive_policy_name`, `unit`, and `measures`, a
                list of `timestamp` and `value`.

        Raises:
            UnknownResources: nothing was taken.
            Refusal: likewise, for another reason: an archive policy that does not exist, a measure
                that cannot be read.
            Retryable: not now, or not by this user.
        """
        path = "/v1/batch/resources/metrics/measures?create_metrics=true"
        try:
            self._done(self._send("POST", path, measures, _JSON), 202)
        except Refusal as error:
            if error.cause == "Unknown resources" and isinstance(error.detail, list):
                ids = frozenset(
                    each.get("original_resource_id") or each["resource_id"] for each in error.detail
                )
                raise UnknownResources(ids) from error
            raise

    def metrics_of(self, uuid: str) -> list[dict[str, Any]]:
        """Return the metrics of a resource, each with `id`, `name` and `archive_policy`.

        Args:
            uuid: Gnocchi's own id of the resource.

        Raises:
            NotThere: no such resource.
            Retryable: not now, or not by this user.
        """
        listed: list[dict[str, Any]] = self._get(f"/v1/resource/generic/{quote(uuid)}/metric")
        return listed

    def aggregates(
        self, metrics: Sequence[tuple[str, str]], granularity: float, start: str
    ) -> dict[str, str]:
        """Return the start of the newest aggregate of each metric, by its id, where there is one.

        Args:
            metrics: ids and an aggregation method that each has.
            granularity: of the aggregates, in seconds.
            start: the oldest to look at, ISO 8601.

        Raises:
            NotThere: a metric went away.
            Retryable: not now, or not by this user.
        """
        query = urlencode({"granularity": granularity, "start": start})
        body = {"operations": ["metric", *([one, how] for one, how in metrics)]}
        reply = self._done(self._send("POST", f"/v1/aggregates?{query}", body, _JSON), 200)
        found = self._decoded(reply)["measures"]
        return {
            one: points[how][-1][0]
            for one, how in metrics
            if (points := found.get(one)) and points.get(how)
        }

    # -- requests --------------------------------------------------------------------------------

    def _get(self, path: str) -> Any:
        return self._decoded(self._done(self._send("GET", path, None, {}), 200))

    def _create(self, path: str, body: Any) -> dict[str, Any] | None:
        """Return what was created, None if it was there already (409)."""
        reply = self._send("POST", path, body, _JSON)
        if reply.status == 409:
            return None
        created: dict[str, Any] = self._decoded(self._done(reply, 201))
        return created

    def _pages(self, path: str, query: Mapping[str, str], body: Any) -> Iterator[dict[str, Any]]:
        """Yield the items of a list that comes in pages (RFC 5988's Link: ...; rel="next")."""
        marker: dict[str, str] = {}
        while True:
            asked = f"{path}?{urlencode({**query, 'limit': str(PAGE), 'sort': 'id:asc', **marker})}"
            reply = self._done(self._send("POST", asked, body, _JSON), 200)
            items: list[dict[str, Any]] = self._decoded(reply)
            yield from items
            if not items or 'rel="next"' not in reply.headers.get("Link", ""):
                return
            marker = {"marker": items[-1]["id"]}

    def _send(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Reply:
        # Gnocchi gives faults in JSON only where nothing else would do.
        headers = {**headers, "Accept": "application/json"}
        data = None if body is None else msgspec.json.encode(body)
        return self._transport.send(method, path, data, headers)

    def _done(self, reply: Reply, expected: int) -> Reply:
        if reply.status == expected:
            return reply
        if reply.status < 300:
            said = "it is no Gnocchi"
            raise Retryable(f"{self.where} answers {reply.status} and not {expected}: {said}")
        description = _description(reply)
        text = _text(description)
        fault = fault_of(self.where, reply.status, text, reply.headers.get("Retry-After"))
        if reply.status == 404:
            raise NotThere(str(fault))
        if reply.status not in FOREVER:
            raise fault
        if isinstance(description, dict):
            cause, reason = str(description.get("cause", "")), str(description.get("reason", ""))
            raise Refusal(str(fault), cause, reason, description.get("detail"))
        raise Refusal(str(fault), text, "", None)

    def _decoded(self, reply: Reply) -> Any:
        try:
            return msgspec.json.decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Retryable(f"{self.where} answers what is no JSON: it is no Gnocchi") from error


def canonical(name: str) -> str:
    """Return an id as Gnocchi shows the resource's: UUIDs have several spellings."""
    digits = name.replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "")
    if len(digits) != 32:
        return name
    try:
        number = int(digits, 16)
    except ValueError:
        return name
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _description(reply: Reply) -> Any:
    """Return what a reply says of a fault: Gnocchi's `description`, or Keystone's `message`."""
    try:
        error = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return reply.body[:1000].decode("utf-8", "replace")
    if isinstance(error, dict):
        if "description" in error:
            return error["description"]
        if isinstance(error.get("error"), dict):
            return error["error"].get("message", "")
    return ""


def _text(description: Any) -> str:
    if not isinstance(description, dict):
        return str(description)
    parts = [str(description[key]) for key in ("cause", "reason") if description.get(key)]
    return ": ".join(parts)
