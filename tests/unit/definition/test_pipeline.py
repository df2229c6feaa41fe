# SPDX-License-Identifier: Apache-2.0
"""Files that load, what they load as, and what is told of them beside faults."""

import hashlib
import time
from pathlib import Path

import msgspec
import pytest

from ceilo_agent.definition.pipeline import Role, load, unknown_meters
from ceilo_agent.errors import ConfigError

SHIPPED = Path(__file__).parents[3] / "etc" / "pipeline.yaml"

# The shape of Ceilometer's file of the Mitaka release, with other contents.
MITAKA = """
---
sources:
    - name: meter_source
      interval: 600
      meters:
          - "*"
      sinks:
          - meter_sink
    - name: network_source
      meters: ["network.incoming.bytes", "network.outgoing.bytes"]
      resources:
      discovery: null
      sinks: [meter_sink, probe_sink]
sinks:
    - name: meter_sink
      transformers:
      publishers:
          - console://
    - name: probe_sink
      transformers:
          - name: "bare"
            parameters:
          - name: "probe"
            parameters:
                size: 3
                target:
                    name: "cpu_util"
                    scale: "100.0 / (10**9 * (resource_metadata.cpu_number or 1))"
                growth_only: yes
      publishers:
          - console
          - sender://example.org:80/a/b?timeout=2&verify=no
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "pipeline.yaml"
        path.write_text(text)
        return path

    return write


def small(publishers="[local://]", more="", sinks="[s]", other=""):
    return (
        f"sources: [{{name: a, interval: 60, meters: [cpu], sinks: {sinks}}}]\n"
        f"sinks: [{{name: s, publishers: {publishers}}}{other}]\n{more}"
    )


def test_mitaka_file(write):
    path = write(MITAKA.replace("verify=no", "verify=false"))
    found = load(path)
    assert found.path == path
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.publishers, found.tests, found.warnings) == ({}, (), ())
    every, network = found.sources
    assert (every.name, every.interval, every.meters) == ("meter_source", 600, ("*",))
    assert every.sinks == ("meter_sink",)
    assert every.position == (4, 7)
    assert network.interval is None, "without an interval it does not poll"
    assert (network.resources, network.discovery) == ((), ())
    assert network.meter_positions == ((11, 16), (11, 42))
    assert network.sinks == ("meter_sink", "probe_sink")


def test_sinks(write):
    """Ceilometer: transformers a list or null, parameters may be null. Here too."""
    plain, probing = load(write(MITAKA.replace("verify=no", "verify=false"))).sinks
    assert plain.transformers == ()
    assert plain.position == (16, 7)
    bare, probe = probing.transformers
    assert (bare.name, bare.written) == ("bare", {})
    assert bare.parameters == type(bare.parameters)()
    assert probe.parameters.size == 3
    assert probe.parameters.growth_only is True
    assert probe.parameters.target.name == "cpu_util"
    assert probe.parameters.target.type == "gauge"
    assert probe.written["target"]["name"] == "cpu_util"
    assert probe.position == (24, 13)


def test_publishers(write):
    """Ceilometer: a publisher is a URL or a bare name. Here too."""
    plain, probing = load(write(MITAKA.replace("verify=no", "verify=false"))).sinks
    (console,) = plain.publishers
    again, sender = probing.publishers
    assert again is console, "a bare scheme is the URL without anything behind it"
    assert (console.name, console.scheme, console.options.format) == ("console", "console", "text")
    assert (sender.name, sender.scheme) == ("sender-example.org:80/a/b", "sender")
    assert (sender.url.hostname, sender.url.port, sender.url.path) == ("example.org", 80, "/a/b")
    assert sender.url.query == ""
    assert sender.url.geturl() == "sender://example.org:80/a/b"
    assert (sender.options.timeout, sender.options.verify) == (2.0, False)
    assert sender.options.policy.value == "drop"
    assert sender.position == (33, 13)


def test_the_query_takes_what_yaml_calls_false_only_as_json_does(write):
    with pytest.raises(ConfigError, match="option 'verify': true or false was expected"):
        load(write(MITAKA))


def test_named_publishers(write):
    more = (
        "publishers:\n"
        "  screen: console\n"
        "  far: {url: 'sender://h?retries=3', timeout: 7, topic: x}\n"
        "  unused: file:///x\n"
    )
    found = load(write(small("[screen, far]", more)))
    screen, far = found.sinks[0].publishers
    assert (screen.name, screen.scheme) == ("screen", "console")
    assert (far.name, far.scheme, far.options.retries, far.options.timeout) == (
        "far",
        "sender",
        3,
        7.0,
    )
    assert found.publishers["far"] is far
    assert [str(w).partition(":")[2] for w in found.warnings] == [
        "6:3: no sink uses the publisher 'unused'"
    ]


def test_one_publisher_in_two_sinks(write):
    url = "['file:///x?max_bytes=5']"
    other = f", {{name: t, publishers: {url}}}"
    first, second = load(write(small(url, sinks="[s, t]", other=other))).sinks
    assert first.publishers[0] is second.publishers[0]


def test_sink_that_nothing_feeds_is_a_warning(write):
    found = load(write(small(other=", {name: idle, publishers: [console]}")))
    assert [warning.what for warning in found.warnings] == ["no source feeds the sink 'idle'"]


def test_what_nobody_polls_is_a_warning(write):
    found = load(
        write(
            "sources:\n"
            "  - {name: a, meters: [cpu], sinks: [s], resources: ['http://device/']}\n"
            "sinks:\n"
            "  - {name: s, publishers: [console]}\n"
        )
    )
    assert [str(warning).partition(":")[2] for warning in found.warnings] == [
        "1:1: no source has an interval: nothing is polled",
    ]


def test_aliases_give_what_they_stand_for(write):
    text = (
        "sources:\n"
        "  - &a {name: a, interval: 60, meters: &meters [cpu], sinks: &all [s, t]}\n"
        "  - {<<: *a, name: b}\n"
        "  - {name: c, meters: *meters, sinks: *all}\n"
        "sinks:\n"
        "  - {name: s, publishers: [&url console]}\n"
        "  - {name: t, publishers: [*url]}\n"
    )
    found = load(write(text))
    assert [(s.name, s.interval, s.meters, s.sinks) for s in found.sources] == [
        ("a", 60, ("cpu",), ("s", "t")),
        ("b", 60, ("cpu",), ("s", "t")),
        ("c", None, ("cpu",), ("s", "t")),
    ]
    assert [sink.publishers[0].name for sink in found.sinks] == ["console", "console"]


def test_objects_cannot_be_changed(write):
    found = load(write(small()))
    for each in (found, found.sources[0], found.sinks[0], found.sinks[0].publishers[0]):
        with pytest.raises(AttributeError):
            each.name = "other"


def test_shipped_file():
    found = load(SHIPPED)
    assert found.warnings == ()
    assert [source.name for source in found.sources] == ["guests", "host"]
    assert {source.interval for source in found.sources} == {60}
    assert {p.scheme for sink in found.sinks for p in sink.publishers} == {"local"}


# -- What Ceilometer made of such a file ---------------------------------------------------------


def test_without_an_interval_nothing_is_polled(write):
    """Ceilometer: 600 seconds where the interval was left out. Here: it only takes what comes."""
    found = load(write(small().replace("interval: 60, ", "")))
    assert found.sources[0].interval is None
    assert [warning.what for warning in found.warnings] == [
        "no source has an interval: nothing is polled"
    ]


NOTHING = "a mapping with sources and sinks was expected, found nothing"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("# all of it is a comment\n", "the file is empty"),
        ("---\n", NOTHING),
        ("~\n", NOTHING),
    ],
)
@pytest.mark.parametrize("role", Role)
def test_an_empty_file_is_an_error_in_words(write, text, what, role):
    """Ceilometer: TypeError, as there was nothing to look names up in."""
    with pytest.raises(ConfigError) as refused:
        load(write(text), role)
    assert [fault.what for fault in refused.value.faults] == [what]


@pytest.mark.parametrize("role", Role)
def test_a_file_that_is_missing_is_an_error_in_words(tmp_path, role):
    """Ceilometer: without polling.yaml a default was read that is not there: a traceback."""
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "polling.yaml", role)
    assert [str(fault) for fault in refused.value.faults] == [
        f"{tmp_path}/polling.yaml: no such file"
    ]


@pytest.mark.parametrize(
    ("patterns", "right"),
    [
        ("'*.bytes', '!disk.*'", True),
        ("cpu, '*.bytes'", True),
        ("cpu, 'disk.*'", True),
        ("'!cpu', '!disk.*'", True),
        ("'*', '!disk.*'", True),
        ("'disk.*', '!disk.device.read.*'", False),
        ("'*', 'disk.*'", False),
        ("cpu, '!disk.*'", False),
    ],
)
def test_the_first_character_says_what_a_pattern_is(write, patterns, right):
    """Ceilometer: `disk.*` counted as included, `*.bytes` as a wildcard. Here too."""
    path = write(small().replace("[cpu]", f"[{patterns}]"))
    if right:
        assert len(load(path).sources[0].meters) == 2
    else:
        with pytest.raises(ConfigError):
            load(path)


@pytest.mark.parametrize(
    "line", [b"# never read\n", b"- {name: a, interval: 60, meters: [cpu], sinks: [s]}\n", b"x"]
)
def test_a_file_of_ten_megabytes_is_refused_at_once(tmp_path, line):
    path = tmp_path / "pipeline.yaml"
    path.write_bytes(b"sources:\n" + line * (10_000_000 // len(line)))
    begun = time.process_time()
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert [str(fault) for fault in refused.value.faults] == [f"{path}: larger than 1 MiB"]
    assert time.process_time() - begun < 1


# -- What must not be shown ----------------------------------------------------------------------

SECRET = "hunter2"
HIDING = [
    f"'sender://joe:{SECRET}@h/x?timeout=1'",
    f"'sender://joe:{SECRET}@h/x?timeout=no'",
    f"'sender://{SECRET}@h:port/x'",
    f"'sender://joe:a/{SECRET}@h/x'",
    f"'sender://joe:a@{SECRET}@h/x'",
    f"'sender://joe:a#{SECRET}@h/x'",
    f"'sender://joe:a?{SECRET}@h/x'",
    f"'sender://joe:{SECRET}@[::1/x'",
    f"'sender://joe:{SECRET}\u2100@h/x'",
    f"'sender:/joe:{SECRET}@h/x'",
    f"'joe:{SECRET}@h/x'",
    f"'://joe:{SECRET}@h/x'",
    f"' sender://joe:{SECRET}@h/x'",
    f"'sendr://joe:{SECRET}@h/x?token={SECRET}'",
    f"'file://joe:{SECRET}@localhost/x'",
    f"{{url: 'sender://joe:{SECRET}@h/x', timeout: ten}}",
    f"{{url: ['sender://joe:{SECRET}@h/x']}}",
    f"{{'sender://joe:{SECRET}@h/x': 1}}",
]


@pytest.mark.parametrize("publisher", HIDING)
@pytest.mark.parametrize("where", ["item", "whole", "section", "key"])
def test_user_info_is_never_shown(write, publisher, where):
    text = {
        "item": small(f"[{publisher}]"),
        "whole": small(publisher),
        "section": small("[far]", f"publishers: {{far: {publisher}}}\n"),
        "key": small(more=f"{publisher}: 5\n"),
    }[where]
    try:
        found = load(write(text))
    except ConfigError as error:
        said = str(error) + repr(error.faults)
    else:
        said = repr(found) + str(found) + f"{found.sinks[0].publishers[0].url}"
        said += "".join(map(str, found.warnings)) + repr(msgspec.structs.asdict(found))
    assert said
    assert SECRET not in said


def test_user_info_works_and_is_warned_of(write):
    found = load(write(small(f"['sender://joe:{SECRET}@h:1/x']")))
    (publisher,) = found.sinks[0].publishers
    assert (publisher.url.username, publisher.url.password) == ("joe", SECRET)
    assert publisher.name == "sender-h:1/x"
    (warning,) = found.warnings
    assert str(warning).partition(":")[2] == (
        "2:32: 'sender://***@h:1/x' holds a user name or password (whoever reads this file sees it)"
    )


# -- Meters that nothing knows -------------------------------------------------------------------


def test_unknown_meters(write):
    text = small().replace("[cpu]", "[cpu, cup, 'disk.*', 'dsk.*', cup]")
    found = unknown_meters(load(write(text)), ["cpu", "disk.read"])
    assert [str(fault).rpartition("pipeline.yaml:")[2] for fault in found] == [
        "1:49: no meter is named 'cup' (did you mean 'cpu'?)",
        "1:64: no meter matches 'dsk.*' (did you mean 'disk.*'?)",
        "1:73: no meter is named 'cup' (did you mean 'cpu'?)",
    ]


def test_a_star_matches_even_where_nothing_is_known(write):
    assert unknown_meters(load(write(small().replace("[cpu]", "['*']"))), []) == []


def test_many_unknown_meters_are_told_in_time(write):
    names = ", ".join(f"no.such.meter.{number}" for number in range(20_000))
    found = unknown_meters(load(write(small().replace("[cpu]", f"[{names}]"))), ["cpu", "memory"])
    assert len(found) == 20_000
