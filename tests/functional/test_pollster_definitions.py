# SPDX-License-Identifier: Apache-2.0
"""Definitions of dynamic pollsters through the commands: the page's example, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.functional import agent
from tests.pages import ROOT
from tests.services import faulty

EXAMPLES = ROOT / "doc" / "examples" / "pollsters"
WRONG = "- name: a b\n  sample_type: gage\n  unit: 5\n  value_attribute: x | open('/etc/passwd')\n"


def controller(request: faulty.Request) -> tuple[int, dict[str, str], bytes]:
    """Answer as the comment in the example says, with two pages."""
    url = urlsplit(request.path)
    if url.path == "/api/floors/f-1":
        return 200, {}, b'{"floor": {"id": "f-1", "name": "ground floor"}}'
    if url.path != "/api/rooms":
        return 404, {}, b""
    page = int(parse_qs(url.query).get("page", ["1"])[0])
    room = {
        "id": f"r-10{page}",
        "floor": "f-1",
        "climate": {"celsius": f"2{page}.5", "state": ["HEATING", "IDLE"][page - 1]},
        "sockets": [{"label": "desk", "watt": 12}, {"label": "wall", "watt": 0}],
    }
    links = [{"rel": "prev", "href": "/api/rooms"}]
    if page == 1:
        links.append({"rel": "next", "href": "/api/rooms?page=2"})
    return 200, {}, json.dumps({"rooms": [room], "links": links}).encode()


def test_the_example_of_the_page_polls_what_it_says() -> None:
    with faulty.serving(faulty.reply(controller)) as server:
        done = agent.run(
            *("poll", "--once", "--output", "json", "--pollster", EXAMPLES / "rooms.yaml"),
            *("--resource", server.url),
        )
        asked = [request.path for request in server.requests]
    assert sorted(asked) == ["/api/floors/f-1", "/api/rooms", "/api/rooms?page=2"]
    found = {(one["name"], one["resource_id"]): one["volume"] for one in json.loads(done.stdout)}
    assert found == {
        ("room.temperature", "r-101"): 21.5,
        ("room.temperature", "r-102"): 22.5,
        ("room.heating", "r-101"): 1,
        ("room.heating", "r-102"): 0,
        ("room.power.desk", "r-101"): 12,
        ("room.power.wall", "r-101"): 0,
        ("room.power.desk", "r-102"): 12,
        ("room.power.wall", "r-102"): 0,
    }
    metadata = [
        one["resource_metadata"]
        for one in json.loads(done.stdout)
        if one["name"] == "room.temperature"
    ]
    assert metadata == [{"floor": "f-1", "sockets": 2, "floor_name": "ground floor"}] * 2


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return options of an agent with the page's definitions and pipeline file."""
    (tmp_path / "pollsters.d").mkdir()
    (tmp_path / "pollsters.d" / "rooms.yaml").write_text((EXAMPLES / "rooms.yaml").read_text())
    (tmp_path / "pipeline.yaml").write_text((EXAMPLES / "pipeline.yaml").read_text())
    made = agent.configure(tmp_path, namespaces="central")
    more = f"[polling]\npollsters_definitions_dirs = {tmp_path}/pollsters.d\n"
    made.write_text(made.read_text().replace("[polling]\n", more))
    return made


def test_check_reads_definitions_and_knows_their_meters(config: Path, tmp_path: Path) -> None:
    done = agent.run("--config-file", config, "config", "check")
    assert f"{tmp_path}/pollsters.d: 1 file, 3 pollsters, no faults" in done.stdout
    (tmp_path / "pollsters.d" / "rooms.yaml").write_text("")
    done = agent.run("--config-file", config, "config", "check", check=False)
    assert done.returncode == 1
    assert "no meter matches 'room.*'" in done.stderr


def test_mistakes_are_told_by_check_and_an_agent_refuses(config: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "pollsters.d" / "wrong.yaml"
    wrong.write_text(WRONG)
    places = [f"{wrong}:{place}:" for place in ("1:10", "2:16", "3:9", "4:24")]
    checked = agent.run("--config-file", config, "config", "check", check=False)
    refused = agent.run("--config-file", config, "polling", check=False)
    assert (checked.returncode, refused.returncode) == (1, 2)
    for done in (checked, refused):
        assert all(place in done.stderr for place in places), done.stderr
        assert "unknown function 'open'" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_missing_directory_is_told(config: Path, tmp_path: Path) -> None:
    for file in (tmp_path / "pollsters.d").iterdir():
        file.unlink()
    (tmp_path / "pollsters.d").rmdir()
    done = agent.run("--config-file", config, "polling", check=False)
    assert done.returncode == 2
    assert f"{tmp_path}/pollsters.d: no such directory" in done.stderr
