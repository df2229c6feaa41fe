# SPDX-License-Identifier: Apache-2.0
"""The definition file that comes with the agent, and those of the documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ceilo_agent import plugins
from ceilo_agent.definition.matching import Matcher
from ceilo_agent.definition.pipeline import SinkDef, load
from ceilo_agent.discovery.libvirt.guest import Guest, describe
from ceilo_agent.inspection.host.inspector import HostInspector
from ceilo_agent.inspection.host.sensors import sensors
from ceilo_agent.inspection.libvirt import cgroup
from ceilo_agent.inspection.libvirt.allocation import Allocation
from ceilo_agent.inspection.libvirt.parts import PARTS
from ceilo_agent.inspection.libvirt.resources import GuestResources
from ceilo_agent.meters.catalogue import DEFINED, NAMESPACES, catalogue
from ceilo_agent.notification.own_meters import Figures, OwnMeters
from ceilo_agent.pipeline.checking import taken
from ceilo_agent.plugins import Context, Target
from ceilo_agent.publishers.gnocchi.definitions import Definitions
from ceilo_agent.publishers.gnocchi.fitting import fit, lacking
from ceilo_agent.sample import Meter, Resource, SampleType
from tests.pages import blocks
from tests.unit.publishers.gnocchi.conftest import Loaded
from tests.unit.publishers.gnocchi.samples import sample

ROOT = Path(__file__).parents[4]
SHIPPED = ROOT / "etc" / "gnocchi_resources.yaml"


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


def worker() -> Iterator[Resource]:
    """Yield what stands for a worker of the notification agent."""
    made = OwnMeters("node-7", 0, 60, lambda: Figures(0, 0.0, 0, 0, 0, 0, 0), 0.0).batch(1e9, 1.0)
    assert made is not None
    yield made.samples[0].resource


def test_resources_have_every_attribute_that_gnocchi_requires(
    ours: Definitions, tmp_path: Path
) -> None:
    seen = set()
    for each in (*guests(), *here(tmp_path), *worker()):
        kind = ours.resource_types[each.type]
        fitted = fit(kind.schema, kind.attributes(sample(resource=each)))
        assert (fitted.unknown, fitted.wrong) == ((), {}), each.id
        filled, missing = lacking(kind.schema, fitted.values)
        assert missing == [], each.id
        if each.type != "instance":  # which Nova may not know
            assert filled == {}, each.id
        seen.add(each.type)
    others = [namespace for namespace in NAMESPACES if namespace != DEFINED]
    assert seen == {kind for namespace in others for kind in catalogue(namespace).kinds}


@pytest.mark.parametrize("name", ["gnocchi-resources", "gnocchi-schema"])
def test_a_file_of_the_documentation_loads(loaded: Loaded, name: str) -> None:
    page = ROOT / "doc" / "source" / "gnocchi.rst"
    (text,) = [block.text for block in blocks(page) if block.name == name]
    assert loaded(text).warnings == ()
