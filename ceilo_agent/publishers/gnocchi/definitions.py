# SPDX-License-Identifier: Apache-2.0
"""gnocchi_resources.yaml: which meter goes to which resource type, under which archive policy.

Ceilometer's file of this name loads unchanged. ``schema:`` of a resource type and patterns of
metrics are ours; Ceilometer passes them over.
"""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

from ceilo_agent.definition import document
from ceilo_agent.definition.meters import is_glob
from ceilo_agent.definition.nodes import ListNode, MappingNode, Node, Position
from ceilo_agent.definition.places import may_exist
from ceilo_agent.definition.reader import Reader, given
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.publishers.gnocchi.attributes import Attribute, document_of, read_attributes
from ceilo_agent.publishers.gnocchi.policies import ArchivePolicy, read_policies
from ceilo_agent.publishers.gnocchi.schemas import TEXT, Schema, read_schema, schema_of
from ceilo_agent.sample import Sample
from ceilo_agent.shown import shown

NAME: Final = "gnocchi_resources.yaml"
DIRECTORIES: Final = (
    Path("/etc/ceilo_agent"),
    Path(__file__).resolve().parents[3] / "etc",
    Path(sys.prefix) / "etc" / "ceilo_agent",
)
"""Where the file is looked for: the operator's, that of a source tree, the installed one."""

CEILOMETERS: Final = Path("/etc/ceilometer")
"""Where a file that is named without its directory is looked for, too: behind the first of them."""

DEFAULT_POLICY: Final = "ceilometer-low"
"""Of a metric for which the file names none, where it has no `archive_policy_default`."""

_BASE: Final = frozenset(("project_id", "user_id"))
"""What every resource has, whatever its type."""

_KEYS: Final = ("archive_policy_default", "archive_policies", "resources")
_ONE_OR_MORE: Final = ("event_create", "event_delete", "event_update")
_EVENTS: Final = (*_ONE_OR_MORE, "event_attributes", "event_associated_resources")
_OF_TYPE: Final = ("resource_type", "metrics", "attributes", "schema", "archive_policy", *_EVENTS)


class ResourceType:
    """One resource type of the file.

    Attributes:
        name: as in Gnocchi.
        schema: what its attributes are to be in Gnocchi, by name.
    """

    def __init__(self, name: str, schema: Schema, attributes: Mapping[str, Attribute]) -> None:
        self.name = name
        self.schema = schema
        self._attributes = attributes

    def attributes(self, sample: Sample) -> dict[str, Any]:
        """Return the attributes that a sample tells of, by name: what has no value is not there.

        The values are those of the sample; to fit them to the type is the caller's part.
        """
        if not self._attributes:
            return {}
        whole = document_of(sample)
        found = ((name, attribute(whole)) for name, attribute in self._attributes.items())
        return {name: value for name, value in found if value is not None}

    def __repr__(self) -> str:
        return f"<ResourceType {self.name}>"


class _Mapped(NamedTuple):
    """Where a metric goes."""

    type: ResourceType
    policy: str


