# SPDX-License-Identifier: Apache-2.0
"""How the tests of a pipeline file are run and compared."""

import importlib
import itertools
import logging
import sys

import pytest
from stevedore.extension import ExtensionManager

from ceilo_agent.definition.pipeline import load
from ceilo_agent.pipeline.differences import _Index
from ceilo_agent.pipeline.testing import MOST_TICKS, Runner
from tests import example_plugin

CODE = '''
"""Transformers that let a test see what they get."""
import msgspec
from ceilo_agent.plugins import StatefulTransformer, Transformer
from ceilo_agent.sample import UNTRACKED, Meter, Previous, Resource, Sample, SampleType

START = 1767225600

class Nothing(msgspec.Struct):
    pass

class Tell(Transformer):
    """Puts what compares as equal for two samples into the metadata."""
    Parameters = Nothing
    def __call__(self, samples):
        return [self._told(sample) for sample in samples]
    def _told(self, sample):
        previous = sample.previous
        paired = isinstance(previous, Previous)
        pair = [previous.elapsed, previous.volume] if paired else previous.value
        told = {"previous": pair, "source": sample.source,
                "started": None if sample.started is None else sample.started - START}
        old = sample.resource
        made = Resource(old.id, old.project_id, old.user_id, old.type, {**old.metadata, **told})
        return msgspec.structs.replace(sample, resource=made)

class Timer(StatefulTransformer):
    """Gives a sample a tick, from the first sample on: how many samples came before it."""
    Parameters = Nothing
    def __init__(self, parameters):
        super().__init__(parameters)
        self.seen = 0
    def __call__(self, samples):
        self.seen += len(samples)
        return []
    def key(self, sample):
        return sample.resource.id
    def tick(self, now):
        if not self.seen:
            return []
        made = Resource("timer", None, None, "", {})
        return [Sample(Meter("tick", "", SampleType.GAUGE), made, now, self.seen)]
    def dump(self):
        return b""
    def load(self, state):
        pass

class Size(msgspec.Struct):
    size: int = 0

class Broken(StatefulTransformer):
    """Fails, or drops, as it is told."""
    Parameters = Size
    def __call__(self, samples):
        if self.parameters.size == 1:
            raise RuntimeError("no such thing")
        for sample in samples:
            self.drop(sample, "it is of no use")
        return []
    def key(self, sample):
        return None
    def tick(self, now):
        if self.parameters.size == 2:
            raise RuntimeError("no such time")
        return []
    def dump(self):
        return b""
    def load(self, state):
        pass
'''
ENTRY_POINTS = """
[ceilo_agent.transformer]
tell = ceilo_tellers:Tell
timer = ceilo_tellers:Timer
broken = ceilo_tellers:Broken
"""
SOURCES = """\
sources:
  - {name: guests, interval: 600, meters: [cpu, memory, "x*"], sinks: [store]}
  - {name: host, interval: 10, meters: ["hardware.*", cpu], sinks: [store, second]}
sinks:
  - {name: store, transformers: [STEPS], publishers: ["local://"]}
  - {name: second, publishers: ["local://"]}
tests:
"""


