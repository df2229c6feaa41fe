# SPDX-License-Identifier: Apache-2.0
"""What is taken from servers as Nova's API shows them, and when Nova is asked."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ceilo_agent import options
from ceilo_agent.discovery.compute_api import client, enrichment
from ceilo_agent.discovery.compute_api.client import Answer
from ceilo_agent.discovery.compute_api.enrichment import OVERLAP, Enrichment
from ceilo_agent.discovery.compute_api.server import Reserved, Server, parse
from ceilo_agent.discovery.libvirt.domains import LibvirtDomains
from ceilo_agent.errors import Unavailable
from ceilo_agent.plugins import Context
from tests.services.nova import server
from tests.unit.discovery.test_nova import FLAVOR, OWNER, ROOT, WHOLE, domain, resource

USUAL = Reserved(("metering.",), (), 256)
UUID = "762ccd4b-50b5-48ec-845e-7c4223071e14"


def parsed(**changes: Any) -> Server:
    found = parse(server(UUID, **changes), USUAL)
    assert found is not None
    return found


# -- what is taken -------------------------------------------------------------------------------


def test_only_reserved_metadata_is_taken_and_its_prefix_goes() -> None:
    own = {"metering.server_group": "g-1", "metering.a.b": "x" * 300, "secret": "s", "cost": "7"}
    assert parsed(metadata=own).user_metadata == {"server_group": "g-1", "a_b": "x" * 256}
    by_key = Reserved((), ("cost", "absent"), 1).of(own)
    assert by_key == {"cost": "7"}
    assert Reserved(("metering.", "se"), (), 2).of(own)["cret"] == "s"


@pytest.mark.parametrize(
    "shown",
    [None, [], "x", {}, {"id": ""}, {"id": 7}],
)
def test_what_is_no_server_is_none(shown: Any) -> None:
    assert parse(shown, USUAL) is None


@pytest.mark.parametrize("image", ["", None, [], {}, {"id": ""}])
def test_a_server_without_an_image_has_none(image: Any) -> None:
    assert parsed(image=image).image is None


def test_of_fields_that_are_not_as_documented_nothing_is_taken() -> None:
    wrong = dict.fromkeys(
        ["flavor", "metadata", "tenant_id", "user_id", "OS-EXT-AZ:availability_zone",
         "OS-SRV-USG:launched_at"], 7,
    )  # fmt: skip
    assert parsed(**wrong, image={"id": "i", "links": [7, {"href": ""}, {"rel": "x"}]}) == Server(
        UUID, None, None, None, {"id": "i", "links": []}, None, None, {}
    )


def test_samples_show_what_the_xml_lacks() -> None:
    found = resource(domain(f"{FLAVOR}{OWNER}"), parsed(metadata={"metering.group": "g"}))
    metadata = found.metadata
    assert metadata["flavor"]["id"] == "42"
    assert metadata["user_metadata"] == {"group": "g"}
    assert metadata["OS-EXT-AZ:availability_zone"] == "nova"
    assert metadata["launched_at"] == "2013-09-23T13:53:12.774549"
    assert metadata["image_ref"] == metadata["image"]["id"]
    assert metadata["image_ref_url"].endswith(metadata["image_ref"])


def test_what_the_xml_says_counts() -> None:
    flavor = FLAVOR.replace('name="m1.tiny"', 'name="m1.tiny" id="1"')
    found = resource(domain(f"{flavor}{OWNER}{ROOT}"), parsed())
    assert found.metadata["flavor"]["id"] == "1"
    assert found.metadata["image"] == {"id": "i-1"}
    assert found.project_id == "p-1"


def test_an_owner_that_the_xml_lacks_is_nova_s() -> None:
    found = resource(domain(FLAVOR), parsed(tenant_id="p-9", user_id="u-9"))
    assert (found.project_id, found.user_id) == ("p-9", "u-9")
    with_owner = resource(domain(f"{FLAVOR}{OWNER.replace('p-1', 'p-9')}"))
    assert found.metadata["host"] == with_owner.metadata["host"]


def test_a_user_s_own_key_never_hides_what_samples_have() -> None:
    own = {"metering.name": "x", "metering.flavor": "y", "metering.title": "z"}
    found = resource(domain(WHOLE, "<title>t</title>"), parsed(metadata=own)).metadata
    assert found["user_metadata"] == {"title": "z"}
    assert (found["name"], found["title"]) == ("instance-1", "t")


# -- when Nova is asked --------------------------------------------------------------------------


class Edge:
    """Stands for Nova: answers in turn, or raises."""

    def __init__(self) -> None:
        self.asked: list[float | None] = []
        self.servers_now: list[dict[str, Any]] = []
        self.fault: str | None = None
        self.held = threading.Event()
        self.held.set()
        self.made = 0

    def client(self, *_: Any) -> "Edge":
        self.made += 1
        return self

    def servers(self, host: str, since: float | None) -> Answer:
        assert host == "here"
        self.asked.append(since)
        self.held.wait(10)
        if self.fault:
            raise Unavailable(self.fault)
        return Answer(list(self.servers_now), 5000.0)


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch) -> Edge:
    made = Edge()
    monkeypatch.setattr(client, "Client", made.client)
    monkeypatch.setattr(enrichment, "NOT_BEFORE", 0.01)
    return made


def asking(interval: int = 10, expiry: int = 3600) -> Enrichment:
    conf = options.parse([], {"compute.resource_cache_expiry": expiry})
    made = Enrichment(Context("here", options.values(conf)))
    made._interval = interval
    return made


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_nobody_waits_for_nova_and_what_it_told_is_there_afterwards(edge: Edge) -> None:
    edge.servers_now = [server(UUID), server("other")]
    edge.held.clear()
    made = asking()
    assert made.of([UUID]) == {}
    until(lambda: edge.asked)
    assert made.of([UUID]) == {}
    edge.held.set()
    until(lambda: UUID in made.of([UUID]))
    assert edge.asked == [None]
    made.close()


def test_changes_are_asked_for_and_deleted_servers_forgotten(edge: Edge) -> None:
    edge.servers_now = [server(UUID), server("gone"), server("same")]
    made = asking(interval=0)
    until(lambda: len(made.of([UUID])) == 3)
    changed = server(UUID, metadata={"metering.a": "new"})
    edge.servers_now = [changed, server("gone", status="DELETED"), {"no": "server"}]
    until(lambda: set(made.of([UUID])) == {UUID, "same"})
    assert made.of([UUID])[UUID].user_metadata == {"a": "new"}
    assert edge.asked[0] is None
    assert set(edge.asked[1:]) == {5000.0 - OVERLAP}
    made.close()


def test_all_are_asked_for_again_after_the_expiry(edge: Edge) -> None:
    made = asking(interval=0, expiry=10)
    made._expiry = 0.0
    made.of([])
    until(lambda: len(edge.asked) >= 3)
    assert set(edge.asked) == {None}
    made.close()


def test_a_new_guest_is_asked_for_at_once_and_an_unknown_one_once(edge: Edge) -> None:
    edge.servers_now = [server(UUID)]
    made = asking(interval=600)
    until(lambda: UUID in made.of([UUID]))
    for _ in range(20):
        made.of([UUID, "unknown"])
        time.sleep(0.01)
    assert len(edge.asked) == 2
    edge.servers_now = [server("new")]
    until(lambda: "new" in made.of([UUID, "unknown", "new"]))
    assert len(edge.asked) == 3
    made.close()


def test_a_nova_that_is_down_is_told_once_and_leaves_what_was_known(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    edge.servers_now = [server(UUID)]
    made = asking(interval=0)
    until(lambda: UUID in made.of([UUID]))
    edge.fault = "Nova at http://n answers 503"
    before = len(edge.asked)
    until(lambda: len(edge.asked) >= before + 4)
    assert UUID in made.of([UUID])
    assert edge.made >= 3, "credentials are read anew after a fault"
    edge.fault = None
    until(lambda: "again" in caplog.text)
    made.close()
    assert [record.message for record in caplog.records] == [
        "samples lack what only Nova knows of their instances: Nova at http://n answers 503",
        "Nova tells of its instances again",
    ]


def test_a_host_that_nova_does_not_know_is_told(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    made = asking(interval=0)
    made.of([UUID])
    until(lambda: len(edge.asked) >= 3)
    made.close()
    (told,) = caplog.records
    assert "no servers on host 'here': is [DEFAULT] host the name" in told.message


def test_options_that_let_nobody_in_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    made = asking()
    made.of([])
    until(lambda: caplog.records)
    made.close()
    assert "[service_credentials] auth_url: auth_type password needs it" in caplog.text


def test_nova_is_not_asked_unless_it_is_wanted() -> None:
    conf = options.parse([], {"libvirt.uri": "test:///default"})
    discovery = LibvirtDomains(Context("here", options.values(conf)))
    assert discovery.discover(time.monotonic() + 10).targets
    assert "nova" not in {thread.name for thread in threading.enumerate()}
    discovery.close()
