# SPDX-License-Identifier: Apache-2.0
"""What the keys of a definition mean; tests/bad_pollsters holds the mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ceilo_agent.definition.pollsters import PollsterDef, load
from ceilo_agent.expressions.value import Value
from ceilo_agent.sample import SampleType

BASE = """\
- name: device.load
  sample_type: cumulative
  unit: load
  value_attribute: load | value * 2
  endpoint_type: compute
  url_path: v2/devices
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pollsters.yaml"


def read(file: Path, more: str = "", base: str = BASE) -> PollsterDef:
    file.write_text(base + more)
    (found,) = load([file])
    return found


def test_defaults_are_those_of_ceilometer(file: Path) -> None:
    found = read(file)
    assert (found.name, found.sample_type, found.unit) == (
        "device.load",
        SampleType.CUMULATIVE,
        "load",
    )
    assert found.value_attribute({"load": 3}) == 6
    assert (found.endpoint_type, found.url_path, found.method) == ("compute", "v2/devices", "GET")
    assert (found.namespaces, found.timeout, found.default_value) == (("central",), 30, -1)
    assert found.user_id_attribute == Value.parse("user_id")
    assert found.project_id_attribute == Value.parse("project_id")
    assert found.resource_id_attribute == Value.parse("id")
    assert found.response_handlers == ("json",)
    assert found.extra_metadata_fields_cache_seconds == 3600
    assert found.preserve_mapped_metadata
    assert found.max_pages == 1000
    assert (found.metadata_fields, found.value_mapping, found.headers) == ({}, {}, {})
    assert (found.authentication, found.tls, found.rate, found.host_command) == (None,) * 4


def test_a_key_with_nothing_behind_it_has_its_default(file: Path) -> None:
    found = read(file, "  timeout:\n  headers: ~\n  user_id_attribute: null\n")
    assert found.timeout == 30
    assert found.user_id_attribute == Value.parse("user_id")


def test_an_empty_text_switches_an_attribute_off(file: Path) -> None:
    found = read(
        file, "  user_id_attribute: ''\n  project_id_attribute: ''\n  resource_id_attribute: ''\n"
    )
    assert found.user_id_attribute is None
    assert found.project_id_attribute is None
    assert found.resource_id_attribute is None


@pytest.mark.parametrize("written", ["{A: b, C: 1}", "[{A: b}, {C: 1}]"])
def test_headers_are_a_mapping_or_a_list_of_mappings(file: Path, written: str) -> None:
    assert read(file, f"  headers: {written}\n").headers == {"A": "b", "C": "1"}


@pytest.mark.parametrize(
    ("written", "meant"), [("central", ("central",)), ("[a, central]", ("a", "central"))]
)
def test_namespaces_are_a_text_or_a_list(file: Path, written: str, meant: tuple[str, ...]) -> None:
    assert read(file, f"  namespaces: {written}\n").namespaces == meant


def test_metadata_has_its_path_as_name_or_a_name_of_its_own(file: Path) -> None:
    listed = read(file, "  metadata_fields: [a.b, \"c | value + 'd'\"]\n").metadata_fields
    assert list(listed) == ["a.b", "c | value + 'd'"]
    assert listed["c | value + 'd'"]({"c": "x"}) == "xd"
    named = read(file, "  metadata_fields: {size: a.b, room: room}\n").metadata_fields
    assert named == {"size": Value.parse("a.b"), "room": Value.parse("room")}


def test_values_are_mapped_whether_the_api_gives_numbers_or_texts(file: Path) -> None:
    found = read(file, "  value_mapping: {1: 10, '2': '20', true: 5, UP: 1}\n  default_value: 0\n")
    mapping = found.value_mapping
    assert (mapping["1"], mapping["2"], mapping[2], mapping["UP"]) == (10, "20", "20", 1)
    assert mapping[1] == 10, "1 is True to Python: the first one counts"
    assert found.default_value == 0


def test_a_name_in_braces_reads_a_list(file: Path) -> None:
    base = BASE.replace("device.load", "device.load.{core-name}").replace(
        "load | value * 2", '"[cpu.cores].busy.now | value * 2"'
    )
    found = read(file, base=base)
    assert found.name == "device.load.{core-name}"
    assert found.sub_meter == ("device.load.", "core-name")
    assert found.value_attribute({"cpu": {"cores": [1]}}) == [1]
    assert found.sub_value is not None
    assert found.sub_value({"busy": {"now": 4}}) == 8


