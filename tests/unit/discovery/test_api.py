# SPDX-License-Identifier: Apache-2.0
"""The discovery `api`: which units of work there are, and what they are called."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ceilo_agent.definition.pollsters.pollster import Authentication, PollsterDef
from ceilo_agent.discovery.api import discovery as module
from ceilo_agent.discovery.api.discovery import ApiDiscovery
from ceilo_agent.errors import ConfigError, Fault, Unavailable
from ceilo_agent.plugins import Context
from tests.unit.inspection.api.pollsters import pollster

DEADLINE = 1e12


class Cloud:
    """What Keystone would say."""

    def __init__(self) -> None:
        self.catalogue: dict[str, Any] = {"image": ["http://glance/"], "volumev3": ["http://v/"]}
        self.known: Any = [
            SimpleNamespace(
                id=f"p{n}",
                name=f"n{n}",
                domain_id="d",
                swift_account=f"AUTH_p{n}",
                rgw_user=f"p{n}",
            )
            for n in "12"
        ]

    def endpoints(self, service_type: str) -> Any:
        return self._said(self.catalogue.get(service_type, ()))

    def projects(self) -> Any:
        return self._said(self.known)

    def close(self) -> None:
        pass

    @staticmethod
    def _said(what: Any) -> Any:
        if isinstance(what, Exception):
            raise what
        return what


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, cloud: Cloud) -> Any:
    def make(*pollsters: PollsterDef) -> ApiDiscovery:
        monkeypatch.setattr(module, "definitions", lambda _: pollsters)
        made = ApiDiscovery(Context("h", {}))
        made._cloud = cloud
        return made

    return make


def ids(made: ApiDiscovery) -> list[str]:
    return [target.id for target in made.discover(DEADLINE).targets]


IMAGE = {"endpoint_type": "image", "url_path": "v2/images"}


def test_pollsters_with_the_same_request_are_one_target(make):
    made = make(
        pollster("image.size", **IMAGE),
        pollster("image.name", **IMAGE, value_attribute="name"),
        pollster("image.count", endpoint_type="image", url_path="v2/count"),
    )
    listing = made.discover(DEADLINE)
    assert listing.complete
    assert [target.id for target in listing.targets] == [
        "GET v2/images http://glance/",
        "GET v2/count http://glance/",
    ]
    assert [p.name for p in listing.targets[0].handle.pollsters] == ["image.size", "image.name"]


def test_requests_of_one_path_that_differ_have_names_that_differ_and_stay(make):
    one = pollster("a", **IMAGE)
    other = pollster("b", **IMAGE, headers={"X-Version": "2"})
    query = pollster("c", endpoint_type="image", url_path="v2/images?secret=x")
    first = ids(make(one, other, query))
    assert len(set(first)) == 3
    assert not any("secret" in name for name in first)
    made = make(one, other, query)
    made.want(frozenset({"b"}), ())
    assert ids(made) == [first[1]], "the same, whoever else is wanted"


def test_only_what_is_wanted_is_listed(make):
    made = make(pollster("a", **IMAGE), pollster("b", endpoint_type="volumev3", url_path="v"))
    made.want(frozenset({"b"}), ())
    assert ids(made) == ["GET v http://v/"]


def test_a_service_that_is_not_in_the_catalogue_has_no_targets(make):
    made = make(pollster("a", endpoint_type="dns", url_path="zones"))
    listing = made.discover(DEADLINE)
    assert (listing.targets, listing.complete) == ([], True)


def test_projects_have_a_unit_each(make):
    made = make(
        pollster("a", endpoint_type="image", url_path="x", discovery="projects", method="HEAD")
    )
    listing = made.discover(DEADLINE)
    assert [target.id for target in listing.targets] == [
        "HEAD x http://glance/ p1",
        "HEAD x http://glance/ p2",
    ]
    assert listing.targets[1].handle.names == {
        "project": {
            "id": "p2",
            "name": "n2",
            "domain_id": "d",
            "swift_account": "AUTH_p2",
            "rgw_user": "p2",
        },
        "endpoint": "http://glance/",
    }


def test_static_resources_take_the_place_of_endpoints(make):
    own = Authentication(type="keystone")
    made = make(
        pollster("a", **IMAGE),
        pollster("b", discovery="resources", url_path="state"),
        pollster("c", discovery="projects", endpoint_type="image", url_path="x"),
        pollster("d", host_command=("true",)),
        pollster("e", url_path="https://elsewhere/x"),
        pollster("f", discovery="resources", url_path="f", authentication=own),
    )
    made.want(frozenset("abcdef"), ("http://one/", "http://two/", "http://one/"))
    listing = made.discover(DEADLINE)
    assert [target.id for target in listing.targets] == [
        "GET v2/images http://one/",
        "GET v2/images http://two/",
        "GET state http://one/",
        "GET state http://two/",
        "GET f http://one/",
        "GET f http://two/",
    ]
    assert all(target.handle.static for target in listing.targets)
    clouds = [target.handle.cloud is not None for target in listing.targets]
    assert clouds == [False, False, False, False, True, True], "no token unless it is asked for"


def test_commands_and_urls_need_no_cloud(make, monkeypatch):
    made = make(
        pollster("a", host_command=("true",)), pollster("b", url_path="https://elsewhere/x?q")
    )
    made._cloud = None
    monkeypatch.setattr(made, "_of_cloud", lambda faults: pytest.fail("it was asked"))
    assert ids(made) == ["run a", "GET https://elsewhere/x"]


def test_definitions_for_static_resources_wait_for_them(make):
    assert ids(make(pollster("a", discovery="resources"))) == []


def test_a_service_that_fails_costs_its_own_and_what_is_known_stays(make, cloud, caplog):
    made = make(pollster("a", **IMAGE), pollster("b", endpoint_type="volumev3", url_path="v"))
    cloud.catalogue["image"] = Unavailable("Keystone: no answer")
    for _ in range(2):
        listing = made.discover(DEADLINE)
        assert [target.id for target in listing.targets] == ["GET v http://v/"]
        assert not listing.complete
    assert caplog.text.count("Keystone: no answer") == 1, "told once"
    cloud.catalogue["image"] = ["http://glance/"]
    assert len(made.discover(DEADLINE).targets) == 2
    cloud.catalogue["image"] = Unavailable("Keystone: no answer")
    listing = made.discover(DEADLINE)
    assert (len(listing.targets), listing.complete) == (2, False)


def test_nothing_at_all_is_unavailable(make, cloud):
    made = make(pollster("a", **IMAGE))
    cloud.catalogue["image"] = Unavailable("Keystone: no answer")
    with pytest.raises(Unavailable, match="Keystone: no answer"):
        made.discover(DEADLINE)


def test_projects_that_fail_are_a_fault_of_their_own(make, cloud):
    made = make(
        pollster("a", **IMAGE),
        pollster("b", endpoint_type="image", url_path="x", discovery="projects"),
    )
    cloud.known = Unavailable("no projects now")
    listing = made.discover(DEADLINE)
    assert (len(listing.targets), listing.complete) == (1, False)


def test_credentials_that_cannot_be_used_are_told(make, monkeypatch):
    made = make(pollster("a", **IMAGE), pollster("b", host_command=("true",)))
    made._cloud = None

    def refuse(context):
        raise ConfigError([Fault("[service_credentials] auth_url", 0, 0, "it is missing")])

    monkeypatch.setitem(
        __import__("sys").modules, "ceilo_agent.openstack.cloud", SimpleNamespace(Cloud=refuse)
    )
    listing = made.discover(DEADLINE)
    assert [target.id for target in listing.targets] == ["run b"]
    assert not listing.complete
