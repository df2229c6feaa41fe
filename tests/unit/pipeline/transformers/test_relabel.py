# SPDX-License-Identifier: Apache-2.0
"""relabel: other names, other metadata, the same readings."""

import pytest

from ceilo_agent.plugins import NeverMatches
from ceilo_agent.sample import Meter, Previous, Resource, SampleType
from tests.unit.pipeline.transformers.written import counter, gauge, refusal, transformer

METADATA = "{metadata: {set: {region: north}, rename: {display_name: name}, remove: [flavor]}}"


def guest(**metadata):
    return Resource("vm-1", "p", "u", "instance", metadata)


def test_a_name_for_all():
    made = transformer("relabel", "{name: b}")([gauge("a", 1), gauge("c", 2)])
    assert [(s.meter.name, s.volume) for s in made] == [("b", 1), ("b", 2)]


def test_a_part_of_the_name():
    made = transformer("relabel", r'{map_from: "^disk\\.(\\w+)", map_to: "block.\\1"}')(
        [gauge("disk.read.bytes", 1), gauge("cpu", 2)]
    )
    assert [s.meter.name for s in made] == ["block.read.bytes", "cpu"]


def test_everything_else_of_a_sample_stays():
    before = counter("a", 7, 60.0, (10.0, 5), started=3.0)
    (made,) = transformer("relabel", "{name: b}")([before])
    assert made.resource is before.resource
    assert (made.time, made.volume, made.previous) == (60.0, 7, Previous(10.0, 5))
    assert (made.started, made.source) == (3.0, "guests")
    assert made.meter == Meter("b", "B", SampleType.CUMULATIVE)


def test_metadata():
    before = guest(display_name="web", flavor={"name": "small"}, host="h", region="south")
    (made,) = transformer("relabel", METADATA)([gauge("a", 1, resource=before)])
    assert made.resource.metadata == {"name": "web", "host": "h", "region": "north"}
    assert (made.resource.id, made.resource.project_id, made.resource.user_id) == ("vm-1", "p", "u")
    assert made.resource.type == "instance"
    assert before.metadata["region"] == "south"


def test_what_is_not_there_is_not_renamed():
    (made,) = transformer("relabel", METADATA)([gauge("a", 1, resource=guest(host="h"))])
    assert made.resource.metadata == {"host": "h", "region": "north"}


def test_two_keys_may_change_places():
    swap = transformer("relabel", "{metadata: {rename: {a: b, b: a}}}")
    (made,) = swap([gauge("m", 1, resource=guest(a=1, b=2))])
    assert made.resource.metadata == {"a": 2, "b": 1}


def test_samples_of_one_resource_go_on_sharing_it():
    one, other = guest(host="h"), guest(host="h")
    made = transformer("relabel", METADATA)(
        [gauge("a", n, resource=r) for n, r in enumerate((one, other, one))]
    )
    assert made[0].resource is made[2].resource
    assert made[0].resource is not made[1].resource


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("{}", "it changes nothing: it takes name, map_from and map_to, or metadata"),
        ("{metadata: {}}", "it changes nothing: it takes name, map_from and map_to, or metadata"),
        ("{map_from: a}", "map_from and map_to need each other"),
        (
            "{name: a, map_from: b, map_to: c}",
            "name gives one name, map_from and map_to change it: not both",
        ),
        (
            r"{map_from: a, map_to: '\1'}",
            (
                r"the replacement '\1' is wrong: invalid group reference 1 at position 1 "
                "(the pattern 'a' has no group)"
            ),
        ),
    ],
)
def test_parameters_that_do_not_fit(parameters, expected):
    assert refusal("relabel", parameters) == f"test:1:1: {expected}"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("{set: {a: 1}, rename: {b: a}}", "metadata: 'a' is given more than once"),
        ("{rename: {b: a, c: a}}", "metadata: 'a' is given more than once"),
        ("{set: {a: 1}, remove: [a]}", "metadata: 'a' is removed and given at once"),
        ("{rename: {a: b}, remove: [a]}", "metadata: 'a' is removed and given at once"),
    ],
)
def test_changes_of_metadata_that_undo_each_other(change, expected):
    assert refusal("relabel", f"{{metadata: {change}}}") == f"test:1:12: {expected}"


def test_outcome():
    meters = [Meter("disk.read", "B", SampleType.GAUGE), Meter("cpu", "ns", SampleType.GAUGE)]
    relabel = transformer("relabel", "{map_from: disk, map_to: block}")
    assert [meter.name for meter in relabel.outcome(meters)] == ["block.read", "cpu"]
    assert list(transformer("relabel", METADATA).outcome(meters)) == meters
    with pytest.raises(NeverMatches, match=r"^'disk' of map_from matches the name of no meter"):
        relabel.outcome(meters[1:])
