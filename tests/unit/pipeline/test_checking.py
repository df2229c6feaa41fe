# SPDX-License-Identifier: Apache-2.0
"""What `config check` warns of: meters followed from the sources through the steps of each sink."""

import importlib
import sys

import pytest
from stevedore.extension import ExtensionManager

from ceilo_agent.definition.pipeline import Role
from ceilo_agent.pipeline.checking import check
from tests.example_plugin import describe

CODE = """
import msgspec
from ceilo_agent.plugins import NeverMatches, StatefulTransformer, Transformer
from ceilo_agent.sample import Meter, SampleType

class Parameters(msgspec.Struct):
    name: str = ""
    meters: int = 0
    hosts: bool = False

class Maker(Transformer):
    "Makes one meter of all that it gets."
    Parameters = Parameters
    def __call__(self, samples):
        return samples
    def outcome(self, meters):
        return [Meter(self.parameters.name, "", SampleType.GAUGE)] if self.parameters.name else []

class Picky(Maker):
    def outcome(self, meters):
        raise NeverMatches(f"it gets {len(meters)}")

class Clumsy(Maker):
    def outcome(self, meters):
        return 1 / 0

class Unmakeable(Maker):
    def __init__(self, parameters):
        raise OSError("nothing here\\nbut this")

class Grouping(StatefulTransformer):
    Parameters = Parameters
    def __init__(self, parameters):
        super().__init__(parameters)
        self.spans_hosts = parameters.hosts
    def __call__(self, samples):
        return samples
    def key(self, sample):
        return 0
    def tick(self, now):
        return []
    def dump(self):
        return b""
    def load(self, state):
        pass
"""
NAMES = ("maker", "picky", "clumsy", "unmakeable", "grouping")


@pytest.fixture(scope="module", autouse=True)
def _plugins(tmp_path_factory):
    directory = tmp_path_factory.mktemp("checked")
    (directory / "ceilo_checked.py").write_text(CODE)
    lines = [f"{name} = ceilo_checked:{name.capitalize()}" for name in NAMES]
    entry_points = "[ceilo_agent.transformer]\n" + "\n".join(lines) + "\n"
    describe(directory, "ceilo-checked", "1.0", entry_points)
    sys.path.insert(0, str(directory))
    importlib.invalidate_caches()
    ExtensionManager.ENTRY_POINT_CACHE.clear()
    yield
    sys.path.remove(str(directory))
    sys.modules.pop("ceilo_checked", None)
    ExtensionManager.ENTRY_POINT_CACHE.clear()


@pytest.fixture
def found(tmp_path):
    """Return what a check finds: faults or warnings, without the file's name."""

    def found(text, role=Role.LOCAL, *, faults=False):
        path = tmp_path / "pipeline.yaml"
        path.write_text(text)
        report = check(path, role)
        assert faults or report.faults == []
        told = report.faults if faults else report.warnings
        return [str(each).removeprefix(f"{path}:") for each in told]

    return found


def chain(*steps, meters="[cpu, memory]", interval="interval: 60, "):
    """Return a file of one source and one sink; the first step is in line 5, column 9."""
    lines = "".join(f"      - {{name: {step}}}\n" for step in steps)
    return (
        f"sources: [{{name: a, {interval}meters: {meters}, sinks: [s]}}]\n"
        "sinks:\n"
        "  - name: s\n"
        "    transformers:\n"
        f"{lines}"
        "    publishers: [console]\n"
    )


# -- through the steps ---------------------------------------------------------------------------


def test_a_step_whose_meters_match_none(found):
    assert found(chain("maker, meters: [cpu, 'cpu_util', 'memory*', 'disk.*']")) == [
        "5:37: no meter that reaches this step matches 'cpu_util'",
        "5:60: no meter that reaches this step matches 'disk.*'",
    ]


def test_the_nearest_meter_is_named(found):
    assert found(chain("maker, meters: [memroy]")) == [
        "5:32: no meter that reaches this step matches 'memroy' (did you mean 'memory'?)"
    ]


def test_an_exclusion_may_match_none_but_not_leave_none(found):
    assert found(chain("maker, meters: ['!disk.*']")) == []
    assert found(chain("maker, meters: ['!cpu', '!mem*']")) == [
        "5:32: every meter that reaches this step is excluded from it"
    ]


