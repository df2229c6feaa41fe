# SPDX-License-Identifier: Apache-2.0
"""The definition file: what it says, what is wrong with it, and ours."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ceilo_agent import plugins
from ceilo_agent.definition.matching import Matcher
from ceilo_agent.definition.pipeline import SinkDef, load
from ceilo_agent.delivery.outlets import Placed
from ceilo_agent.discovery.libvirt.guest import Guest, describe
from ceilo_agent.errors import ConfigError, Malformed
from ceilo_agent.inspection.host.inspector import HostInspector
from ceilo_agent.inspection.host.sensors import sensors
from ceilo_agent.inspection.libvirt import cgroup
from ceilo_agent.inspection.libvirt.allocation import Allocation
from ceilo_agent.inspection.libvirt.parts import PARTS
from ceilo_agent.inspection.libvirt.resources import GuestResources
from ceilo_agent.meters.catalogue import NAMESPACES, catalogue
from ceilo_agent.pipeline.checking import taken
from ceilo_agent.plugins import Context, Target
from ceilo_agent.publishers.gnocchi import definitions
from ceilo_agent.publishers.gnocchi.attributes import compiled
from ceilo_agent.publishers.gnocchi.definitions import Definitions
from ceilo_agent.publishers.gnocchi.fitting import fit, lacking
from ceilo_agent.publishers.gnocchi.policies import seconds
from ceilo_agent.publishers.gnocchi.schemas import CEILOMETER
from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from tests.pages import blocks

ROOT = Path(__file__).parents[4]
SHIPPED = ROOT / "etc" / "gnocchi_resources.yaml"
OTHERS = (definitions.DIRECTORIES[0], definitions.CEILOMETERS)
"""Where an operator may have a file."""
BAD = ROOT / "tests" / "bad_gnocchi"
FILES = sorted(BAD.glob("*.yaml"))
MARK = "# expect: "

Loaded = Callable[[str], Definitions]


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    def made(text: str) -> Definitions:
        path = tmp_path / "made.yaml"
        path.write_text(text, "utf-8")
        return Definitions.load(path)

    return made


def of(resource: Resource, meter: str = "cpu", volume: float = 1) -> Sample:
    return Sample(Meter(meter, "", SampleType.GAUGE), resource, 1.7e9, volume, source="here")


def resource(kind: str = "instance", /, **metadata: Any) -> Resource:
    return Resource("guest-1", "blue", "ann", kind, metadata)


# -- what is wrong -------------------------------------------------------------------------------


def test_there_are_bad_files() -> None:
    assert len(FILES) >= 45


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_bad_file(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    expected = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    assert expected, f"{path} does not say what to expect"
    with pytest.raises(ConfigError) as raised:
        Definitions.load(path)
    told = [str(fault).removeprefix(f"{path}:").strip() for fault in raised.value.faults]
    assert told == expected


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        Definitions.load(tmp_path / "nowhere.yaml")


def test_a_broken_file_is_a_line_and_never_a_traceback(tmp_path: Path) -> None:
    text = SHIPPED.read_text("utf-8")
    chance = random.Random(20)
    path = tmp_path / "broken.yaml"
    pieces = ["[", "{", "]", "}", ":", "- ", "&", "*counter", "'", "\t", "null", "7", "é", "\n  "]
    refused = 0
    for _ in range(60):
        at = chance.randrange(len(text))
        cut = text[: at + chance.randrange(20)] if chance.random() < 0.3 else text
        path.write_text(cut[:at] + chance.choice(pieces) + cut[at + chance.randrange(5) :])
        told: list[str] = []
        try:
            Definitions.load(path)
        except ConfigError as error:
            told = [str(fault) for fault in error.faults]
        assert all(line.startswith(str(path)) for line in told)
        refused += bool(told)
    assert refused > 10


# -- what a file says ----------------------------------------------------------------------------

SMALL = """\
archive_policies:
  - name: fine
    definition: [{granularity: 10, timespan: 1 day}]
