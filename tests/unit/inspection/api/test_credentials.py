# SPDX-License-Identifier: Apache-2.0
"""Credentials are shown to nobody but whom they are for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from ceilo_agent.definition.pollsters.authentication import Authentication
from ceilo_agent.definition.secret import Secret
from ceilo_agent.discovery.api.unit import ProjectLike, Unit
from ceilo_agent.expressions.value import Value
from ceilo_agent.inspection.api.inspector import CentralInspector
from ceilo_agent.plugins import Target
from tests.services import faulty
from tests.services.faulty.server import Server
from tests.unit.inspection.api.pollsters import (
    answer,
    entry,
    inspect,
    pollster,
    reasons,
    target,
    values,
)


class Cloud:
    """Gives a token."""

    def endpoints(self, service_type: str) -> Sequence[str]:
        return ()

    def projects(self) -> Sequence[ProjectLike]:
        return ()

    def headers(self) -> Mapping[str, str]:
        return {"X-Auth-Token": "secret"}

    def rejected(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def other() -> Iterator[Server]:
    with faulty.serving(answer({"x": {"load": 1}})) as found:
        yield found


def cloudy(server: Server, url_path: Value | str) -> Target:
    """Return an endpoint of the cloud, with a further request for each entry."""
    field = pollster("room", url_path=url_path, resource_id_attribute=None)
    one = pollster(extra_metadata_fields=(field,))
    return Target("one", Unit((one,), server.url, cloud=Cloud()))


@pytest.mark.parametrize(
    ("told", "url_path"),
    [
        ("/127.0.0.1:{port}/?q=hidden", "'/' + sample['room']"),
        ("http://127.0.0.1:{port}/?q=hidden", "sample['room']"),
        ("http://127.0.0.1:{port}/?q=hidden", "'' + sample['room']"),
    ],
)
def test_an_answer_cannot_name_who_is_shown_the_token(
    made: CentralInspector, server: Server, other: Server, told: str, url_path: str
) -> None:
    server.usual = answer([entry("a", room=told.format(port=other.port))])
    found = inspect(made, cloudy(server, Value.expression(url_path)))
    assert values(found) == {"a": 1}
    (reason,) = reasons(found)
    assert f"url_path leads to another port, http://127.0.0.1:{other.port}/: not asked" in reason
    assert other.connections == 0
    assert server.requests[0].headers["X-Auth-Token"] == "secret"


def test_a_further_request_by_url_shows_no_token(
    made: CentralInspector, server: Server, other: Server
) -> None:
    server.usual = answer([entry("a")])
    found = inspect(made, cloudy(server, f"{other.url}/rooms"))
    assert found.observations[0].resource.metadata == {"room": 1}
    assert "X-Auth-Token" not in other.requests[0].headers


def test_a_further_request_of_its_own_authentication_may_go_by_an_expression(
    made: CentralInspector, server: Server, other: Server
) -> None:
    server.usual = answer([entry("a")])
    path = Value.expression(f"'{other.url}/rooms/' + sample['id']")
    field = pollster(
        "room",
        url_path=path,
        resource_id_attribute=None,
        authentication=Authentication(type="none"),
    )
    found = inspect(made, target(server.url, pollster(extra_metadata_fields=(field,))))
    assert found.observations[0].resource.metadata == {"room": 1}
    assert other.requests[0].path == "/rooms/a"


@pytest.mark.parametrize("secret", ["two\x0bparts", "€"])
def test_a_secret_that_no_header_can_hold_is_told_and_not_shown(
    made: CentralInspector, server: Server, tmp_path: Path, secret: str
) -> None:
    (tmp_path / "token").write_text(f"{secret}\n")
    own = Authentication(type="token", token=Secret.parse(f"file:{tmp_path}/token"))
    found = inspect(made, target(server.url, pollster(authentication=own)))
    assert reasons(found) == ["a secret of its authentication holds what no header can"]
    assert server.requests == []
