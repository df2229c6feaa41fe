# SPDX-License-Identifier: Apache-2.0
"""What an attribute of a resource is made of, and the schema that follows."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ceilo_agent.errors import Malformed
from ceilo_agent.publishers.gnocchi.attributes import compiled
from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from tests.unit.publishers.gnocchi.conftest import Loaded

# What Ceilometer's parser, jsonpath-rw-ext 1.2.2, finds first for these in this document.
DOCUMENT: dict[str, Any] = {
    "flavor": {"id": "f1", "name": "m1"},
    "host": None,
    "instance_host": "h",
    "list": [3, 1, 2],
    "nested": [{"k": "v", "w": 1}, {"k": "z", "w": 2}],
    "b-c": 7,
    "zero": 0,
    "no": False,
    "empty": "",
    "dotted": "x.y.z",
}
SAMPLE = Sample(
    Meter("cpu", "", SampleType.GAUGE),
    Resource("guest-1", "blue", "ann", "instance", DOCUMENT),
    1.7e9,
    1,
    source="here",
)
PATHS = [
    ("resource_metadata.instance_host", "h"),
    ("resource_metadata.host", None),
    ("resource_metadata.(host|instance_host)", "h"),
    ("resource_metadata.host|instance_host", "h"),
    ("resource_metadata.(instance_flavor_id|(flavor.id)|flavor_id)", "f1"),
    ("resource_metadata.(instance_flavor_id|flavor.name)", "m1"),
    ("(resource_metadata.host)|(resource_id)", "guest-1"),
    ("$.resource_metadata.flavor.id", "f1"),
    ("resource_metadata.flavor.id.deeper", None),
    ("resource_metadata.nowhere.deeper", None),
    ("resource_metadata.'b-c'", 7),
    ("resource_metadata.b-c", 7),
    ("resource_metadata.(zero|b-c)", 0),
    ("resource_metadata.(no|b-c)", False),
    ("resource_metadata.(empty|instance_host)", ""),
    ("resource_metadata.list[1]", 1),
    ("resource_metadata.list", [3, 1, 2]),
    ("resource_metadata.list[*]", 3),
    ("resource_metadata.nested[1].k", "z"),
    ("resource_metadata.nested[*].w", 1),
    ("resource_metadata.nested[?k=='z'].w", 2),
    ("resource_metadata.dotted.`split(., 1, -1)`", "y"),
    ("resource_metadata.list.`len`", 3),
    ("resource_metadata..id", "f1"),
    ("project_id", "blue"),
    ("user_id", "ann"),
    ("name", "cpu"),
    ("unit", ""),
    ("volume", 1),
    ("source", "here"),
]


@pytest.mark.parametrize(("path", "value"), PATHS)
def test_a_path_is_the_first_value_that_is_there(loaded: Loaded, path: str, value: Any) -> None:
    quoted = json.dumps(path)
    text = f"resources: [{{resource_type: t, metrics: [cpu], attributes: {{x: {quoted}}}}}]"
    kind = loaded(text).resource_types["t"]
    expected = {} if value is None else {"x": value}
    assert kind.attributes(SAMPLE) == expected


WAYS = [
    ("7", 7),
    ("{fields: 7}", 7),
    ("[resource_metadata.host, resource_metadata.flavor.id]", "f1"),
    ("{fields: [resource_metadata.host, resource_metadata.instance_host]}", "h"),
    ("{fields: resource_metadata.dotted, plugin: split}", "x"),
    ("{fields: resource_metadata.dotted, plugin: {name: split, parameters: {segment: 2}}}", "z"),
    ("{fields: resource_metadata.dotted, plugin: {name: split, parameters: {segment: 9}}}", None),
    (
        (
            "{fields: resource_metadata.dotted, plugin: {name: split, "
            "parameters: {segment: 1, max_split: 1}}}"
        ),
        "y.z",
    ),
    (
        (
            "{fields: [resource_metadata.host, resource_metadata.instance_host], plugin: "
            "{name: map, parameters: {values: {H: 1}, case_sensitive: false}}}"
        ),
        1,
    ),
    (
        (
            "{fields: resource_metadata.instance_host, plugin: {name: map, parameters: "
            "{values: {H: 1}, default: other}}}"
        ),
        "other",
    ),
]


@pytest.mark.parametrize(("written", "value"), WAYS)
def test_the_other_ways_to_write_an_attribute(loaded: Loaded, written: str, value: Any) -> None:
    text = f"resources: [{{resource_type: t, metrics: [cpu], attributes: {{x: {written}}}}}]"
    found = loaded(text).resource_types["t"].attributes(SAMPLE)
    assert found == ({} if value is None else {"x": value})


def test_attributes_of_which_nothing_is_said_are_texts(loaded: Loaded) -> None:
    text = """\
resources:
  - resource_type: rack
    metrics: [rack.power]
    attributes: {row: resource_metadata.row, slots: resource_metadata.slots, project_id: "7"}
    schema:
      slots: {type: number, min: 0}
      since: datetime
      label: {max_length: 20, required: true}
"""
    assert loaded(text).resource_types["rack"].schema == {
        "row": {"type": "string", "min_length": 0, "max_length": 255, "required": False},
        "slots": {"type": "number", "min": 0, "max": None, "required": False},
        "since": {"type": "datetime", "required": False},
        "label": {"type": "string", "min_length": 0, "max_length": 20, "required": True},
    }


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("a.(b|", "a ')' is missing, '(' is open"),
        ("a.('('|(b.c)", "a ')' is missing, '(' is open"),
        ("a[0", "a ']' is missing, '[' is open"),
    ],
)
def test_a_bracket_that_is_open_is_told(path: str, said: str) -> None:
    with pytest.raises(Malformed, match=re.escape(said)):
        compiled(path)
    with pytest.raises(Malformed, match=r"ends too early$"):
        compiled("a.(b|c).")
