# SPDX-License-Identifier: Apache-2.0
"""The definition file: what it says, what is wrong with it, and where it is."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from ceilo_agent.definition.pipeline import load
from ceilo_agent.delivery.outlets import Placed
from ceilo_agent.errors import ConfigError
from ceilo_agent.publishers.gnocchi import definitions
from ceilo_agent.publishers.gnocchi.definitions import Definitions
from ceilo_agent.publishers.gnocchi.schemas import CEILOMETER
from tests.unit.publishers.gnocchi.conftest import Loaded

ROOT = Path(__file__).parents[4]
SHIPPED = ROOT / "etc" / "gnocchi_resources.yaml"
OTHERS = (definitions.DIRECTORIES[0], definitions.CEILOMETERS)
"""Where an operator may have a file."""
BAD = ROOT / "tests" / "bad_gnocchi"
FILES = sorted(BAD.glob("*.yaml"))
MARK = "# expect: "


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


def test_the_schema_of_a_file_counts_before_what_is_known(loaded: Loaded) -> None:
    text = SMALL.replace("attributes:", "schema: {host: {max_length: 64}}\n    attributes:")
    schema = loaded(text).resource_types["instance"].schema
    assert schema["host"]["max_length"] == 64
    assert schema["flavor_id"] == CEILOMETER["instance"]["flavor_id"]


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


def test_without_a_path_it_is_the_shipped_file() -> None:
    if not (definitions.DIRECTORIES[0] / definitions.NAME).exists():
        assert Definitions.load(None).path == SHIPPED
