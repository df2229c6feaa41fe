# SPDX-License-Identifier: Apache-2.0
"""What Keystone says of projects, and what Swift and Ceph's gateway call them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from ceilo_agent.definition.pollsters import load_dirs
from ceilo_agent.discovery.api.unit import Unit
from ceilo_agent.errors import Unavailable
from ceilo_agent.openstack.cloud import Cloud, Project
from ceilo_agent.plugins import Context
from tests.services import faulty
from tests.services.faulty.exchange import Request

TOKEN = {
    "token": {
        "methods": ["password"],
        "expires_at": "2099-01-01T00:00:00.000000Z",
        "project": {"id": "p", "name": "service", "domain": {"id": "d", "name": "D"}},
        "user": {"id": "u", "name": "me", "domain": {"id": "d", "name": "D"}},
        "catalog": [],
    }
}


def keystone(url: str, listed: Any) -> faulty.Behaviour:
    """Answer as Keystone does, in the little that is asked of it."""
    version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": f"{url}/v3/"}]}
    endpoint = {"interface": "public", "region_id": "r", "region": "r", "url": f"{url}/v3"}
    catalog = [{"type": "identity", "name": "keystone", "endpoints": [endpoint]}]
    known = {
        "/v3/auth/tokens": {"token": {**TOKEN["token"], "catalog": catalog}},
        "/v3/projects": listed,
    }

    def answer(request: Request) -> tuple[int, Mapping[str, str], bytes]:
        body = known.get(request.path, {"version": version})
        return (
            201 if request.method == "POST" else 200,
            {"X-Subject-Token": "t"},
            json.dumps(body).encode(),
        )

    return faulty.reply(answer)


def cloud(url: str, **options: Any) -> Cloud:
    credentials = {"auth_url": f"{url}/v3", "username": "me", "password": "secret"}
    credentials |= {"user_domain_id": "d", "project_name": "service", "project_domain_id": "d"}
    own = {f"service_credentials.{key}": value for key, value in credentials.items()}
    return Cloud(Context("host", own | {"DEFAULT.reseller_prefix": "AUTH_"} | options))


@pytest.mark.parametrize(
    ("options", "account", "user"),
    [
        ({}, "AUTH_p1", "p1"),
        ({"DEFAULT.reseller_prefix": ""}, "p1", "p1"),
        ({"DEFAULT.reseller_prefix": "KEY_"}, "KEY_p1", "p1"),
        ({"rgw_client.implicit_tenants": True}, "AUTH_p1", "p1$p1"),
    ],
)
def test_projects_have_the_names_that_swift_and_ceph_give_them(
    options: dict[str, Any], account: str, user: str
) -> None:
    with faulty.serving() as server:
        listed = {"projects": [{"id": "p1", "name": "one", "domain_id": "d"}]}
        server.usual = keystone(server.url, listed)
        made = cloud(server.url, **options)
        assert made.projects() == [Project("p1", "one", "d", account, user)]
        made.close()


@pytest.mark.parametrize("listed", [{"projects": [{"name": "no id"}]}, [], {"projects": 5}])
def test_a_list_of_projects_that_is_none_is_told(listed: Any) -> None:
    with faulty.serving() as server:
        server.usual = keystone(server.url, listed)
        made = cloud(server.url)
        with pytest.raises(Unavailable, match="projects: it gave no list of them") as caught:
            made.projects()
        made.close()
    assert "secret" not in str(caught.value)


def test_the_shipped_definitions_ask_for_these_names() -> None:
    project = Project("p1", "one", "d", "KEY_p1", "p1$p1")
    unit = Unit((), "http://store:8080/v1/KEY_x", project)
    paths = {
        each.name: each.url_path(None, unit.names)
        for each in load_dirs([])
        if each.endpoint_type == "object-store" and not isinstance(each.url_path, str)
    }
    assert paths["storage.objects"] == "http://store:8080/v1/KEY_p1"
    assert paths["storage.containers.objects"] == "http://store:8080/v1/KEY_p1?format=json"
    assert paths["radosgw.objects"] == "/admin/bucket?uid=p1$p1&stats=true"
    assert paths["radosgw.api.request"] == "/admin/usage?uid=p1$p1"
