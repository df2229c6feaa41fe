# SPDX-License-Identifier: Apache-2.0
"""From an entry of an answer to observations, as one pollster's definition says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from ceilo_agent.definition.pollsters.pollster import PollsterDef
from ceilo_agent.discovery.api.unit import Unit
from ceilo_agent.expressions.value import Absent, Unusable, Value
from ceilo_agent.inspection.api.entries import Unread
from ceilo_agent.inspection.api.numbers import NoNumber, volume_of
from ceilo_agent.plugins import Column, Observation
from ceilo_agent.sample import Meter, Resource

MOST_NAMES: Final = 1000
"""Meters that one definition may make of what an API tells."""

LONGEST_ID: Final = 1024
"""Characters; the stores have less room for one."""

_NAME: Final = re.compile(r"[\w.:-]{1,255}")


class Moment(NamedTuple):
    """When an answer was read.

    Attributes:
        time: UTC seconds.
        clock: CLOCK_BOOTTIME.
    """

    time: float
    clock: float


class Found(NamedTuple):
    """What an entry says, but for its metadata.

    Attributes:
        resource: its resource's id.
        project: the id of its project.
        user: the id of its user.
        value: before it is made a number; None: the API has none.
        volumes: by column.
        entry: with what Ceilometer adds to it, for the expressions of metadata.
    """

    resource: str
    project: str | None
    user: str | None
    value: Any
    volumes: list[tuple[tuple[Column, ...], Any]]
    entry: Any


class Extractor:
    """Reads entries for one pollster. Several threads may use it.

    Args:
        pollster: says how.
    """

    def __init__(self, pollster: PollsterDef) -> None:
        self.pollster = pollster
        self._columns: dict[str, tuple[Column, ...]] = {}
        self._column(pollster.name)

    def find(self, entry: Any, unit: Unit, names: Mapping[str, Any]) -> Found | None:
        """Return what an entry says; None: the definition skips it.

        Raises:
            Unread: it lacks something, or what it has cannot be used.
        """
        pollster = self.pollster
        value = _required(pollster.value_attribute, entry, names, "value_attribute")
        volumes: list[tuple[tuple[Column, ...], Any]] = []
        if pollster.sub_meter is None:
            if _among(value, pollster.skip_sample_values):
                return None
            volumes.append((self._column(pollster.name), self.mapped(value)))
        else:
            volumes += self._sub_meters(value, names)
        resource = self._resource(entry, unit, names)
        project = _identity(pollster.project_id_attribute, entry, names, "project_id")
        if project is None and unit.project is not None:
            project = unit.project.id
        user = _identity(pollster.user_id_attribute, entry, names, "user_id")
        if isinstance(entry, dict):
            entry = {**entry, "id": resource, "project_id": project, "user_id": user}
        return Found(resource, project, user, value, volumes, entry)

    def revalued(self, found: Found, value: Any) -> Found:
        """Return what an entry says, with another value."""
        volumes = [(columns, self.mapped(value)) for columns, _ in found.volumes]
        return found._replace(value=value, volumes=volumes)

    def mapped(self, value: Any) -> Any:
        """Return a value after `value_mapping`."""
        pollster = self.pollster
        if not pollster.value_mapping:
            return value
        try:
            return pollster.value_mapping.get(value, pollster.default_value)
        except TypeError:  # a list or a mapping is no key
            return pollster.default_value

    def metadata(self, entry: Any, names: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metadata of an entry; what it does not have is left out.

        Raises:
            Unread: an expression fails.
        """
        found: dict[str, Any] = {}
        for name, value in self.pollster.metadata_fields.items():
            try:
                found[name] = value(entry, names)
            except Absent:
                continue
            except Unusable as error:
                raise Unread(f"metadata_fields '{name}': {error}") from error
        for old, new in self.pollster.metadata_mapping.items():
            if old in found:
                found[new] = found[old]
                if not self.pollster.preserve_mapped_metadata and new != old:
                    del found[old]
        return found

    def observations(
        self, found: Found, metadata: Mapping[str, Any], moment: Moment, owner: str
    ) -> Iterator[Observation]:
        """Yield the observations of what was found.

        Raises:
            Unread: a value is no number; those before it are good.
        """
        resource = Resource(found.resource, found.project, found.user, self.pollster.kind, metadata)
        for columns, value in found.volumes:
            if value is None:
                continue  # what the other side did not give is no zero
            try:
                volume = volume_of(value)
            except NoNumber as error:
                raise Unread(f"the value: {error}") from error
            yield Observation(resource, columns, (volume,), moment.time, moment.clock, owner)

    def _sub_meters(
        self, listed: Any, names: Mapping[str, Any]
    ) -> Iterator[tuple[tuple[Column, ...], Any]]:
        """Yield the columns and values of a definition that makes several meters of an entry."""
        pollster = self.pollster
        assert pollster.sub_meter is not None
        assert pollster.sub_value is not None
        if not isinstance(listed, list):
            raise Unread("the value of a name with {...} is no list")
        stem, attribute = pollster.sub_meter
        for part in listed:
            name = part.get(attribute) if isinstance(part, dict) else None
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise Unread(f"a part of its list has no '{attribute}' that can name a meter")
            value = _required(pollster.sub_value, part, names, "value_attribute")
            skipped = pollster.skip_sample_values
            if not _among(value, skipped) and not _among(name, skipped):
                yield self._column(f"{stem}{name}"), value

    def _column(self, name: str) -> tuple[Column, ...]:
        """Return the columns of a meter, the same object each time."""
        found = self._columns.get(name)
        if found is None:
            if len(self._columns) > MOST_NAMES:
                raise Unread(f"it makes more than {MOST_NAMES} meters of what is told")
            pollster = self.pollster
            made = (Column(Meter(name, pollster.unit, pollster.sample_type)),)
            found = self._columns.setdefault(name, made)
        return found

    def _resource(self, entry: Any, unit: Unit, names: Mapping[str, Any]) -> str:
        attribute = self.pollster.resource_id_attribute
        if attribute is not None:
            found = _identity(attribute, entry, names, "resource_id_attribute")
            if not found:
                raise Unread(f"no resource id: {attribute} leads to nothing")
            return found
        own = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(own, str) and own:
            return _short(own, "id")
        if unit.project is not None:
            return unit.project.id
        return unit.base or self.pollster.name


def _required(attribute: Value, entry: Any, names: Mapping[str, Any], key: str) -> Any:
    try:
        return attribute(entry, names)
    except (Absent, Unusable) as error:
        raise Unread(f"{key}: {error}") from error


def _identity(
    attribute: Value | None, entry: Any, names: Mapping[str, Any], key: str
) -> str | None:
    """Return an id; None where there is none."""
    if attribute is None:
        return None
    try:
        found = attribute(entry, names)
    except Absent:
        return None
    except Unusable as error:
        raise Unread(f"{key}: {error}") from error
    if found is None:
        return None
    if isinstance(found, str):
        return _short(found, key)
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    raise Unread(f"{key}: it is no text")


def _short(text: str, key: str) -> str:
    if len(text) > LONGEST_ID:
        raise Unread(f"{key}: it has more than {LONGEST_ID} characters")
    return text


def _among(value: Any, values: Any) -> bool:
    return value in values if values else False