@pytest.fixture(scope="module", autouse=True)
def transformers(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tellers")
    (directory / "ceilo_tellers.py").write_text(CODE)
    example_plugin.describe(directory, "ceilo-tellers", "1.0", ENTRY_POINTS)
    sys.path.insert(0, str(directory))
    importlib.invalidate_caches()
    ExtensionManager.ENTRY_POINT_CACHE.clear()
    yield
    sys.path.remove(str(directory))
    ExtensionManager.ENTRY_POINT_CACHE.clear()
    sys.modules.pop("ceilo_tellers", None)
    importlib.invalidate_caches()


@pytest.fixture
def run(tmp_path):
    """Return a function that runs one test, given as the lines of its mapping."""

    def run(*lines, steps="{name: tell}"):
        path = tmp_path / "pipeline.yaml"
        body = "".join(f"    {line}\n" for line in lines)
        path.write_text(f"{SOURCES.replace('STEPS', steps)}  - name: t\n{body}")
        file = load(path)
        runner = Runner(file)
        first, second = runner.run(file.tests[0]), runner.run(file.tests[0])
        assert first == second, "a test leaves nothing behind"
        return first

    return run


def given(*samples):
    return ["given:", *(f"  - {{{sample}}}" for sample in samples)]


def expect(*samples):
    return ["expect:", *(f"  - {{{sample}}}" for sample in samples)] if samples else ["expect: []"]


def test_previous_is_what_the_polling_agent_tells(run):
    found = run(
        "source: guests",
        *given(
            "meter: cpu, resource: r, at: 5, volume: 10",
            "meter: cpu, resource: s, at: 5, volume: 1",
            "meter: cpu, resource: r, at: 65, volume: 30",
            "meter: cpu, resource: r, at: 125, volume: 20",  # fell
            "meter: cpu, resource: r, at: 185, volume: 50",
            "meter: cpu, resource: r, at: 245, volume: 60, restarted: true",
            "meter: cpu, resource: r, at: 305, volume: 70",
            "meter: cpu, resource: r, at: 6306, volume: 80",  # more than 10 intervals
            "meter: cpu, resource: r, at: 7000, volume: 90",
        ),
        *expect(
            "meter: cpu, resource: r, at: 5, metadata: {previous: first, started: 5}",
            "meter: cpu, resource: s, at: 5, metadata: {source: guests, started: 5}",
            "meter: cpu, resource: r, at: 65, metadata: {previous: [60, 10], started: 5}",
            "meter: cpu, resource: r, at: 125, metadata: {previous: first, started: 125}",
            "meter: cpu, resource: r, at: 185, metadata: {previous: [60, 20], started: 125}",
            "meter: cpu, resource: r, at: 245, metadata: {previous: first, started: 245}",
            "meter: cpu, resource: r, at: 305, metadata: {previous: [60, 60], started: 245}",
            "meter: cpu, resource: r, at: 6306, metadata: {previous: first, started: 245}",
            "meter: cpu, resource: r, at: 7000, metadata: {previous: [694, 80], started: 245}",
        ),
    )
    assert found.differences == ()


def test_gauges_fall_deltas_have_no_previous_and_foreign_samples_are_untracked(run):
    found = run(
        *given(
            "meter: memory, resource: r, at: 0, volume: 10",
            "meter: memory, resource: r, at: 60, volume: 5",
            "meter: xd, resource: r, at: 0, volume: 10, type: delta",
            "meter: xd, resource: r, at: 60, volume: 5, type: delta",
            "meter: xu, resource: r, at: 0, volume: 10, untracked: true",
            "meter: xu, resource: r, at: 60, volume: 10, untracked: true",
        ),
        *expect(
            "meter: memory, resource: r, at: 0, metadata: {previous: first, source: null}",
            "meter: memory, resource: r, at: 60, metadata: {previous: [60, 10], source: null}",
            "meter: xd, resource: r, at: 0, metadata: {previous: first}",
            "meter: xd, resource: r, at: 60, metadata: {previous: first}",
            "meter: xu, resource: r, at: 0, metadata: {previous: untracked}",
            "meter: xu, resource: r, at: 60, metadata: {previous: untracked}",
        ),
    )
    assert found.differences == ()


def test_a_meter_that_restarts_leaves_the_others_of_its_resource_alone(run):
    found = run(
        "source: guests",
        *given(
            "meter: cpu, resource: r, at: 0, volume: 1",
            "meter: xc, resource: r, at: 0, volume: 1, type: cumulative",
            "meter: cpu, resource: r, at: 60, volume: 2, restarted: true",
            "meter: xc, resource: r, at: 60, volume: 2, type: cumulative, restarted: true",
            "meter: cpu, resource: r, at: 120, volume: 3",
            "meter: xc, resource: r, at: 120, volume: 3, type: cumulative",
        ),
        "meters: [cpu, xc]",
        *expect(
            *(
                f"meter: {meter}, resource: r, at: {at}, metadata: {{previous: {previous}}}"
                for meter in ("cpu", "xc")
                for at, previous in ((0, "first"), (60, "first"), (120, "[60, 2]"))
            )
        ),
    )
    assert found.differences == ()


def test_what_is_left_out_comes_from_the_catalogue_and_the_sample_before(run):
    found = run(
        "source: guests",
        *given(
            # In the order of time, whatever the order in the file.
            "meter: cpu, resource: r, at: 60, volume: 2",
            "meter: xy, resource: r, at: 120, volume: 2, project: null, metadata: {b: 2}",
            "meter: cpu, resource: r, at: 0, volume: 1, project: p, user: u, metadata: {a: 1}",
            "meter: xy, resource: s, at: 0, volume: 1",
            "meter: xy, resource: s, at: 60, volume: 1, unit: K, type: delta, resource_type: rack",
        ),
        *expect(
            "meter: cpu, resource: r, at: 0, unit: ns, type: cumulative, resource_type: instance",
            "meter: cpu, resource: r, at: 60, project: p, user: u, metadata: {a: 1}",
            "meter: xy, resource: r, at: 120, project: null, user: u, metadata: {b: 2},"
            " resource_type: instance",
            "meter: xy, resource: s, at: 0, unit: '', type: gauge, resource_type: generic,"
            " project: null, user: null",
            "meter: xy, resource: s, at: 60, unit: K, type: delta, resource_type: rack",
        ),
    )
    assert found.differences == ()


@pytest.mark.parametrize(
    ("written", "same", "other"),
    [("true", "true", "1"), ("0", "0.0", "false"), ("{b: [1, {c: 1}]}", "{b: [1.0, {c: 1}]}",
     "{b: [1, {c: true}]}"), ("[1, 2]", "[1, 2]", "[1]"), ("{b: 1}", "{b: 1}", "{}")],
)  # fmt: skip
def test_true_is_no_number_in_metadata(run, written, same, other):
    sample = "meter: cpu, resource: r, at: 0, metadata: {{a: {}}}"
    entered = given(f"{sample.format(written)}, volume: 1")
    assert run("source: guests", *entered, *expect(sample.format(same))).passed
    assert not run("source: guests", *entered, *expect(sample.format(other))).passed


def test_a_sample_is_looked_up_by_all_that_is_written_of_it():
    """Not searched for among all the others: there may be 10,000."""
    index = _Index([{"meter": "m", "resource": f"r{n}", "sink": "s", "at": n} for n in range(9)])
    assert index.candidates({"meter": "m", "sink": "s", "resource": "r7", "volume": 1}) == [7]
    assert index.candidates({"meter": "m", "at": 3, "metadata": {}}) == [3]
    assert index.candidates({"meter": "m"}) == [*range(9)]
    assert index.namesakes({"meter": "m", "resource": "r7"}) == ()


def test_samples_go_the_ways_of_their_sources(run):
    polled = "meter: cpu, resource: r, at: 0, volume: 1"
    only = run("source: guests", *given(polled), *expect(f"{polled}, sink: store"))
    both = run(
        "source: host", *given(polled), *expect(f"{polled}, sink: second", f"{polled}, sink: store")
    )
    matched = run(*given(polled), *expect(f"{polled}, sink: second", f"{polled}, sink: store"))
    named = run(
        "source: host", *given(f"{polled}, source: guests"), *expect(f"{polled}, sink: store")
    )
    assert [each.differences for each in (only, both, matched, named)] == [()] * 4


def test_what_no_source_takes_fails_the_test(run):
    found = run(
        "source: guests",
        *given(
            "meter: hardware.cpu.util, resource: r, at: 0, volume: 1",
            "meter: hardware.cpu.util, resource: r, at: 1, volume: 1",
        ),
        *expect(),
    )
    assert not found.passed
    (line,) = found.case.lines[:1]
    told = f"line {line}: the source 'guests' does not take the meter 'hardware.cpu.util'"
    assert (found.failures, found.dropped, found.differences) == ((told,), (), ())
    stranger = run(*given("meter: y, resource: r, at: 0, volume: 1"), *expect())
    assert stranger.failures == (f"line {stranger.case.lines[0]}: no source takes the meter 'y'",)
    near = run(*given("meter: memmory, resource: r, at: 0, volume: 1"), *expect())
    assert near.failures == (
        f"line {near.case.lines[0]}: no source takes the meter 'memmory' (did you mean 'memory'?)",
    )
    assert near.hints == ("no catalogue has the given meter 'memmory' (did you mean 'memory'?)",)


def test_it_is_told_where_samples_stay(run):
    found = run(
        "source: guests",
        *given(
            "meter: cpu, resource: r, at: 0, volume: 1", "meter: cpu, resource: s, at: 0, volume: 9"
        ),
        *expect("meter: cpu, resource: r, at: 0, volume: 1"),
        steps='{name: filter, parameters: {expr: "volume > 5"}}, {name: delta}',
    )
    first = "1 a first reading, of which nothing is made"
    assert found.notes == (
        "in the sink 'store', step 1 (filter): 2 in, 1 out",
        f"in the sink 'store', step 2 (delta): 1 in, 0 out; {first}",
    )
    passed = run(
        "source: guests",
        *given("meter: cpu, resource: r, at: 0, volume: 1"),
        *expect(),
        steps="{name: delta}",
    )
    assert (passed.passed, passed.notes) == (True, ())


# -- the clock -----------------------------------------------------------------------------------


def test_the_timer_runs_every_second_before_samples_and_at_the_end(run):
    sample = "meter: cpu, resource: r, at: {}, volume: 1"
    found = run(
        "source: guests",
        *given(sample.format(1), sample.format(2.5), sample.format(4)),
        "until: 5.5",
        *expect(
            "meter: tick, at: 2, volume: 1",
            "meter: tick, at: 3, volume: 2",
            "meter: tick, at: 4, volume: 2",
            "meter: tick, at: 5, volume: 3",
            "meter: tick, at: 5.5, volume: 3",
        ),
        steps="{name: timer}",
    )
    assert found.differences == ()


def test_the_timer_runs_once_at_an_end_without_samples(run):
    found = run(
        "source: guests",
        *given("meter: cpu, resource: r, at: 0, volume: 1"),
        "until: 2",
        *expect("meter: tick, at: 1", "meter: tick, at: 2"),
        steps="{name: timer}",
    )
    assert found.differences == ()


def test_without_until_the_test_ends_with_its_last_sample(run):
    found = run(
        "source: guests",
        *given("meter: cpu, resource: r, at: 7, volume: 1"),
        *expect("meter: tick, resource: timer, at: 7, volume: 1"),
        steps="{name: timer}",
    )
    assert found.differences == ()


def test_a_long_test_has_few_ticks_and_one_before_each_sample(run):
    sample = "meter: cpu, resource: r, at: {}, volume: 1"
    found = run(
        "source: guests",
        *given(sample.format(0), sample.format(50000.5)),
        "until: 86400",
        *expect(),
        steps="{name: timer}",
    )
    ticks = [each.got["at"] for each in found.differences]
    assert len(ticks) <= MOST_TICKS + 3
    assert 50000 in ticks
    assert ticks[-1] == 86400
    assert max(after - before for before, after in itertools.pairwise(ticks)) == 24


def test_what_would_come_out_later_is_told(run):
    found = run(
        *given("meter: memory, resource: r, at: 0, volume: 1"),
        *expect("meter: tick, resource: timer, at: 1, volume: 1"),
        "meters: [tick]",
        steps="{name: timer}",
    )
    (difference,) = found.differences
    assert (difference.expected["at"], difference.got["at"]) == (1, 0)
    assert found.hints == ("1 more by the timer after the test's end at 0: write 'until: 1'",)


# -- what is not as it should be -----------------------------------------------------------------


def test_the_nearest_pair_is_shown_with_what_differs(run):
    found = run(
        "source: guests",
        *given(
            "meter: cpu, resource: r, at: 0, volume: 1, metadata: {a: 1, b: 2}",
            "meter: cpu, resource: s, at: 1, volume: 2",
            "meter: cpu, resource: t, at: 2, volume: 3",
        ),
        *expect(
            "meter: cpu, resource: u, at: 9, volume: 3",
            "meter: cpu, resource: r, at: 0, volume: 1, unit: s, metadata: {a: 1, b: 3, c: 4}",
            "meter: cpu, resource: s, at: 1, volume: 2, type: cumulative",
        ),
    )
    assert not found.passed
    identity = {"meter": "cpu", "resource": "r", "at": 0}
    assert found.differences == (
        (
            {**identity, "unit": "s", "metadata": {"b": 3, "c": 4}},
            {**identity, "unit": "ns", "metadata": {"b": 2}},
        ),
        (
            None,
            {
                "meter": "cpu",
                "resource": "t",
                "at": 2,
                "volume": 3,
                "unit": "ns",
                "type": "cumulative",
                "sink": "store",
            },
        ),
        ({"meter": "cpu", "resource": "u", "at": 9, "volume": 3}, None),
    )


@pytest.mark.parametrize(
    ("came", "wanted", "passes"),
    [
        ("1000000000", "1000000000.9", True),
        ("1000000000", "1000000001.1", False),
        ("0", "1e-300", False),
        ("-3", "-3.0", True),
    ],
)
def test_volumes_are_compared_with_a_relative_tolerance(run, came, wanted, passes):
    found = run(
        "source: guests",
        *given(f"meter: memory, resource: r, at: 0, volume: {came}"),
        *expect(f"meter: memory, volume: {wanted}"),
    )
    assert found.passed is passes


def test_each_expected_sample_stands_for_one_that_came(run):
    same = "meter: xa, resource: r, at: 0, volume: {}, unit: {}"
    samples = given(same.format(1, "B"), same.format(2, "B"), same.format(2, "K"))
    # Whoever takes the first that fits leaves none for one of the others.
    wanted = ("meter: xa, unit: B", "meter: xa, volume: 1", "meter: xa, volume: 2, unit: K")
    assert run("source: guests", *samples, *expect(*wanted)).passed
    assert run("source: guests", *samples, *expect(*reversed(wanted))).passed
    twice = run("source: guests", *samples, *expect(*wanted, wanted[1]))
    assert [each.got for each in twice.differences] == [None]
    once = run("source: guests", *samples, *expect(*wanted[:2]))
    assert [(each.expected, each.got["unit"]) for each in once.differences] == [(None, "K")]


def test_only_the_meters_asked_for_are_compared(run):
    samples = given(
        "meter: memory, resource: r, at: 0, volume: 1", "meter: cpu, resource: r, at: 0, volume: 1"
    )
    assert run("source: guests", *samples, "meters: [memory]", *expect("meter: memory")).passed
    assert run("source: guests", *samples, "meters: ['!cpu']", *expect("meter: memory")).passed
    assert not run("source: guests", *samples, *expect("meter: memory")).passed


def test_what_transformers_drop_is_told(run, caplog):
    with caplog.at_level(logging.DEBUG, "ceilo_agent"):
        found = run(
            "source: guests",
            *given(
                "meter: memory, resource: r, at: 0, volume: 1",
                "meter: memory, resource: r, at: 1, volume: 1",
            ),
            *expect(),
            steps="{name: tell}, {name: broken}",
        )
    assert found.passed, "a test may be about samples that are dropped"
    assert found.dropped == ("2 in the sink 'store', step 2 (broken): it is of no use",)
    assert [r for r in caplog.records if r.name.startswith("ceilo_agent")] == [], "not logged too"


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (1, "transformer broken failed, 1 samples lost: RuntimeError: no such thing"),
        (2, "transformer broken failed on its timer: RuntimeError: no such time"),
    ],
)
def test_a_transformer_that_fails_fails_the_test(run, capfd, size, said):
    found = run(
        "source: guests",
        *given("meter: memory, resource: r, at: 0, volume: 1"),
        *expect(),
        steps=f"{{name: broken, parameters: {{size: {size}}}}}",
    )
    assert found.differences == ()
    assert not found.passed
    assert found.failures == (f"sink store: {said}",)
    assert capfd.readouterr().err == ""


def test_the_log_is_as_before_afterwards(run):
    logger = logging.getLogger("ceilo_agent")
    before = (logger.propagate, list(logger.handlers))
    run(*given("meter: cpu, resource: r, at: 0, volume: 1"), *expect())
    assert (logger.propagate, logger.handlers) == before