class Definitions:
    """What a definition file says.

    Attributes:
        path: of the file.
        digest: SHA-256 of its bytes, in hexadecimal.
        warnings: what works but should not stay.
        archive_policies: those that it defines, by name.
        resource_types: by name.
        default_policy: the archive policy of metrics for which it names none.
        policies_used: the names of all archive policies that metrics are to have.
    """

    def __init__(
        self,
        path: Path,
        digest: str,
        warnings: Sequence[Fault],
        archive_policies: Mapping[str, ArchivePolicy],
        resource_types: Mapping[str, ResourceType],
        default_policy: str,
        metrics: Mapping[str, tuple[str, str]],
    ) -> None:
        self.path = path
        self.digest = digest
        self.warnings = tuple(warnings)
        self.archive_policies = MappingProxyType(dict(archive_policies))
        self.resource_types = MappingProxyType(dict(resource_types))
        self.default_policy = default_policy
        self.policies_used = frozenset(policy for _, policy in metrics.values()) | {default_policy}
        mapped = {
            name: _Mapped(resource_types[kind], policy) for name, (kind, policy) in metrics.items()
        }
        self._metrics = {name: found for name, found in mapped.items() if not is_glob(name)}
        # Of several patterns the last counts, as of several types of one metric.
        self._patterns = [
            (re.compile(fnmatch.translate(name)), found)
            for name, found in reversed(mapped.items())
            if is_glob(name)
        ]

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """Read a definition file; without a path the one that is in force.

        Raises:
            ConfigError: every mistake in it, with line and column.
        """
        file = find(path)
        content = document.read(file)
        found = document.parse(content.text, str(file))
        reader = Reader(str(file), found)
        if found.root is None:
            raise ConfigError([*found.faults, Fault(str(file), 0, 0, "the file is empty")])
        made = _File(reader)
        made.read(found.root)
        if reader.faults:
            raise ConfigError(reader.faults)
        types = {name: part.made() for name, part in made.types.items()}
        metrics = {name: (kind, policy) for name, (kind, policy, _) in made.metrics.items()}
        return cls(
            file, content.digest, reader.warnings, made.policies, types, made.default, metrics
        )

    def resource_type_of(self, meter: str) -> ResourceType | None:
        """Return the resource type that a meter goes to, None where the file does not say."""
        found = self._mapped(meter)
        return None if found is None else found.type

    def archive_policy_of(self, meter: str) -> str:
        """Return the name of the archive policy of a meter's metrics."""
        found = self._mapped(meter)
        return self.default_policy if found is None else found.policy

    def _mapped(self, meter: str) -> _Mapped | None:
        found = self._metrics.get(meter)
        if found is None:
            for pattern, mapped in self._patterns:
                if pattern.match(meter):
                    return mapped
        return found


def find(path: Path | None) -> Path:
    """Return where the definition file is: at an absolute path, else in the first of the places.

    The directory that a command or the daemon happens to run in is none of them. Ceilometer's
    default, the bare name of the shipped file, is that file where nobody has one of his own.

    Raises:
        ConfigError: it is not there; the fault names the places.
    """
    hint = "leave resources_definition_file out for the file that came with this agent"
    places: tuple[Path, ...] = DIRECTORIES
    if path is None:
        hint = "name one with the publisher's option resources_definition_file"
    elif path.is_absolute():
        if may_exist(path):
            return path
        raise ConfigError([Fault(str(path), 0, 0, "no such file", hint)])
    else:
        places = (DIRECTORIES[0], CEILOMETERS, *DIRECTORIES[1:])
    name = path or Path(NAME)
    for directory in places:
        if may_exist(directory / name):
            return directory / name
    what = f"no such file in {', '.join(map(str, places))}"
    raise ConfigError([Fault(str(name), 0, 0, what, hint)])


class _Part:
    """A resource type while the file is read; one that stands twice is put together."""

    def __init__(self, name: str, place: Position) -> None:
        self.name = name
        self.place = place
        self.attributes: dict[str, Attribute] = {}
        self.rules: dict[str, Mapping[str, Any]] = {}

    def made(self) -> ResourceType:
        """Return the type; attributes of which nothing is known are texts."""
        schema = {name: TEXT for name in self.attributes if name not in _BASE}
        return ResourceType(
            self.name, {**schema, **schema_of(self.name), **self.rules}, self.attributes
        )