resources:
  - resource_type: instance
    metrics:
      cpu: {archive_policy_name: fine}
      memory:
      vcpus: {}
      "disk.*":
    attributes:
      host: resource_metadata.(instance_host|host)
  - resource_type: switch
    metrics: [switch.port, disk.root.size]
"""


def test_metrics_have_their_type_and_their_archive_policy(loaded: Loaded) -> None:
    found = loaded(SMALL)
    kinds = {name: found.resource_type_of(name) for name in ("cpu", "vcpus", "switch.port")}
    assert {name: kind and kind.name for name, kind in kinds.items()} == {
        "cpu": "instance",
        "vcpus": "instance",
        "switch.port": "switch",
    }
    policies = {name: found.archive_policy_of(name) for name in ("cpu", "memory", "vcpus", "no")}
    assert policies == {
        "cpu": "fine",
        "memory": "ceilometer-low",
        "vcpus": "ceilometer-low",
        "no": "ceilometer-low",
    }
    assert found.resource_type_of("no") is None
    assert found.policies_used == {"fine", "ceilometer-low"}


def test_a_name_counts_before_a_pattern(loaded: Loaded) -> None:
    found = loaded(SMALL)
    assert found.resource_type_of("disk.usage") is found.resource_types["instance"]
    assert found.resource_type_of("disk.root.size") is found.resource_types["switch"]
    assert found.resource_type_of("Disk.usage") is None


def test_of_several_patterns_the_last_counts(loaded: Loaded) -> None:
    found = loaded(SMALL.replace("[switch.port, ", '[switch.port, "disk.u*", '))
    assert found.resource_type_of("disk.usage") is found.resource_types["switch"]
    assert found.resource_type_of("disk.allocation") is found.resource_types["instance"]


def test_the_default_policy_is_the_files(loaded: Loaded) -> None:
    found = loaded("archive_policy_default: mine\n" + SMALL)
    assert found.archive_policy_of("memory") == "mine"
    assert found.archive_policy_of("cpu") == "fine"


def test_a_metric_in_two_types_goes_to_the_last_and_both_lines_are_told(loaded: Loaded) -> None:
    found = loaded(SMALL.replace("[switch.port", "[switch.port, memory"))
    mapped = found.resource_type_of("memory")
    assert mapped is not None
    assert mapped.name == "switch"
    (warning,) = found.warnings
    assert str(warning).endswith(
        "made.yaml:14:28: the metric 'memory' stands twice, this one counts "
        "(line 8 gives it to the resource type 'instance')"
    )


def test_a_type_that_stands_twice_is_taken_together(loaded: Loaded) -> None:
    found = loaded(SMALL.replace("resource_type: switch", "resource_type: instance"))
    assert set(found.resource_types) == {"instance"}
    assert found.resource_type_of("switch.port") is found.resource_type_of("cpu")
    (warning,) = found.warnings
    assert "made.yaml:13:20: the resource type 'instance' stands twice" in str(warning)
    assert warning.hint == "taken together with line 5"


def test_the_old_archive_policy_of_a_type_counts_for_all_its_metrics(loaded: Loaded) -> None:
    found = loaded(SMALL.replace("instance\n", "instance\n    archive_policy: old\n", 1))
    assert {found.archive_policy_of(name) for name in ("cpu", "memory")} == {"old"}
    (warning,) = found.warnings
    assert warning.line == 6
    assert "is an old key" in warning.what


def test_events_are_accepted(loaded: Loaded) -> None:
    loaded(
        SMALL
        + """\
    event_create: switch.create.end
    event_delete: [switch.delete.end, "switch.remove.*"]
    event_update: switch.update.end
    event_attributes: {id: switch_id, name: name}
    event_associated_resources:
      switch_port: '{"=": {"switch": "%s"}}'