def test_a_transformer_says_that_it_never_matches(found):
    assert found(chain("picky", "picky")) == [
        "5:9: the transformer 'picky' never has anything to do: it gets 2"
    ], "what it would pass on is not known, so nothing is said of the second"
    assert found(chain("picky, meters: [cpu]")) == [
        "5:9: the transformer 'picky' never has anything to do: it gets 1"
    ]


def test_a_later_step_gets_what_an_earlier_one_makes(found):
    made = "maker, parameters: {name: made}"
    assert found(chain(made, "picky, meters: [made]", meters="[cpu]")) == [
        "6:9: the transformer 'picky' never has anything to do: it gets 1"
    ]
    assert found(chain(made, "maker, meters: [cpu]", meters="[cpu]")) == [
        "6:32: no meter that reaches this step matches 'cpu'"
    ], "the original is gone"


@pytest.mark.parametrize("key", ["meters: [cpu], keep_original: true", "meters: [memory]"])
def test_originals_that_stay_or_pass_by_reach_the_next_step(found, key):
    assert found(chain(f"maker, {key}, parameters: {{name: made}}", "maker, meters: [cpu]")) == []


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("rate_of_change, parameters: {target: {name: cpu_util}}", "cpu, memory"),
        ("rate_of_change, meters: [cpu], parameters: {target: {name: cpu_util}}", ""),
        ("rate_of_change, parameters: {source: {unit: ns}, target: {name: cpu_util}}", ""),
        ("relabel, parameters: {map_from: cpu|memory, map_to: used}", "cpu, memory"),
        ("aggregator, parameters: {retention_time: 60, target: {name: mean}}", "cpu, memory"),
        ("arithmetic, parameters: {target: {name: x, expr: $(cpu) / $(memory)}}", ""),
        ("filter, parameters: {expr: volume > 0}", ""),
    ],
)
def test_meters_of_one_resource_that_get_one_name(found, step, told):
    said = (
        f"5:9: the transformer '{step.partition(',')[0]}' gives {told} one name, and they have the "
        "same resources: their values mix (choose one of them with 'meters')"
    )
    assert found(chain(step)) == ([said] if told else [])


def test_one_name_for_meters_of_different_resources_is_right(found):
    step = "relabel, parameters: {name: size}"
    assert found(chain(step, meters="[memory, disk.device.capacity]")) == []


def test_the_chain_goes_on_past_a_step_that_gets_nothing(found):
    assert len(found(chain("maker, meters: [x]", "maker, meters: [y]"))) == 2


def test_nothing_is_said_of_steps_that_nothing_reaches_any_more(found):
    assert found(chain("maker", "maker, meters: [cpu]")) == []


def test_a_transformer_that_fails_in_its_outcome_is_not_followed(found):
    assert found(chain("clumsy", "maker, meters: [x]")) == []


def test_a_transformer_that_cannot_be_made_is_a_fault(found):
    assert found(chain("maker", "unmakeable"), faults=True) == [
        "6:9: the transformer 'unmakeable' cannot be made: nothing here but this"
    ]


def test_a_sink_gets_the_meters_of_all_its_sources(found):
    text = chain("maker, meters: [cpu, memory, vcpus]", meters="[cpu, memory]")
    assert len(found(text)) == 1
    other = "sources: [{name: b, interval: 5, meters: [vcpus], sinks: [s]}, "
    assert found(text.replace("sources: [", other)) == []


def test_a_discovery_limits_the_meters(found):
    text = chain("maker, meters: ['hardware.*']", meters="['*']")
    assert found(text) == []
    text = text.replace("sinks: [s]", "sinks: [s], discovery: [libvirt]", 1)
    assert [line.partition(" (")[0] for line in found(text)] == [
        "5:32: no meter that reaches this step matches 'hardware.*'"
    ]


def test_after_an_unknown_meter_nothing_is_sure(found):
    text = chain("maker, meters: [cpu_util]", meters="[cpu, cpu_util]")
    assert [line.partition(" (")[0] for line in found(text, faults=True)] == [
        "1:49: no meter is named 'cpu_util'"
    ]
    assert found(text, faults=True) != []


def test_with_a_mistake_of_structure_no_warnings_follow_from_it(found):
    text = chain("maker, meters: [x]").replace("interval", "intervall")
    assert [line.partition(" (")[0] for line in found(text, faults=True)] == [
        "1:21: unknown key 'intervall'"
    ]


