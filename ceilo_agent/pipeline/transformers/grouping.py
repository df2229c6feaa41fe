# SPDX-License-Identifier: Apache-2.0
"""Which samples belong together, and the resource that stands for them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal

from ceilo_agent.errors import Misfit, nearest
from ceilo_agent.sample import Meter, Resource, Sample

Policy = Literal["first", "last"]
Group = tuple[Meter | str | None, ...]
"""The meter, then the value of each field."""

METADATA: Final = "resource_metadata."
FIELDS: Final = ("resource_id", "project_id", "user_id")
_ATTRIBUTES: Final = {"resource_id": "id", "project_id": "project_id", "user_id": "user_id"}

_OF_METADATA: Final = re.compile(r"resource_metadata(\.[^.]+)+")
_TYPES: Final[Mapping[tuple[str, ...], str]] = {("project_id",): "project", ("user_id",): "user"}


def check_fields(fields: Sequence[str]) -> None:
    """Check the fields of a `group_by`.

    Raises:
        Misfit: one cannot be grouped by, or stands twice.
    """
    if not fields:
        what = "group_by: at least one field was expected, found an empty list"
        raise Misfit(what, "group_by")
    for number, field in enumerate(fields):
        if field not in FIELDS and not _OF_METADATA.fullmatch(field):
            hint = nearest(field, FIELDS) or f"it takes {', '.join(FIELDS)}, {METADATA}NAME"
            if field.startswith("resource_metadata"):
                hint = f"write {METADATA}NAME"
            what = f"group_by: there is no field '{field}' ({hint})"
            raise Misfit(what, "group_by", number)
        if field in fields[:number]:
            raise Misfit(f"group_by: '{field}' stands there twice", "group_by", number)


class Grouping:
    """Groups samples by fields.

    Args:
        fields: the names; None: the resource, and its project and user unless a policy is given.
        project: which sample's project stands for the group, where it is no field of it.
        user: the same for the user.
        metadata: the same for the metadata; drop: only the fields of the group.

    Attributes:
        spans: whether several resources can be one group.
    """

    def __init__(
        self,
        fields: Sequence[str] | None,
        project: Policy | None,
        user: Policy | None,
        metadata: Policy | Literal["drop"] | None,
    ) -> None:
        self._explicit = fields is not None
        if fields is None:
            fields = ["resource_id"]
            fields += [] if project else ["project_id"]
            fields += [] if user else ["user_id"]
        self._fields = tuple(fields)
        self.spans = "resource_id" not in self._fields
        # A resource without a policy for its owner has the last one known.
        fallback: Policy | None = None if self.spans else "last"
        self._project = project or fallback
        self._user = user or fallback
        self._metadata = metadata or ("drop" if self.spans else "last")
        self._named = [field for field in self._fields if field.startswith(METADATA)]
        self._whole = self._shared_policy()
        self._paths = {field: field.removeprefix(METADATA).split(".") for field in self._named}

    def __call__(self, sample: Sample) -> Group | None:
        """Return the group of a sample; None when it lacks a field that was asked for."""
        group: list[Meter | str | None] = [sample.meter]
        for field in self._fields:
            value = self._value(sample, field)
            if value is None and self._explicit:
                return None
            group.append(value)
        return tuple(group)

    def lacking(self, sample: Sample) -> str:
        """Return the first field that a sample of no group has no value for."""
        return next(field for field in self._fields if self._value(sample, field) is None)

    def _value(self, sample: Sample, field: str) -> str | None:
        resource = sample.resource
        if field in self._paths:
            return _metadata(resource.metadata, self._paths[field])
        found: str | None = getattr(resource, _ATTRIBUTES[field])
        return found

    def resource(self, group: Group, first: Sample, last: Sample) -> Resource:
        """Return the resource of a group's output.

        Args:
            group: of both samples.
            first: the first sample of the window.
            last: the last one.
        """
        one = {"first": first.resource, "last": last.resource}
        if self._whole is not None:
            return one[self._whole]
        values: dict[str, Any] = dict(zip(self._fields, group[1:], strict=True))
        metadata = (
            {field.removeprefix(METADATA): values[field] for field in self._named}
            if self._metadata == "drop"
            else one[self._metadata].metadata
        )
        return Resource(
            self._id(values, first),
            values.get("project_id", one[self._project].project_id if self._project else None),
            values.get("user_id", one[self._user].user_id if self._user else None),
            _TYPES.get(self._fields, "group") if self.spans else last.resource.type,
            metadata,
        )

    def _shared_policy(self) -> Policy | None:
        """Return which sample's resource is the output's as it is; None where it is made."""
        if self.spans or self._named or self._metadata == "drop":
            return None
        policies = {self._metadata}
        for field, policy in (("project_id", self._project), ("user_id", self._user)):
            if field not in self._fields and policy is not None:
                policies.add(policy)
        return self._metadata if len(policies) == 1 else None

    def _id(self, values: Mapping[str, str], sample: Sample) -> str:
        if self.spans:
            return "/".join(values.values())
        # Two values of a field of one resource are two resources; its owner is no part of its name.
        named: Collection[str] = [values[field] for field in self._named]
        return "/".join((sample.resource.id, *named))


def _metadata(metadata: Mapping[str, Any], path: Sequence[str]) -> str | None:
    """Return a text, number or truth value of the metadata as text; None when there is none."""
    found: Any = metadata
    for part in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    if isinstance(found, bool):
        return str(found).lower()
    return str(found) if isinstance(found, str | int | float) and found != "" else None
