# SPDX-License-Identifier: Apache-2.0
"""What Keystone knows of a cloud: its services' endpoints, its projects, and a token."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from keystoneauth1 import exceptions
from keystoneauth1.adapter import Adapter
from keystoneauth1.identity.base import BaseIdentityPlugin

from ceilo_agent.errors import Unavailable
from ceilo_agent.openstack.credentials import Section
from ceilo_agent.openstack.session import session_of, words
from ceilo_agent.plugins import Context

CREDENTIALS: Final = "service_credentials"
"""The section of the agent's options; Ceilometer's name."""

PROJECTS_FOR: Final = 300.0
"""Seconds for which a list of projects is good."""

FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 120.0
"""Seconds before what failed is tried again: the first pause, doubled each time, up to this."""

Result = TypeVar("Result")


class Project(NamedTuple):
    """A project of the cloud.

    Attributes:
        id: of the project.
        name: of the project.
        domain_id: of its domain.
        swift_account: its account in Swift.
        rgw_user: its user in Ceph's object gateway.
    """

    id: str
    name: str
    domain_id: str
    swift_account: str
    rgw_user: str


class _Trial:
    """Tries something, and after a failure not again before a pause that grows."""

    def __init__(self) -> None:
        self._tries = 0
        self._until = 0.0
        self._fault = ""

    def __call__(self, work: Callable[[], Result]) -> Result:
        """Do it.

        Raises:
            Unavailable: it failed, now or before the pause that is on.
        """
        if time.monotonic() < self._until:
            raise Unavailable(self._fault)
        try:
            found = work()
        except Unavailable as error:
            longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._tries)
            pause = random.uniform(longest / 2, longest)  # noqa: S311 - no secret
            self._tries = min(self._tries + 1, 10)
            self._until, self._fault = time.monotonic() + pause, str(error)
            raise
        self._tries = 0
        return found


class Cloud:
    """Asks Keystone, with ``[service_credentials]``. Any thread may use it.

    What fails is tried again after a pause that grows up to two minutes; nobody else waits for it.

    Args:
        context: of the agent.

    Raises:
        ConfigError: the credentials cannot be used.
    """

    def __init__(self, context: Context) -> None:
        credentials = Section(CREDENTIALS, context.options)
        self._keystone = f"Keystone at {credentials.get('auth_url')}"
        self._interface = credentials.get("interface") or "public"
        self._region = credentials.get("region_name")
        self._enabled_only = bool(context.options.get("polling.ignore_disabled_projects"))
        self._reseller_prefix = context.options.get("DEFAULT.reseller_prefix") or ""
        self._has_tenants = bool(context.options.get("rgw_client.implicit_tenants"))
        self._session = session_of(credentials)
        if not isinstance(self._session.auth, BaseIdentityPlugin):
            name = credentials.get("auth_type")
            raise credentials.fault("auth_type", f"{name} is no user of Keystone's: no catalogue")
        self._identity = Adapter(
            self._session,
            service_type="identity",
            interface=self._interface,
            region_name=self._region,
            min_version="3",
            max_version="3.latest",
        )
        self._lock = threading.Lock()
        self._token, self._listing = _Trial(), _Trial()
        self._projects: tuple[float, Sequence[Project]] | None = None

    def endpoints(self, service_type: str) -> Sequence[str]:
        """Return the URLs of a service, by the interface and the region of the options.

        Args:
            service_type: as the catalogue or OpenStack's list of service types has it.

        Raises:
            Unavailable: Keystone cannot be asked now.
        """
        with self._lock:
            catalogue = self._token(self._access).service_catalog
        found = catalogue.get_urls(
            service_type=service_type, interface=self._interface, region_name=self._region
        )
        return tuple(dict.fromkeys(url.rstrip("/") for url in found))

    def projects(self) -> Sequence[Project]:
        """Return all projects, or with ``[polling] ignore_disabled_projects`` those in use.

        Raises:
            Unavailable: Keystone cannot be asked now.
        """
        with self._lock:
            now = time.monotonic()
            if self._projects is None or now - self._projects[0] > PROJECTS_FOR:
                self._projects = now, self._listing(self._listed)
            return self._projects[1]

    def headers(self) -> Mapping[str, str]:
        """Return a header with a token, a new one before the old one ends.

        Raises:
            Unavailable: Keystone cannot be asked now.
        """
        with self._lock:
            token = self._token(self._access).auth_token
        return {"X-Auth-Token": token}

    def rejected(self) -> None:
        """Ask for another token next time: a service has refused this one."""
        with self._lock:
            self._session.invalidate()

    def close(self) -> None:
        """Let go of connections."""
        web: Any = self._session.session
        web.close()

    def _access(self) -> Any:
        plugin: Any = self._session.auth
        try:
            access = plugin.get_access(self._session)
        except exceptions.ClientException as error:
            raise Unavailable(f"{self._keystone}: {words(error)}") from error
        if not access.has_service_catalog():
            raise Unavailable(f"{self._keystone}: the token has no catalogue: it is of no project")
        return access

    def _listed(self) -> Sequence[Project]:
        found = self._get("projects")
        if self._enabled_only:
            domains = {each["id"] for each in self._get("domains") if each.get("enabled")}
            found = [p for p in found if p.get("enabled") and p.get("domain_id") in domains]
        return [self._project(p["id"], p.get("name", ""), p.get("domain_id", "")) for p in found]

    def _project(self, id_: str, name: str, domain_id: str) -> Project:
        user = f"{id_}${id_}" if self._has_tenants else id_
        return Project(id_, name, domain_id, f"{self._reseller_prefix}{id_}", user)

    def _get(self, name: str) -> list[dict[str, Any]]:
        try:
            body = self._identity.get(f"/{name}").json()
            found = [each for each in body[name] if isinstance(each["id"], str)]
        except exceptions.ClientException as error:
            raise Unavailable(f"{self._keystone}, {name}: {words(error)}") from error
        except (ValueError, LookupError, TypeError) as error:
            raise Unavailable(f"{self._keystone}, {name}: it gave no list of them") from error
        return found