@pytest.mark.parametrize(
    "path",
    ["v2/devices", "/v2/devices?all_tenants=true", "https://h:8443/api", "v1/x?q=up{a=\"b\"}",
     "odata/Things('1')", "v2/devices/it's", "?a=b"],
)  # fmt: skip
def test_a_path_is_a_text(file: Path, path: str) -> None:
    base = BASE.replace("url_path: v2/devices", f'url_path: "{path}"'.replace('"b"', '\\"b\\"'))
    assert read(file, base=base).url_path == path


def test_a_path_may_be_an_expression(file: Path) -> None:
    base = BASE.replace(
        "url_path: v2/devices", "discovery: projects\n  url_path: \"'v2/' + project['id']\""
    )
    path = read(file, base=base).url_path
    assert isinstance(path, Value)
    assert path(None, {"project": {"id": "p"}}) == "v2/p"


def test_a_path_alone_is_enough_for_a_url_and_for_resources(file: Path) -> None:
    base = BASE.replace("  endpoint_type: compute\n", "")
    assert read(file, base=base.replace("v2/devices", "http://h/api")).endpoint_type is None
    assert read(file, "  discovery: resources\n", base).discovery == "resources"
    found = read(file, "  discovery: resources\n", base.replace("  url_path: v2/devices\n", ""))
    assert found.url_path == ""


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("df -k /", ("df", "-k", "/")),
        ("[df, -k, 7]", ("df", "-k", "7")),
        ("echo 'a | b' \"c d\"", ("echo", "a | b", "c d")),
        ("['echo', '$HOME; ls']", ("echo", "$HOME; ls")),
    ],
)
def test_a_command_is_a_list_or_is_split_as_a_shell_would(
    file: Path, written: str, words: tuple[str, ...]
) -> None:
    base = BASE.replace("  endpoint_type: compute\n  url_path: v2/devices\n", "")
    assert read(file, f"  host_command: {written}\n", base).host_command == words


def test_head_reads_headers(file: Path) -> None:
    assert read(file, "  method: HEAD\n").response_handlers == ("headers",)


def test_secrets_are_read_where_they_are(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("geheim\n")
    more = (
        "  authentication: {type: s3, access_key: env:RGW_KEY, "
        f"secret_key: 'file:{tmp_path}/secret'}}\n"
    )
    own = read(file, more).authentication
    assert own is not None
    assert own.access_key is not None
    assert own.secret_key is not None
    assert own.secret_key.read() == "geheim"
    monkeypatch.delenv("RGW_KEY", raising=False)
    with pytest.raises(LookupError, match="RGW_KEY"):
        own.access_key.read()
    monkeypatch.setenv("RGW_KEY", "key")
    assert own.access_key.read() == "key"
    assert "geheim" not in repr(own)
    assert "env:RGW_KEY" in repr(own), "two definitions with other variables are not alike"


def test_further_requests_take_after_their_definition(file: Path) -> None:
    more = (
        "  extra_metadata_fields_cache_seconds: 60\n"
        "  extra_metadata_fields_skip: [{status: DOWN}]\n"
        "  extra_metadata_fields:\n"
        "    - name: project_name\n"
        "      endpoint_type: identity\n"
        "      url_path: \"'/v3/projects/' + str(sample['project_id'])\"\n"
        "      value: name\n"
        "    - name: other\n"
        "      url_path: x\n"
        "      extra_metadata_fields_cache_seconds: 0\n"
        "      extra_metadata_fields_skip: []\n"
    )
    first, second = read(file, more).extra_metadata_fields
    assert (first.name, first.endpoint_type, first.unit) == ("project_name", "identity", "load")
    assert first.value_attribute == Value.parse("name")
    assert isinstance(first.url_path, Value)
    assert first.url_path(None, {"sample": {"project_id": "p"}}) == "/v3/projects/p"
    assert first.extra_metadata_fields_cache_seconds == 60
    assert first.extra_metadata_fields_skip == ({"status": "DOWN"},)
    assert first.resource_id_attribute is None
    assert second.value_attribute == Value.parse("load | value * 2")
    assert second.extra_metadata_fields_cache_seconds == 0
    assert second.extra_metadata_fields_skip == ()


def test_one_further_request_may_be_a_mapping(file: Path) -> None:
    (field,) = read(
        file, "  extra_metadata_fields: {name: a, url_path: x, value: b}\n"
    ).extra_metadata_fields
    assert field.name == "a"
