# SPDX-License-Identifier: Apache-2.0
"""The attributes of the resource types: those that Ceilometer 27 creates in Gnocchi, and ours.

Names, types and lengths of Ceilometer's (``ceilometer-upgrade``, release 27.0.0) stay as they are:
rating, alarms and dashboards query them. The form is that of Gnocchi's REST API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from ceilo_agent.definition.nodes import MappingNode, Node, Position, ScalarNode
from ceilo_agent.definition.reader import Reader
from ceilo_agent.definition.settings import read_settings
from ceilo_agent.errors import Misfit
from ceilo_agent.shown import shown

Schema = Mapping[str, Mapping[str, Any]]
"""The attributes of a resource type by name: `type`, `required`, and bounds."""

TEXT: Final[Mapping[str, Any]] = {
    "type": "string", "min_length": 0, "max_length": 255, "required": False,
}  # fmt: skip
"""An attribute of which nothing else is said."""
_NAME: Final = {**TEXT, "required": True}
_UUID: Final = {"type": "uuid", "required": False}
_OWNER: Final = {"type": "uuid", "required": True}
_MOMENT: Final = {"type": "datetime", "required": False}
_NUMBER: Final = {"type": "number", "min": None, "max": None, "required": False}


def _texts(*names: str) -> dict[str, Mapping[str, Any]]:
    return dict.fromkeys(names, TEXT)


CEILOMETER: Final[Mapping[str, Schema]] = {
    "ceph_account": {},
    "dns_zone": _texts("zone_name", "email", "zone_type", "pool_id"),
    "host": {"host_name": _NAME},
    "host_disk": {"host_name": _NAME, "device_name": TEXT},
    "host_network_interface": {"host_name": _NAME, "device_name": TEXT},
    "identity": {},
    "image": {"name": _NAME, "container_format": TEXT, "disk_format": TEXT},
    "instance": {
        "flavor_id": _NAME,
        "flavor_name": _NAME,
        "display_name": _NAME,
        **_texts("image_ref", "host", "server_group", "availability_zone"),
        "launched_at": _MOMENT,
        "created_at": _MOMENT,
        "deleted_at": _MOMENT,
    },
    "instance_disk": {"name": _NAME, "instance_id": _OWNER},
    "instance_network_interface": {"name": _NAME, "instance_id": _OWNER},
    "ipmi": {},
    "ipmi_sensor": {"node": _NAME},
    "loadbalancer": _texts("name", "availability_zone", "vip_address", "provider"),
    "manila_share": {
        "host": _NAME, "status": _NAME, **_texts("name", "protocol", "availability_zone"),
    },
    "network": {},
    "nova_compute": {"host_name": _NAME},
    "stack": {},
    "swift_account": _texts("storage_policy"),
    "volume": {
        **_texts("display_name", "volume_type", "volume_type_id"),
        "image_id": _UUID,
        "instance_id": _UUID,
    },
    "volume_provider": {},
    "volume_provider_pool": {"provider": _NAME},
    "volume_service": _texts("host", "binary", "zone", "status"),
}  # fmt: skip
"""By the names of the types."""

OURS: Final[Mapping[str, Schema]] = {
    "alarm": {},
    "host_disk": _texts("path", "fstype"),
    "host_network_interface": _texts("mac"),
    "host_sensor": {"host_name": _NAME, **_texts("chip", "device_name", "sensor", "label")},
    "hypervisor": {"host_name": _NAME},
    "notification_agent": {"host_name": _NAME},
    "instance_cache_bank": {"instance_id": _OWNER, "monitor": TEXT, "number": _NUMBER},
    "instance_cgroup": {"instance_id": _OWNER},
    "instance_energy_package": {"instance_id": _OWNER, "monitor": TEXT, "number": _NUMBER},
    "instance_iothread": {"instance_id": _OWNER, "number": _NUMBER},
    "instance_memory_node": {"instance_id": _OWNER, "monitor": TEXT, "number": _NUMBER},
    "instance_vcpu": {"instance_id": _OWNER, "number": _NUMBER},
    "project": {},
    "user": {},
}
"""What this agent adds: attributes of Ceilometer's types, and types of its own."""


def schema_of(kind: str) -> Schema:
    """Return what is known of a type's attributes; nothing of one that an operator made up."""
    return {**CEILOMETER.get(kind, {}), **OURS.get(kind, {})}


# -- what an operator says of attributes -----------------------------------------------------------


_BOUNDS: Final = (("string", "min_length", "max_length"), ("number", "min", "max"))


class Rule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What `schema:` says of an attribute; what is left out is as in `TEXT`."""

    type: Literal["string", "number", "uuid", "datetime", "bool"] = "string"
    required: bool = False
    min_length: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    max_length: Annotated[int, msgspec.Meta(ge=1, le=255)] | None = None
    min: int | float | None = None
    max: int | float | None = None

    def __post_init__(self) -> None:
        for kind, low_name, high_name in _BOUNDS:
            low, high = getattr(self, low_name), getattr(self, high_name)
            for name, bound in ((low_name, low), (high_name, high)):
                if bound is not None and self.type != kind:
                    raise Misfit(f"{name}: a {self.type} has no such bound", name)
            if low is not None and high is not None and low > high:
                raise Misfit(f"{low_name}: {low} is above {high_name}, {high}", low_name)
        if self.required and (self.type != "string" or self.min_length):
            # Resources that Gnocchi has already need a value.
            raise Misfit("required: only a string that may be empty can be required", "required")

    def as_gnocchi(self) -> dict[str, Any]:
        """Return the form of Gnocchi's REST API."""
        made: dict[str, Any] = {"type": self.type, "required": self.required}
        if self.type == "string":
            made["min_length"] = self.min_length or 0
            made["max_length"] = self.max_length or TEXT["max_length"]
        elif self.type == "number":
            made |= {"min": self.min, "max": self.max}
        return made


def read_schema(reader: Reader, node: Node) -> dict[str, dict[str, Any]]:
    """Return the attributes of a mapping of names to rules; mistakes go to the reader."""
    mapping = reader.mapping(node, "a mapping of attributes to what they hold")
    found = {}
    for name, value in (mapping.entries if mapping else {}).items():
        assert mapping is not None
        check_name(reader, name, mapping.keys[name])
        written = (
            MappingNode({"type": value}, {"type": value.position}, value.position)
            if isinstance(value, ScalarNode)
            else reader.mapping(value, "a type such as string, or a mapping")
        )
        rule = None if written is None else read_settings(reader, Rule, written, "key")
        if isinstance(rule, Rule):
            found[name] = rule.as_gnocchi()
    return found


def check_name(reader: Reader, name: str, place: Position) -> None:
    """Check that a text may be the name of an attribute in Gnocchi."""
    if name in _TAKEN:
        reader.fault(place, f"'{name}' is Gnocchi's own, no attribute of a type")
    elif len(name) > _LONGEST or not _ALLOWED.fullmatch(name):
        what = f"'{shown(name)}' is no name for an attribute"
        hint = f"at most {_LONGEST} letters, digits and '_', the first no '_'"
        reader.fault(place, what, hint)


_LONGEST: Final = 63
_ALLOWED: Final = re.compile("[a-zA-Z0-9][a-zA-Z0-9_]*")
_TAKEN: Final = frozenset(
    (
        "id", "type", "metrics", "revision", "revision_start", "revision_end", "started_at",
        "ended_at", "creator", "created_by_user_id", "created_by_project_id", "get_metric",
    )
)  # fmt: skip
"""Names that Gnocchi refuses (gnocchi.resource_type.INVALID_NAMES); every resource has user_id and
project_id, which may be set."""