def test_shipped_transformers(found):
    rate = "rate_of_change, parameters: {source: {unit: s}, target: {name: r}}"
    (warning,) = found(chain(rate))
    assert warning.startswith("5:9: the transformer 'rate_of_change' never has anything to do: ")
    made = "rate_of_change, meters: [cpu], parameters: {target: {name: cpu_util, unit: '%'}}"
    assert found(chain(made, "filter, parameters: {expr: \"name == 'cpu_util'\"}")) == []
    assert found(chain(made, "delta, meters: [cpu_util]")) == []
    (warning,) = found(chain(made, "filter, parameters: {expr: \"name == 'cpu'\"}"))
    assert warning.startswith("6:9: the transformer 'filter' never has anything to do: ")


# -- what a source polls and a step makes --------------------------------------------------------

RATES = (
    "rate_of_change, keep_original: true, parameters: {source: {map_from: {name: '(.+)'}}, "
    "target: {map_to: {name: '\\1.rate'}, unit: B/s}}"
)
BOTH = "[disk.device.read.bytes, disk.device.read.bytes.rate]"
TWICE = (
    "makes disk.device.read.bytes.rate, which the source 'a' polls too: it comes twice "
    "(leave the step out, or exclude the meters with '!')"
)


def test_a_meter_that_is_polled_and_made_comes_twice(found):
    only = RATES.replace("keep", "meters: [disk.device.read.bytes], keep")
    assert found(chain(only, meters=BOTH)) == [f"5:9: {TWICE}"]
    assert found(chain(only.replace("keep_original: true, ", ""), meters=BOTH)) == [f"5:9: {TWICE}"]
    assert found(chain(RATES, meters=BOTH)) == [f"5:9: {TWICE}"]
    assert found(chain(only, meters="['disk.device.read.b*']")) == [f"5:9: {TWICE}"]


def test_a_polled_meter_whose_name_a_map_leaves_alone_comes_twice(found):
    step = RATES.replace("(.+)", r"(.*\.bytes)$").replace("keep_original: true, ", "")
    assert found(chain(step, meters=BOTH)) == [f"5:9: {TWICE}"]


@pytest.mark.parametrize(
    ("steps", "meters"),
    [
        pytest.param([RATES], "[disk.device.read.bytes]", id="not polled"),
        pytest.param(
            ["filter, parameters: {expr: \"name != 'disk.device.read.bytes.rate'\"}", RATES],
            BOTH,
            id="gone",
        ),
        pytest.param([RATES.replace("keep_original: true, ", "")], BOTH, id="taken into the step"),
        pytest.param(
            ["relabel, meters: [cpu], parameters: {name: disk.device.capacity}"],
            "[cpu, disk.device.capacity]",
            id="another resource",
        ),
        pytest.param(
            [
                (
                    "aggregator, meters: [vcpus], parameters: "
                    "{group_by: [project_id], retention_time: 60, target: {name: memory}}"
                )
            ],
            "[vcpus, memory]",
            id="of a project",
        ),
    ],
)
def test_what_does_not_come_twice(found, steps, meters):
    assert found(chain(*steps, meters=meters)) == []


def test_what_a_source_only_matches_does_not_come_for_certain(found):
    assert found(chain(RATES, meters=BOTH), Role.NOTIFICATION) == []
    bus = chain(RATES, meters=BOTH, interval="")
    assert not [warning for warning in found(bus) if "twice" in warning]


def test_what_a_formula_makes_of_polled_meters_comes_twice(found):
    step = (
        "arithmetic, meters: [memory.usage, memory.available], parameters: {target: "
        '{name: memory, unit: MB, type: gauge, expr: "$(memory.usage) + $(memory.available)"}}'
    )
    assert found(chain(step, meters="[memory, memory.usage, memory.available]")) == [
        (
            "5:9: makes memory, which the source 'a' polls too: it comes twice "
            "(leave the step out, or exclude the meters with '!')"
        )
    ]


def test_meters_of_ceilometer_that_a_step_makes(found):
    text = chain(meters="[cpu_util, switch.port, cpu_utl]").replace("    transformers:\n", "")
    assert found(text, faults=True) == [
        "1:44: no meter is named 'cpu_util' (a rate_of_change of 'cpu' makes it)",
        (
            "1:54: no meter is named 'switch.port' "
            "(it comes from an OpenStack API, which this agent does not poll)"
        ),
        "1:67: no meter is named 'cpu_utl' (did you mean 'cpu'?)",
    ]


