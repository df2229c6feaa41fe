# SPDX-License-Identifier: Apache-2.0
"""Dynamic pollsters through the command: HTTP servers on loopback, good ones and bad ones."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional import agent
from tests.services import faulty
from tests.services.certificates import certificate, tls

DEFINITION = """\
- name: device.load
  sample_type: gauge
  unit: load
  discovery: resources
  url_path: devices
  value_attribute: load
  metadata_fields: [room]
  timeout: 1
  retries: 0
  next_sample_url_attribute: next
  max_pages: 20
  max_response_bytes: 1048576
"""


@pytest.fixture
def definition(tmp_path: Path) -> Path:
    file = tmp_path / "pollsters.d" / "devices.yaml"
    file.parent.mkdir()
    file.write_text(DEFINITION)
    return file


def devices(*names: str, **more: Any) -> faulty.Behaviour:
    listed = [{"id": name, "load": 0.5, "room": "r1"} for name in names]
    return faulty.ok(json.dumps({"devices": listed, **more}).encode())


def endless() -> faulty.Behaviour:
    numbers = itertools.count()

    def behave(exchange: faulty.Exchange) -> None:
        devices("paged", next=f"/devices?page={next(numbers)}")(exchange)

    return behave


BAD = {
    "silent": (faulty.hang, "no whole answer within 1 s"),
    "slow-loris": (faulty.drip(0.1, b" "), "no whole answer within 1 s"),
    "slow headers": (faulty.drip(0.1), "no whole answer within 1 s"),
    "a gigabyte": (faulty.huge(1 << 30), "larger than 1048576 bytes"),
    "a bomb": (
        faulty.ok(gzip.compress(bytes(100 << 20)), {"Content-Encoding": "gzip"}),
        "larger than 1048576 bytes",
    ),
    "a page": (
        faulty.ok(b"<html>Log in</html>", {"Content-Type": "text/html"}),
        "an HTML page came in place of json",
    ),
    "elsewhere": (
        faulty.status(302, headers={"Location": "http://192.0.2.1/secret"}),
        "it redirects to another host, http://192.0.2.1/secret: not followed",
    ),
    "broken": (faulty.status(500), "it answers 500 Internal Server Error"),
    "reset": (faulty.cut_before_reply, "Connection reset by peer"),
    "no number": (
        faulty.ok(b'[{"id": "x", "load": "high"}]'),
        "a text is no number",
    ),
    "endless": (endless(), "more than 20 pages (max_pages)"),
}
"""What a server does, and the words that must be told of it."""


@pytest.fixture
def servers() -> Iterator[dict[str, faulty.Server]]:
    """One server for each behaviour, and a good one."""
    made = {name: faulty.Server(behaviour) for name, (behaviour, _) in BAD.items()}
    made["good"] = faulty.Server(devices("a", "b"))
    yield made
    for server in made.values():
        server.stop()


def test_poll_shows_each_step_and_prints_the_samples(definition: Path) -> None:
    with faulty.serving(devices("a", "b")) as server:
        done = agent.run("poll", "--once", "--pollster", definition, "--resource", server.url)
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[0] == f"GET {server.url}/devices"
    assert "device.load: 2 entries" in lines
    assert "a: value 0.5 -> device.load = 0.5" in lines
    assert 'room: "r1"' in lines
    assert lines[-1].split()[-4:] == ["b", "device.load", "0.5", "load"]


def test_poll_tells_all_that_is_bad_and_what_is_good_is_read(
    definition: Path, servers: dict[str, faulty.Server]
) -> None:
    wanted = [word for one in servers.values() for word in ("--resource", one.url)]
    done = agent.run(
        *("poll", "--once", "--output", "json", "--pollster", definition, *wanted), check=False
    )
    assert done.returncode == 1, "something could not be read"
    found = json.loads(done.stdout)
    assert {one["resource_id"] for one in found} == {"a", "b", "paged"}
    for name, (_, words) in BAD.items():
        assert words in done.stderr, name
        assert f"GET devices {servers[name].url}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--resource", "device"), "an absolute http:// or https:// URL was expected"),
        (("--resource", "http://u:secret@h/"), "'authentication'"),
        (("--namespaces", "host"), "--pollster goes with central alone"),
    ],
)
def test_wrong_use_is_told(definition: Path, arguments: tuple[str, ...], words: str) -> None:
    done = agent.run("poll", "--pollster", definition, *arguments, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("text", "resources", "words"),
    [
        ("", (), "no pollster is in it"),
        (None, (), "device.load: discovery is resources: --resource names one"),
        (
            "- {name: a, sample_type: gauge, unit: b, value_attribute: out, host_command: date}\n",
            ("--resource", "http://127.0.0.1:1"),
            "no pollster in it takes the URL of a --resource",
        ),
    ],
)
def test_it_is_told_why_nothing_was_asked(
    definition: Path, text: str | None, resources: tuple[str, ...], words: str
) -> None:
    if text is not None:
        definition.write_text(text)
    done = agent.run("poll", "--once", "--pollster", definition, *resources, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert words in done.stderr


def test_a_password_goes_to_the_server_and_nowhere_else(definition: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    own = certificate(tmp_path)
    definition.write_text(
        f"{DEFINITION}"
        f"  authentication: {{type: basic, username: me, password: 'file:{tmp_path}/password'}}\n"
        f"  tls: {{cafile: {own.cert}}}\n"
    )
    with faulty.serving(devices("a"), tls(own)) as server:
        done = agent.run("poll", "--once", "--pollster", definition, "--resource", server.url)
        assert server.requests[0].headers["Authorization"] == "Basic bWU6czNjcmV0"
    assert "s3cret" not in done.stdout + done.stderr


def test_an_agent_polls_what_is_good_in_every_slot_whatever_the_others_do(
    definition: Path, servers: dict[str, faulty.Server], tmp_path: Path
) -> None:
    source = {
        "name": "devices",
        "interval": 4,
        "meters": ["device.load"],
        "resources": [server.url for server in servers.values()],
        "sinks": ["out"],
    }
    out = tmp_path / "out"
    pipeline = {
        "sources": [source],
        "sinks": [{"name": "out", "publishers": [f"file://{out}?json"]}],
    }
    (tmp_path / "pipeline.yaml").write_text(json.dumps(pipeline))
    config = agent.configure(tmp_path, namespaces="central")
    more = f"[polling]\npollsters_definitions_dirs = {definition.parent}\n"
    config.write_text(config.read_text().replace("[polling]\n", more))

    def slots() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for line in out.read_text().splitlines() if out.exists() else ():
            one = json.loads(line)
            found.setdefault(one["resource_id"], set()).add(one["timestamp"])
        return found

    log = tmp_path / "log"
    with agent.running("polling", config=config, log=log):
        agent.wait_until(lambda: len(slots().get("b", ())) >= 3, 60)
    told = log.read_text()
    assert slots()["a"] == slots()["b"]
    for name, (_, words) in BAD.items():
        assert words in told, name
    assert len(servers["good"].requests) <= len(slots()["a"]) + 1, "once in a slot"
    assert told.count("no whole answer within 1 s") <= 2, "told once, not in each cycle"