class _File:
    """Reads the nodes of one file.

    Attributes:
        default: the archive policy of metrics that name none.
        policies: by name.
        types: by name.
        metrics: resource type, archive policy and position by the name or pattern of the metric.
    """

    def __init__(self, reader: Reader) -> None:
        self.default = DEFAULT_POLICY
        self.policies: dict[str, ArchivePolicy] = {}
        self.types: dict[str, _Part] = {}
        self.metrics: dict[str, tuple[str, str, Position]] = {}
        self._reader = reader

    def read(self, root: Node) -> None:
        """Read the whole; mistakes go to the reader."""
        reader = self._reader
        top = reader.mapping(root, f"a mapping with {', '.join(_KEYS)}")
        if top is None:
            return
        reader.keys(top, _KEYS)
        if (node := given(top, "archive_policy_default")) is not None:
            self.default = reader.text(node, "the name of an archive policy") or self.default
        if (node := given(top, "archive_policies")) is not None:
            self.policies = read_policies(reader, node)
        if (node := given(top, "resources")) is not None:
            for item in reader.items(node, "a list of resource types") or ():
                mapping = reader.mapping(item, "a resource type")
                if mapping is not None:
                    self._type(mapping)

    def _type(self, node: MappingNode) -> None:
        reader = self._reader
        reader.keys(node, _OF_TYPE, required=("resource_type", "metrics"))
        if "resource_type" not in node.entries:
            return
        written = node.entries["resource_type"]
        name = reader.text(written, "the name of a resource type")
        if name is None:
            return
        if len(name) > _LONGEST or "/" in name:
            what = f"'{shown(name)}' is no name for a resource type"
            reader.fault(written.position, what, f"at most {_LONGEST} characters, none of them '/'")
        part = self.types.setdefault(name, _Part(name, written.position))
        if part.place != written.position:
            what = f"the resource type '{shown(name)}' stands twice"
            reader.warn(written.position, what, f"taken together with line {part.place.line}")
        if (attributes := given(node, "attributes")) is not None:
            part.attributes |= read_attributes(reader, attributes)
        if (schema := given(node, "schema")) is not None:
            part.rules |= read_schema(reader, schema)
        if "metrics" in node.entries:
            self._metrics(node.entries["metrics"], name, self._one_policy(node, name))
        _check_events(reader, node)

    def _one_policy(self, node: MappingNode, name: str) -> str | None:
        """Return the archive policy of all metrics of a type, as old files name it."""
        written = given(node, "archive_policy")
        if written is None:
            return None
        what = f"archive_policy of the resource type '{shown(name)}' is an old key"
        self._reader.warn(written.position, what, "give each metric an archive_policy_name")
        return self._reader.text(written, "the name of an archive policy")

    def _metrics(self, node: Node, kind: str, policy: str | None) -> None:
        reader = self._reader
        if isinstance(node, ListNode):
            for name, place in reader.texts(node, "a list of metrics", "a metric") or ():
                self._metric(name, place, kind, policy or self.default)
            return
        mapping = reader.mapping(node, "a mapping or a list of metrics")
        for name in mapping.entries if mapping else ():
            assert mapping is not None
            own = self._own_policy(mapping, name)
            self._metric(name, mapping.keys[name], kind, policy or own or self.default)

    def _own_policy(self, metrics: MappingNode, name: str) -> str | None:
        extra = given(metrics, name)
        if extra is None:
            return None
        mapping = self._reader.mapping(extra, "nothing, or a mapping with archive_policy_name")
        if mapping is None:
            return None
        self._reader.keys(mapping, ("archive_policy_name",))
        written = given(mapping, "archive_policy_name")
        return None if written is None else self._reader.text(written, "an archive policy's name")

    def _metric(self, name: str, place: Position, kind: str, policy: str) -> None:
        before = self.metrics.pop(name, None)
        if before is not None:
            was, _, first = before
            what = f"the metric '{shown(name)}' stands twice, this one counts"
            hint = f"line {first.line} gives it to the resource type '{shown(was)}'"
            self._reader.warn(place, what, hint)
        self.metrics[name] = (kind, policy, place)


_LONGEST: Final = 255
"""Characters of a resource type's name."""


def _check_events(reader: Reader, node: MappingNode) -> None:
    """Check what a type says of events: this agent does not act on them, Ceilometer does."""
    for key in _ONE_OR_MORE:
        value = given(node, key)
        if isinstance(value, ListNode):
            reader.texts(value, "a list of event types", "an event type")
        elif value is not None:
            reader.text(value, "an event type")
    for key in _EVENTS[len(_ONE_OR_MORE) :]:
        value = given(node, key)
        mapping = None if value is None else reader.mapping(value, "a mapping")
        for each in mapping.entries.values() if mapping else ():
            reader.text(each, "a text")
    attributes = node.entries.get("event_attributes")
    if not any(key in node.entries for key in _ONE_OR_MORE):
        return
    if not isinstance(attributes, MappingNode) or "id" not in attributes.entries:
        place = node.position if attributes is None else attributes.position
        reader.fault(place, "event_attributes: the key 'id' is missing")