# -- in the role notification --------------------------------------------------------------------


def test_others_meters_may_come_through_a_pattern(found):
    text = chain("maker, meters: [acme.temperature]", meters="['*']")
    assert len(found(text)) == 1
    assert found(text, Role.NOTIFICATION) == []
    for pattern in ("cp?", "[mc]pu", "!disk.*"):
        text = chain("maker, meters: [acme]", meters=f"['{pattern}']")
        assert found(text, Role.NOTIFICATION) == [], pattern


def test_where_all_meters_are_named_they_are_followed_there_too(found):
    assert found(chain("maker, meters: [vcpus]"), Role.NOTIFICATION) == [
        "5:32: no meter that reaches this step matches 'vcpus' (did you mean 'cpu'?)"
    ]


# -- two sources, one meter ----------------------------------------------------------------------


def two(second, first="interval: 60, meters: ['disk.device.*'], sinks: [s, t]"):
    return (
        f"sources:\n  - {{name: a, {first}}}\n  - {{name: b, {second}}}\n"
        "sinks: [{name: s, publishers: [console]}, {name: t, publishers: [local]}]\n"
    )


def test_two_sources_that_poll_one_meter_into_one_sink(found):
    text = two("interval: 10, meters: [disk.device.read.bytes, cpu], sinks: [t]")
    assert found(text) == found(text, Role.POLLING)
    assert found(text) == [
        (
            "3:5: the sources 'a' and 'b' both poll disk.device.read.bytes into the sink 't' "
            "(take them out of one, or give each source a sink)"
        )
    ]
    assert found(text, Role.NOTIFICATION) == [], "nothing is polled there"


def test_many_meters_and_sinks_are_counted(found):
    (warning,) = found(two("interval: 10, meters: ['disk.device.*.bytes*'], sinks: [t, s]"))
    assert "both poll disk.device.read.bytes, disk.device.write.bytes, " in warning
    assert " and 1 more into the sinks 't', 's' (" in warning


@pytest.mark.parametrize(
    "second",
    [
        "interval: 10, meters: [cpu], sinks: [s]",
        "meters: ['disk.device.*'], sinks: [s]",
        "interval: 10, meters: ['disk.device.*'], sinks: [s], discovery: [local_node]",
    ],
)
def test_what_is_not_polled_twice(found, second):
    assert found(two(second)) == []


def test_other_sinks_are_not_doubled(found):
    first = "interval: 60, meters: ['*'], sinks: [s]"
    assert found(two("interval: 5, meters: ['*'], sinks: [t]", first)) == []


def test_a_warning_is_about_something(tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(
        two("interval: 10, meters: ['*'], sinks: [s]").replace("s, t]", "s]", 1)
        + "publishers: {spare: console, kept: 'sink://'}\n".replace("sink://", "local")
    )
    report = check(path)
    assert [(each.what.partition("'")[0], report.subjects[each]) for each in report.warnings] == [
        ("the sources ", ("source", "b")),
        ("no source feeds the sink ", ("sink", "t")),
        ("no sink uses the publisher ", ("publisher", "spare")),
        ("no sink uses the publisher ", ("publisher", "kept")),
    ]


def test_many_sources_are_checked_in_time(found):
    sources = "".join(
        f"  - {{name: s{n}, interval: 60, meters: ['*'], sinks: [s]}}\n" for n in range(200)
    )
    text = f"sources:\n{sources}sinks: [{{name: s, publishers: [console]}}]\n"
    assert len(found(text)) == 199


@pytest.mark.parametrize(
    ("scale", "warned"),
    [
        ("volume * 8 / 10**6", True),
        ("8 * volume", True),
        ("volume / 1024", True),
        ("100.0 / 10**9", False),
        ("100 / (volume + 1)", False),
        ("8 if volume > 0 else 1", False),
    ],
)
def test_a_scale_that_multiplies_a_rate_by_the_volume(found, scale, warned):
    step = f"rate_of_change, parameters: {{target: {{scale: '{scale}'}}}}"
    assert any("'volume' in it squares" in each for each in found(chain(step))) is warned
