# SPDX-License-Identifier: Apache-2.0
"""`relabel`: other names of meters, other metadata of resources, the same readings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from ceilo_agent.pipeline.transformers.bounds import NO_VOLUME
from ceilo_agent.pipeline.transformers.mapping import (
    MapFrom,
    MapTo,
    MeterMap,
    Name,
    Pattern,
    Source,
)
from ceilo_agent.pipeline.transformers.mapping import Target as MappedTarget
from ceilo_agent.plugins import Transformer
from ceilo_agent.sample import Meter, Resource, Sample
from ceilo_agent.volumes import is_volume


class Metadata(msgspec.Struct, frozen=True):
    """What becomes of the metadata: first `rename`, then `remove`, then `set`."""

    set: Annotated[
        dict[str, str | int | float | bool],
        Meta(description="Values by key; what a key had before is replaced."),
    ] = {}
    rename: Annotated[
        dict[str, str], Meta(description="New keys by old ones; what is not there stays away.")
    ] = {}
    remove: Annotated[list[str], Meta(description="Keys that are taken out.")] = []

    def __post_init__(self) -> None:
        """Refuse changes that undo each other."""
        for new, count in Counter([*self.rename.values(), *self.set]).items():
            if count > 1:
                raise ValueError(f"metadata: '{new}' is given more than once")
        for key in self.remove:
            if key in self.rename or key in self.set or key in self.rename.values():
                raise ValueError(f"metadata: '{key}' is removed and given at once")


class RelabelParameters(msgspec.Struct, frozen=True):
    """What operators may write."""

    name: Annotated[
        Name | None,
        Meta(description="The new name of every meter that goes in."),
    ] = None
    map_from: Annotated[
        Pattern | None, Meta(description="Regular expression: what to replace in the name.")
    ] = None
    map_to: Annotated[
        str | None, Meta(description="The replacement; `\\1` is the first group.")
    ] = None
    metadata: Annotated[
        Metadata | None, Meta(description="What to change in the metadata of the resource.")
    ] = None

    def __post_init__(self) -> None:
        """Refuse parameters that do not fit each other."""
        if self.name is not None and (self.map_from or self.map_to is not None):
            raise ValueError("name gives one name, map_from and map_to change it: not both")
        if (self.map_from is None) != (self.map_to is None):
            raise ValueError("map_from and map_to need each other")
        if self.map_from is not None and self.map_to is not None:
            self.map_from.check(self.map_to)
        changed = self.metadata and (
            self.metadata.set or self.metadata.rename or self.metadata.remove
        )
        if self.name is None and self.map_from is None and not changed:
            raise ValueError("it changes nothing: it takes name, map_from and map_to, or metadata")


class Relabel(Transformer):
    """Gives samples other names and metadata; volumes, previous readings and starts stay."""

    Parameters: ClassVar[type[msgspec.Struct]] = RelabelParameters

    def __init__(self, parameters: RelabelParameters) -> None:
        super().__init__(parameters)
        source = Source(map_from=MapFrom(name=parameters.map_from))
        target = MappedTarget(name=parameters.name, map_to=MapTo(name=parameters.map_to))
        self._meters = MeterMap(source, target)
        self._metadata = parameters.metadata

    def __call__(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return the samples under their new names; those of one resource go on sharing it."""
        meters = self._meters
        resources: dict[int, Resource] = {}
        made = []
        for sample in samples:
            if not is_volume(sample.volume):
                self.drop(sample, NO_VOLUME)
                continue
            resource = resources.get(id(sample.resource))
            if resource is None:
                resource = resources[id(sample.resource)] = self._relabel(sample.resource)
            made.append(
                Sample(
                    meters[sample.meter] or sample.meter,
                    resource,
                    sample.time,
                    sample.volume,
                    sample.previous,
                    sample.started,
                    sample.source,
                )
            )
        return made

    def outcome(self, meters: Collection[Meter]) -> Collection[Meter]:
        """Return the meters under their new names.

        Raises:
            NeverMatches: `map_from` matches the name of none.
        """
        return self._meters.outcome(meters)

    def _relabel(self, resource: Resource) -> Resource:
        change = self._metadata
        if change is None:
            return resource
        before = resource.metadata
        gone = change.rename.keys() | set(change.remove)
        after: dict[str, Any] = {key: value for key, value in before.items() if key not in gone}
        after |= {new: before[old] for old, new in change.rename.items() if old in before}
        after |= change.set
        return Resource(resource.id, resource.project_id, resource.user_id, resource.type, after)
