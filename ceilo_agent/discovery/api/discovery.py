# SPDX-License-Identifier: Apache-2.0
"""Discovery of what pollsters' definitions ask: the units of work that agents share."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

from ceilo_agent.definition.pollsters.pollster import PollsterDef
from ceilo_agent.discovery.api.definitions import definitions, unasked
from ceilo_agent.discovery.api.grouping import Group, grouped, is_url
from ceilo_agent.discovery.api.unit import CloudLike, ProjectLike, Unit
from ceilo_agent.errors import ConfigError, Unavailable
from ceilo_agent.plugins import Context, Discovery, Listing, Target

LOG = logging.getLogger(__name__)


class ApiDiscovery(Discovery):
    """Lists one target per request and endpoint, project or static resource.

    What Keystone told last is kept while it is away. A service that is not in its catalogue has no
    targets.
    """

    shared = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._groups = grouped([each for each in definitions(context) if not unasked(each)])
        self._meters: frozenset[str] | None = None
        self._resources: Sequence[str] = ()
        self._cloud: CloudLike | None = None
        self._endpoints: dict[str, Sequence[str]] = {}
        self._projects: Sequence[ProjectLike] = ()
        self._faults: Mapping[str, str] = {}

    def want(self, meters: frozenset[str], resources: Sequence[str]) -> None:
        """List only the requests of these meters, of these resources if there are any."""
        self._meters = meters
        self._resources = tuple(dict.fromkeys(resources))

    def discover(self, deadline: float) -> Listing:
        """List the units of work.

        Raises:
            Unavailable: Keystone cannot be asked, and nothing is known without it.
        """
        del deadline  # what the cloud says is cached, and bounded in time by itself
        faults: dict[str, str] = {}
        units = (self._static if self._resources else self._found)(faults)
        targets = [Target(id_, unit) for id_, unit in units]
        if faults and not targets:
            raise Unavailable("; ".join(sorted(set(faults.values()))))
        self._tell(faults)
        return Listing(targets, complete=not faults)

    def close(self) -> None:
        """Let go of the connection to Keystone."""
        if self._cloud is not None:
            self._cloud.close()

    def _wanted(self) -> Iterator[Group]:
        """Yield the groups of what is wanted; a group keeps its name whoever of it is wanted."""
        for group in self._groups:
            if self._meters is None or any(p.name in self._meters for p in group.pollsters):
                yield group

    def _static(self, faults: dict[str, str]) -> Iterator[tuple[str, Unit]]:
        for group in self._wanted():
            first = group.pollsters[0]
            if not takes_base(first):
                continue
            cloud = self._of_cloud(faults) if _has_type(first, "keystone") else None
            for base in self._resources:
                unit = Unit(group.pollsters, base, static=True, cloud=cloud)
                yield f"{group.name} {base}", unit

    def _found(self, faults: dict[str, str]) -> Iterator[tuple[str, Unit]]:
        for group in self._wanted():
            first = group.pollsters[0]
            if first.host_command:
                yield group.name, Unit(group.pollsters)
            elif is_url(first.url_path):
                cloud = self._of_cloud(faults) if _has_type(first, "keystone") else None
                yield group.name, Unit(group.pollsters, cloud=cloud)
            elif first.discovery != "resources":
                yield from self._of_service(group, faults)

    def _of_service(self, group: Group, faults: dict[str, str]) -> Iterator[tuple[str, Unit]]:
        first = group.pollsters[0]
        cloud = self._of_cloud(faults)
        if cloud is None or not first.endpoint_type:
            return
        service = first.endpoint_type
        try:
            self._endpoints[service] = cloud.endpoints(service)
        except Unavailable as error:
            faults[service] = str(error)
        projects: Sequence[ProjectLike | None] = (None,)
        if first.discovery == "projects":
            try:
                self._projects = cloud.projects() if self._endpoints.get(service) else ()
            except Unavailable as error:
                faults["projects"] = str(error)
            projects = self._projects
        for base in self._endpoints.get(service, ()):
            for project in projects:
                unit = Unit(group.pollsters, base, project, cloud=cloud)
                of = "" if project is None else f" {project.id}"
                yield f"{group.name} {base}{of}", unit

    def _of_cloud(self, faults: dict[str, str]) -> CloudLike | None:
        """Return what asks Keystone; None, and a fault, if it cannot work as configured."""
        if self._cloud is None:
            # keystoneauth is not for agents that ask no cloud.
            try:
                from ceilo_agent.openstack.cloud import Cloud  # noqa: PLC0415

                self._cloud = Cloud(self.context)
            except ConfigError as error:
                faults["keystone"] = str(error)
            except ModuleNotFoundError as error:
                faults["keystone"] = (
                    f"{error.name} is not installed: pip install 'ceilo_agent[central]'"
                )
        return self._cloud

    def _tell(self, faults: Mapping[str, str]) -> None:
        """Log faults when they come and when they go, not in every cycle."""
        for name, reason in faults.items():
            if self._faults.get(name) != reason:
                LOG.warning("api: what there is of %s is not known now: %s", name, reason)
        for name in self._faults.keys() - faults.keys():
            LOG.info("api: what there is of %s is known again", name)
        self._faults = faults


def takes_base(pollster: PollsterDef) -> bool:
    """Return whether a definition has a use for a base URL."""
    once = pollster.host_command or is_url(pollster.url_path)
    return not once and pollster.discovery != "projects"


def _has_type(pollster: object, kind: str) -> bool:
    authentication = getattr(pollster, "authentication", None)
    return authentication is not None and authentication.type == kind
