# SPDX-License-Identifier: Apache-2.0
"""Samples' metadata beside those that Ceilometer's own code gives the same domains.

Domains are libvirt's: of its test driver, where each can have the XML of another release of Nova,
and a real guest of QEMU.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import libvirt
import pytest

from ceilo_agent.inspection.libvirt.nova_metadata import OURS
from ceilo_agent.publishers.gnocchi.definitions import Definitions
from tests.functional import agent
from tests.functional.metadata import (
    HOST,
    NAMESPACES,
    RELEASES,
    assert_same,
    define,
    hypervisor_of_tests,
    of_nova,
    ours,
    python_of_ceilometer,
    theirs,
)
from tests.guests.fleet import fleet

STATES = range(libvirt.VIR_DOMAIN_PMSUSPENDED + 1)
"""All that libvirt has, NOSTATE among them."""


class InState:
    """A domain that is said to be in a state; the test driver cannot bring one into all."""

    def __init__(self, domain: Any, state: int) -> None:
        self._domain = domain
        self._state = state

    def __getattr__(self, name: str) -> Any:
        return getattr(self._domain, name)

    def state(self) -> list[int]:
        return [self._state, 0]


@pytest.fixture(scope="module")
def ceilometer() -> Path:
    return python_of_ceilometer()


@pytest.fixture(scope="module")
def hypervisor() -> Iterator[Any]:
    with hypervisor_of_tests() as handle:
        yield handle


@pytest.fixture(scope="module")
def released(
    hypervisor: Any, ceilometer: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return a domain of each release, and what Ceilometer makes of it."""
    texts = {name: of_nova(instance) for name, instance in RELEASES.items()}
    texts["1.0"] = texts["2025.1"].replace(*NAMESPACES)
    assert NAMESPACES[1] in texts["1.0"]
    domains = {name: define(hypervisor, text) for name, text in texts.items()}
    domains["1.0"].suspend()
    found = theirs(ceilometer, list(domains.values()), tmp_path_factory.mktemp("ceilometer"))
    return {name: (domain, found[domain.UUIDString()]) for name, domain in domains.items()}


@pytest.mark.parametrize("release", [*RELEASES, "1.0"])
def test_metadata_are_those_of_ceilometer(
    release: str, released: dict[str, tuple[Any, dict[str, Any]]]
) -> None:
    domain, other = released[release]
    assert_same(ours(domain), other)


def test_the_comparison_sees_states_images_and_specs(
    released: dict[str, tuple[Any, dict[str, Any]]],
) -> None:
    """What is compared is there at all."""
    shown = {name: other["metadata"] for name, (_, other) in released.items()}
    assert shown["1.0"]["state"] == "paused"
    assert shown["2025.2"]["image_meta"]["container_format"] == "bare"
    assert shown["2025.1"]["image_ref"]
    assert "image_meta" not in shown["2025.1"]
    assert shown["from a volume"]["image"] is None
    assert shown["extra specs"]["flavor"]["extra_specs"]["trait:CUSTOM_A:B"] == "required"
    assert shown["no extra specs"]["flavor"]["extra_specs"] == {}


def test_every_state_of_a_domain_is_called_as_in_ceilometer(
    hypervisor: Any, ceilometer: Path, tmp_path: Path
) -> None:
    whole = of_nova(RELEASES["2025.2"])
    domains = [InState(define(hypervisor, whole), state) for state in STATES]
    found = theirs(ceilometer, domains, tmp_path)
    for domain in domains:
        assert_same(ours(domain), found[domain.UUIDString()])
    assert len({other["metadata"]["state"] for other in found.values()}) == 6


def test_who_lacks_an_owner_or_nova_s_metadata_has_samples_here_and_none_there(
    hypervisor: Any, ceilometer: Path, tmp_path: Path
) -> None:
    whole = of_nova(RELEASES["2025.2"])
    start, end = whole.index("<nova:owner>"), whole.index("</nova:owner>") + len("</nova:owner>")
    foreign = '<x:instance xmlns:x="urn:x"><x:flavor name="f"/></x:instance>'
    without = [
        define(hypervisor, whole[:start] + whole[end:]),
        define(
            hypervisor, foreign, f"<title>{escape('A & B')}</title><description>d</description>"
        ),
    ]
    assert theirs(ceilometer, without, tmp_path) == {}
    ownerless, plain = map(ours, without)
    assert ownerless.metadata["display_name"] == "test-server"
    assert ownerless.metadata["flavor"]["id"] == "1"
    assert (plain.metadata["title"], plain.metadata["description"]) == ("A & B", "d")
    assert plain.metadata["display_name"] == without[1].name()


def test_gnocchi_s_resource_type_is_filled(hypervisor: Any) -> None:
    """Every attribute that is required, and all that the XML can tell."""
    resource = ours(define(hypervisor, of_nova(RELEASES["2025.2"])))
    kind = Definitions.load(None).resource_types["instance"]
    required = {name for name, schema in kind.schema.items() if schema["required"]}
    metadata = resource.metadata
    told = {
        "host": metadata["instance_host"],
        "image_ref": metadata["image_ref"],
        "display_name": metadata["display_name"],
        "flavor_id": metadata["flavor"]["id"],
        "flavor_name": metadata["instance_type"],
        "created_at": metadata["created_at"],
    }
    assert required <= told.keys() <= kind.schema.keys()
    assert all(told.values())


def test_a_real_guest_s_samples_have_ceilometer_s_metadata(
    ceilometer: Path, tmp_path: Path
) -> None:
    config = tmp_path / "agent.conf"
    config.write_text(f"[DEFAULT]\nhost = {HOST}\n[libvirt]\nuri = qemu:///system\n")
    with fleet(bare=1, prefix="ceilo-meta-") as (guest,), guest.domain() as domain:
        samples = agent.poll("--meter", "power.state", config=config)
        found = theirs(ceilometer, [domain], tmp_path)[guest.uuid]
    (sample,) = [each for each in samples if each["resource_id"] == guest.uuid]
    shown = {k: v for k, v in sample["resource_metadata"].items() if k not in OURS}
    assert shown == found["metadata"]
    assert (sample["project_id"], sample["user_id"]) == (found["project_id"], found["user_id"])