"""
    )


# -- attributes ----------------------------------------------------------------------------------

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
    made = of(resource(**DOCUMENT))
    expected = {} if value is None else {"x": value}
    assert kind.attributes(made) == expected


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
    found = loaded(text).resource_types["t"].attributes(of(resource(**DOCUMENT)))
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


def test_the_schema_of_a_file_counts_before_what_is_known(loaded: Loaded) -> None:
    text = SMALL.replace("attributes:", "schema: {host: {max_length: 64}}\n    attributes:")
    schema = loaded(text).resource_types["instance"].schema
    assert schema["host"]["max_length"] == 64
    assert schema["flavor_id"] == CEILOMETER["instance"]["flavor_id"]


# -- archive policies ----------------------------------------------------------------------------

SPANS = [
    (300, 300), (0.5, 0.5), ("300", 300), ("5 minutes", 300), ("1 second", 1), ("30 days", 2592000),
    ("365 days", 31536000), ("1h", 3600), ("1h30m", 5400), ("1 hr, 30 mins", 5400), ("2w", 1209600),
    ("1 week 1 day", 691200), ("1.5 hours", 5400), ("90s", 90), ("5:00", 300), ("1:05:00", 3900),
    ("0:05:00", 300), ("1:00:00:00", 86400), ("1 day, 0:05:00", 86700), (":30", 30),
    ("30 days, 0:00:00", 2592000), ("0:00:00.500000", 0.5), ("1 Minute", 60),
]  # fmt: skip
"""As Gnocchi 4.7.1 reads them (gnocchi.utils.to_timespan)."""


@pytest.mark.parametrize(("written", "value"), SPANS)
def test_a_timespan_is_read_as_gnocchi_reads_it(written: Any, value: float) -> None:
    assert seconds(written) == value


@pytest.mark.parametrize("written", ["", " ", "x", "1 month", "5 minuts", -1, 0, True, None, "nan"])
def test_what_is_no_timespan(written: Any) -> None:
    assert seconds(written) is None


def policy(loaded: Loaded, written: str) -> Any:
    found = loaded(f"archive_policies: [{written}]").archive_policies
    return next(iter(found.values()))


THERE = {
    "name": "p",
    "back_window": 0,
    "aggregation_methods": ["mean", "max"],
    "definition": [
        {"granularity": "1:00:00", "points": 24, "timespan": "1 day, 0:00:00"},
        {"granularity": "0:01:00", "points": 60, "timespan": "1:00:00"},
    ],
}


@pytest.mark.parametrize(
    "written",
    [
        (
            "{name: p, aggregation_methods: [max, mean], definition: "
            "[{granularity: 60, points: 60}, {timespan: 1 day, points: 24}]}"
        ),
        (
            '{name: p, back_window: "0", definition: [{granularity: 1m, timespan: 1h, points: 60}, '
            "{granularity: 1 hour, timespan: 24 hours}]}"
        ),
        (
            '{name: p, aggregation_methods: ["*"], definition: [{granularity: 60, timespan: 3659}, '
            "{granularity: 3600, timespan: 1 day}]}"
        ),
    ],
)
def test_the_same_policy_in_other_words(loaded: Loaded, written: str) -> None:
    assert policy(loaded, written).differences(THERE) == []


def test_another_policy_of_the_same_name_is_told(loaded: Loaded) -> None:
    written = (
        "{name: p, back_window: 2, aggregation_methods: [mean, 'rate:mean'], "
        "definition: [{granularity: 60, timespan: 30 days}, {granularity: 1 day}]}"
    )
    assert policy(loaded, written).differences(THERE) == [
        "keeps 60 s for 3600 s, 3600 s for 86400 s and not 60 s for 30 days, 86400 s for ever",
        "does not aggregate by rate:mean",
        "aggregates by max besides",
        "has a back_window of 0, not 2",
    ]


# -- ours ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours() -> Definitions:
    return Definitions.load(SHIPPED)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_meter_goes_to_the_type_of_its_resource(ours: Definitions, namespace: str) -> None:
    wrong = {
        entry.name: kind.name if kind else None
        for entry in catalogue(namespace).meters
        if (kind := ours.resource_type_of(entry.name)) is None or kind.name != entry.kind
    }
    assert wrong == {}


def outcome(sink: SinkDef, meters: list[Meter]) -> list[Meter]:
    """Return the meters that come out of a sink."""
    for step in sink.transformers:
        made = plugins.load(plugins.TRANSFORMER, step.name)(step.parameters)
        takes = Matcher(step.meters or ["*"])
        into = [meter for meter in meters if takes(meter.name)]
        staying = [meter for meter in meters if step.keep_original or not takes(meter.name)]
        meters = [*staying, *made.outcome(into)]
    return meters


def test_every_meter_that_our_pipeline_makes_goes_to_a_type(ours: Definitions) -> None:
    file = load(ROOT / "etc" / "pipeline.yaml")
    made = {
        meter.name
        for sink in file.sinks
        for meter in outcome(
            sink, [m for s in file.sources if sink.name in s.sinks for m in taken(s)]
        )
    }
    assert {"cpu_util", "network.incoming.bandwidth", "project.vcpus"} <= made
    assert {name for name in made if ours.resource_type_of(name) is None} == set()


def test_counters_have_a_policy_with_a_rate(ours: Definitions) -> None:
    """But for those that Ceilometer keeps without."""
    without = {
        entry.name
        for namespace in NAMESPACES
        for entry in catalogue(namespace).meters
        if entry.type is SampleType.CUMULATIVE
        and "rate:mean"
        not in (ours.archive_policies[ours.archive_policy_of(entry.name)].methods or ())
    }
    assert without == {
        "disk.device.read.latency",
        "disk.device.write.latency",
        "memory.swap.in",
        "memory.swap.out",
    }


def test_our_file_defines_the_policies_that_it_names_and_has_no_warning(ours: Definitions) -> None:
    assert ours.policies_used <= set(ours.archive_policies)
    assert ours.warnings == ()


def guests() -> Iterator[Resource]:
    """Yield a resource of each kind that a guest has."""
    xml = (ROOT / "bench" / "domain.xml").read_text("utf-8")
    reply = json.loads((ROOT / "bench" / "reply.json").read_text("utf-8"))
    reply |= {
        "iothread.count": 1,
        "iothread.1.poll-max-ns": 1,
        "cpu.cache.monitor.count": 1,
        "cpu.cache.monitor.0.bank.count": 1,
        "memory.bandwidth.monitor.count": 1,
        "memory.bandwidth.monitor.0.node.count": 1,
        "cpu.energy.monitor.count": 1,
        "cpu.energy.monitor.0.pkg.count": 1,
    }
    uuid = "00000000-0000-4000-8000-000000000001"
    nobody: Any = None  # whom to ask when the XML changes
    guest = Guest(uuid, None, 1, describe(xml), nobody)
    made = GuestResources(guest, "node-7", 1, 1, 2)
    for parts in PARTS.values():
        yield from (part.resource for _, part in parts(reply, made))
    yield made.other(cgroup.KIND, "cgroup", {}).resource
    whole = Allocation(catalogue("compute"), "node-7", stopped_are_listed=False)
    observed = whole.observe([], [], (), frozenset(("hypervisor.vcpus.present",)), 0.0)
    assert observed is not None
    yield observed.resource


def here(sys_class: Path) -> Iterator[Resource]:
    """Yield the resources of this machine, and of a sensor that it need not have."""
    chip = sys_class / "hwmon" / "hwmon0"
    chip.mkdir(parents=True)
    (chip / "name").write_text("nvme\n")
    (chip / "temp1_input").write_text("38850\n")
    for part in sensors(sys_class):
        metadata = {"resource_url": "node-7", **part.metadata}
        yield Resource(f"node-7.{part.name}", None, None, "host_sensor", metadata)
    meters = frozenset(entry.name for entry in catalogue("host").meters)
    snapshot = HostInspector(Context("node-7", {})).inspect([Target("x")], meters, 1e12)
    yield from (observation.resource for observation in snapshot.observations)


def test_resources_have_every_attribute_that_gnocchi_requires(
    ours: Definitions, tmp_path: Path
) -> None:
    seen = set()
    for each in (*guests(), *here(tmp_path)):
        kind = ours.resource_types[each.type]
        fitted = fit(kind.schema, kind.attributes(of(each)))
        assert (fitted.unknown, fitted.wrong) == ((), {}), each.id
        filled, missing = lacking(kind.schema, fitted.values)
        assert missing == [], each.id
        if each.type != "instance":  # which Nova may not know
            assert filled == {}, each.id
        seen.add(each.type)
    kinds = {kind for namespace in NAMESPACES for kind in catalogue(namespace).kinds}
    assert seen == kinds


@pytest.mark.parametrize("name", ["gnocchi-resources", "gnocchi-schema"])
def test_a_file_of_the_documentation_loads(loaded: Loaded, name: str) -> None:
    page = ROOT / "doc" / "source" / "gnocchi.rst"
    (text,) = [block.text for block in blocks(page) if block.name == name]
    assert loaded(text).warnings == ()


def test_a_reload_sees_that_the_file_changed(tmp_path: Path) -> None:
    file, pipeline = tmp_path / "made.yaml", tmp_path / "pipeline.yaml"
    pipeline.write_text(
        "sources: [{name: guests, interval: 60, meters: [cpu], sinks: [store]}]\n"
        "sinks: [{name: store, publishers: "
        f"['gnocchi://127.0.0.1:1?resources_definition_file={file}']}}]\n"
    )
    seen = []
    for text in (SMALL, SMALL, SMALL.replace("1 day", "2 days")):
        file.write_text(text)
        seen.append(load(pipeline).sinks[0].publishers[0])
    outlet: Any = None
    placed = Placed(seen[0], outlet, durable=True)
    assert [placed.follows(each) for each in seen] == [True, True, False]


# -- where the file is ---------------------------------------------------------------------------


def test_the_first_directory_that_has_the_file_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [tmp_path / "etc", tmp_path / "installed"]
    for place in places:
        place.mkdir()
    monkeypatch.setattr(definitions, "DIRECTORIES", tuple(places))
    with pytest.raises(ConfigError, match=f"no such file in {places[0]}, {places[1]}"):
        Definitions.load(None)
    (places[1] / "gnocchi_resources.yaml").write_text(SMALL)
    assert Definitions.load(None).path == places[1] / "gnocchi_resources.yaml"
    (places[0] / "gnocchi_resources.yaml").write_text(SMALL)
    assert Definitions.load(None).path == places[0] / "gnocchi_resources.yaml"


def test_a_name_alone_is_looked_for_in_ceilometers_directory_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [tmp_path / name for name in ("own", "ceilometers", "shipped")]
    for place in (*places, tmp_path / "here"):
        place.mkdir()
    monkeypatch.setattr(definitions, "DIRECTORIES", (places[0], places[2]))
    monkeypatch.setattr(definitions, "CEILOMETERS", places[1])
    monkeypatch.chdir(tmp_path / "here")
    name = Path("gnocchi_resources.yaml")
    # Where a command happens to run the daemon does not: it is no place.
    name.write_text(SMALL)
    with pytest.raises(ConfigError) as caught:
        Definitions.load(name)
    assert str(caught.value) == (
        f"gnocchi_resources.yaml: no such file in {places[0]}, {places[1]}, {places[2]} "
        "(leave resources_definition_file out for the file that came with this agent)"
    )
    for place in reversed(places):
        (place / name).write_text(SMALL)
        assert Definitions.load(name).path == place / name
    (places[0] / name).unlink()
    (places[2] / name).unlink()
    with pytest.raises(ConfigError):
        Definitions.load(None)


def test_ceilometers_default_is_the_shipped_file() -> None:
    if not any((place / definitions.NAME).exists() for place in OTHERS):
        assert Definitions.load(Path("gnocchi_resources.yaml")).path == SHIPPED


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


def test_without_a_path_it_is_the_shipped_file() -> None:
    if not (definitions.DIRECTORIES[0] / definitions.NAME).exists():
        assert Definitions.load(None).path == SHIPPED
