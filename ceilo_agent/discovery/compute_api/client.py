# SPDX-License-Identifier: Apache-2.0
"""Asks Nova for the servers of a host: one request, or one for each page."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec
import requests
from keystoneauth1 import exceptions

from ceilo_agent.errors import Unavailable
from ceilo_agent.openstack.credentials import Section
from ceilo_agent.openstack.session import session_of, words

SERVICE_TYPE: Final = "compute"
"""Nova's in Keystone's catalogue."""

MAX_PAGES: Final = 100
"""Nova gives 1,000 servers at once by default (``[api] max_limit``)."""


class Answer(NamedTuple):
    """What Nova told.

    Attributes:
        servers: as it shows them.
        moment: when it began to tell, by its own clock; seconds since 1970.
    """

    servers: list[dict[str, Any]]
    moment: float


class Client:
    """Speaks to the Nova of Keystone's catalogue. For one thread.

    Args:
        options: the agent's, by ``section.name``.
        section: whose credentials are used.

    Raises:
        ConfigError: they cannot be used.
    """

    def __init__(self, options: Mapping[str, Any], section: str) -> None:
        credentials = Section(section, options)
        self._keystone = f"Keystone at {credentials.get('auth_url')}"
        self._filter = {
            "service_type": SERVICE_TYPE,
            "interface": credentials.get("interface") or "public",
            "region_name": credentials.get("region_name"),
        }
        self._session = session_of(credentials)

    def servers(self, host: str, since: float | None = None) -> Answer:
        """List the servers on a host, of all projects.

        Args:
            host: as Nova calls it.
            since: list only those that changed since then, deleted ones among them.

        Raises:
            Unavailable: Nova or Keystone does not answer, or not with a list.
        """
        url = f"{self._endpoint()}/servers/detail"
        query: dict[str, str] = {"host": host, "all_tenants": "1"}
        if since is not None:
            query["changes-since"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
        found: list[dict[str, Any]] = []
        moment = 0.0
        page: Mapping[str, str] | None = query
        for _ in range(MAX_PAGES):
            if page is None:
                break
            response = self._get(url, page)
            moment = moment or _date(response)
            body = _decoded(response, url)
            found.extend(body["servers"])
            # The link's host may be one that only the other side of a proxy knows.
            page = _next(body, page)
        return Answer(found, moment)

    def _endpoint(self) -> str:
        try:
            found = self._session.get_endpoint(**self._filter, skip_discovery=True)
        except exceptions.ClientException as error:
            raise Unavailable(f"{self._keystone}: {words(error)}") from error
        if not found:
            asked = ", ".join(f"{key} {value}" for key, value in self._filter.items() if value)
            raise Unavailable(f"{self._keystone}: its catalogue has no endpoint of {asked}")
        place = found.rstrip("/")
        return place if re.search(r"/v2(\.\d+)?(/|$)", place) else f"{place}/v2.1"

    def _get(self, url: str, query: Mapping[str, str]) -> requests.Response:
        try:
            response = self._session.get(url, params=query, raise_exc=False, log=False)
        except exceptions.ClientException as error:
            raise Unavailable(f"Nova at {_place(url)}: {words(error)}") from error
        if response.status_code != requests.codes.ok:
            hint = ""
            if response.status_code in {requests.codes.forbidden, requests.codes.bad_request}:
                hint = "; listing a host's servers takes the role that Nova's policy asks for"
            raise Unavailable(f"Nova at {_place(url)} answers {response.status_code}{hint}")
        return response


def _place(url: str) -> str:
    """Return a URL without user name, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _decoded(response: requests.Response, url: str) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("servers"), list):
        raise Unavailable(f"{_place(url)} answers what is no list of servers: it is no Nova")
    return body


def _next(body: Mapping[str, Any], last: Mapping[str, str]) -> Mapping[str, str] | None:
    """Return the query of the next page, None after the last one."""
    for link in body.get("servers_links") or ():
        if isinstance(link, dict) and link.get("rel") == "next":
            pairs: list[tuple[str, str]] = parse_qsl(urlsplit(str(link.get("href", ""))).query)
            marker = {key: value for key, value in pairs if key in {"marker", "limit"}}
            following = {**last, **marker}
            return following if following != last else None
    return None


def _date(response: requests.Response) -> float:
    """Return the server's clock: changes are asked for by it, not by ours."""
    try:
        return email.utils.parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return time.time()
