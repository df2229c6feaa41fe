# SPDX-License-Identifier: Apache-2.0
"""The gnocchi publisher where Keystone says who may store, and where."""

import contextlib

import msgspec
import pytest

from ceilo_agent import options
from ceilo_agent.errors import Retryable
from tests.functional import agent
from tests.functional.stored import METERS, cycle, guests, held, prepare, publisher, written
from tests.services import faulty, gnocchi, keystone


class Cloud:
    """A Keystone, a Gnocchi that believes it, and the options of an agent that may store there."""

    def __init__(self, keystone_server, server, credentials, path):
        self.keystone = keystone_server
        self.gnocchi = server
        self.credentials = credentials
        self._path = path

    def values(self, section="service_credentials", **changes):
        """Return the values of a configuration file with these credentials."""
        lines = [f"{key} = {value}" for key, value in (self.credentials | changes).items()]
        file = self._path / "ceilo_agent.conf"
        file.write_text(f"[{section}]\n" + "\n".join(lines) + "\n")
        return options.values(options.parse([str(file)]))


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    with keystone.running(tmp_path_factory.mktemp("keystone")) as identity:
        credentials = identity.create_user("ceilo-agent", "agent-secret", "service", "admin")
        sections = {
            "keystone_authtoken": credentials
            | {"www_authenticate_uri": identity.url, "token_cache_time": "-1"}
        }
        directory = tmp_path_factory.mktemp("gnocchi")
        headers = {"X-Auth-Token": identity.token}
        with gnocchi.running(directory, "keystone", sections, headers) as server:
            identity.register("metric", "gnocchi", server.url)
            made = Cloud(identity, server, credentials, tmp_path_factory.mktemp("options"))
            prepare(server, publisher(server, made.values(), "gnocchi://"))
            yield made


def pushed(made, samples):
    """Try once, and return whether they are stored."""
    with contextlib.suppress(Retryable):
        made.push(samples)
        return True
    return False


def test_the_catalogue_says_where_gnocchi_is_and_a_token_opens_it(cloud):
    made = publisher(None, cloud.values(), "gnocchi://")
    samples = cycle(guests(10), 0)
    made.push(samples)
    assert held(cloud.gnocchi, samples) == written(samples)
    assert made._client.where == cloud.gnocchi.url


def test_a_token_that_is_worth_nothing_any_more_is_renewed(cloud):
    made = publisher(None, cloud.values(), "gnocchi://")
    resources = guests(2)
    samples = cycle(resources, 0)
    made.push(samples)
    for second in (1, 2):
        cloud.keystone.revoke(made._client._transport._session.get_token())
        made.push(cycle(resources, second))
        samples += cycle(resources, second)
    assert held(cloud.gnocchi, samples) == written(samples)


def test_a_wrong_password_is_told_tried_again_and_shown_nowhere(cloud, caplog):
    (guest,) = guests(1)
    made = publisher(None, cloud.values(password="not-the-secret"), "gnocchi://")
    for _ in range(2):
        with pytest.raises(Retryable) as caught:
            made.push(cycle([guest], 0))
        assert f"Keystone at {cloud.keystone.url}: it answers 401" in str(caught.value)
        assert "not-the-secret" not in str(caught.value) + caplog.text


def test_a_password_that_is_changed_is_read_from_its_file_at_the_next_try(cloud, tmp_path):
    path = tmp_path / "password"
    path.write_text("first-secret\n")
    own = cloud.keystone.create_user("changing", "first-secret", "service", "admin")
    made = publisher(None, cloud.values(**own | {"password": f"file:{path}"}), "gnocchi://")
    resources = guests(2)
    made.push(cycle(resources, 0))
    user = cloud.keystone.ask("GET", "/users?name=changing")["users"][0]["id"]
    # This also makes the token worthless.
    changed = {"user": {"password": "second-secret"}}
    cloud.keystone.ask("PATCH", f"/users/{user}", changed)
    with pytest.raises(Retryable, match=f"Keystone at {cloud.keystone.url}: it answers 401"):
        made.push(cycle(resources, 1))
    path.write_text("second-secret\n")
    # Keystone counts whole seconds: a token of the second of the change is worth nothing either.
    agent.wait_until(lambda: pushed(made, cycle(resources, 1)))
    samples = cycle(resources, 0) + cycle(resources, 1)
    assert held(cloud.gnocchi, samples) == written(samples)


def test_a_user_without_rights_is_told_and_tried_again(cloud):
    weak = cloud.keystone.create_user("reader", "reader-secret", "elsewhere", "reader")
    others = guests(2)[1:]
    publisher(None, cloud.values(), "gnocchi://").push(cycle(others, 0))
    made = publisher(None, cloud.values(**weak), "gnocchi://")
    for _ in range(2):
        with pytest.raises(Retryable, match="answers 403"):
            made.push(cycle(others, 1))


def test_application_credentials_and_the_section_of_its_own(cloud):
    body = {"application_credential": {"name": "agent", "secret": "app-secret"}}
    owner = cloud.keystone.ask("GET", "/users?name=admin")["users"][0]["id"]
    found = cloud.keystone.ask("POST", f"/users/{owner}/application_credentials", body)
    path = cloud._path / "secret"
    path.write_text("app-secret\n")
    file = cloud._path / "agent.conf"
    file.write_text(
        "[gnocchi]\nauth_section = gnocchi\nauth_type = v3applicationcredential\n"
        f"auth_url = {cloud.keystone.url}\n"
        f"application_credential_id = {found['application_credential']['id']}\n"
        f"application_credential_secret = file:{path}\n"
    )
    values = options.values(options.parse([str(file)]))
    made = publisher(None, values, f"gnocchi://127.0.0.1:{cloud.gnocchi.port}")
    (guest,) = guests(1)
    made.push(cycle([guest], 0))
    assert guest.id.replace("/", "_") in cloud.gnocchi.resources()


def test_a_project_is_left_out_by_its_name(cloud):
    project = cloud.keystone.ask("GET", "/projects?name=service")["projects"][0]["id"]
    made = publisher(None, cloud.values(), "gnocchi://", filter_project="service")
    kept, left = guests(2)
    left = msgspec.structs.replace(left, project_id=project)
    made.push(cycle([kept, left], 0))
    assert made.left_out == {meter.name: 1 for meter in METERS}
    there = cloud.gnocchi.resources()
    assert kept.id.replace("/", "_") in there
    assert left.id not in there


def test_a_keystone_that_is_away_is_told(cloud):
    gone = f"http://127.0.0.1:{faulty.closed_port()}/v3"
    made = publisher(None, cloud.values(auth_url=gone), "gnocchi://")
    with pytest.raises(Retryable, match=f"Keystone at {gone}: Connection refused"):
        made.push(cycle(guests(1), 0))


def test_without_the_catalogue_entry_it_says_what_it_looked_for(cloud):
    made = publisher(None, cloud.values(region_name="Elsewhere"), "gnocchi://")
    with pytest.raises(Retryable, match="metric service in Elsewhere region not found"):
        made.push(cycle(guests(1), 0))
