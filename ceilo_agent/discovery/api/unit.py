# SPDX-License-Identifier: Apache-2.0
"""A unit of work: one request to one endpoint, for one project or static resource or neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from ceilo_agent.definition.pollsters.pollster import PollsterDef

PROJECT: Final = ("id", "name", "domain_id", "swift_account", "rgw_user")
"""What expressions may read of a project."""


class ProjectLike(Protocol):
    """A project of the cloud."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def domain_id(self) -> str:
        """The id of its domain."""

    @property
    def swift_account(self) -> str:
        """Its account in Swift."""

    @property
    def rgw_user(self) -> str:
        """Its user in Ceph's object gateway."""


class CloudLike(Protocol):
    """What Keystone knows; any thread may ask."""

    def endpoints(self, service_type: str) -> Sequence[str]:
        """Return the URLs of a service, none if the catalogue does not have it.

        Raises:
            Unavailable: Keystone cannot be asked now.
        """

    def projects(self) -> Sequence[ProjectLike]:
        """Return the projects of the cloud.

        Raises:
            Unavailable: Keystone cannot be asked now.
        """

    def headers(self) -> Mapping[str, str]:
        """Return the headers that let a request in.

        Raises:
            Unavailable: Keystone cannot be asked now.
        """

    def rejected(self) -> None:
        """Hear that a service refused them."""

    def close(self) -> None:
        """Let go of connections."""


class Unit(msgspec.Struct, frozen=True, eq=False):
    """What the inspector reads with one request, or one and its further pages.

    Attributes:
        pollsters: those that share the request, at least one.
        base: the URL that their path is joined to: of an endpoint or a static resource; empty for
            commands and for paths that are URLs.
        project: whose data is asked for, None where the request is of none.
        static: whether a source named the base.
        cloud: gives tokens and further endpoints; None where nothing of the cloud is needed.
    """

    pollsters: tuple[PollsterDef, ...]
    base: str = ""
    project: ProjectLike | None = None
    static: bool = False
    cloud: CloudLike | None = None

    @property
    def request(self) -> PollsterDef:
        """The definition that says how to ask; the others ask alike."""
        return self.pollsters[0]

    @property
    def names(self) -> Mapping[str, Any]:
        """What expressions may name."""
        project = self.project
        if project is None:
            return {"project": None, "endpoint": self.base}
        known = {key: getattr(project, key) for key in PROJECT}
        return {"project": known, "endpoint": self.base}
