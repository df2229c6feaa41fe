# SPDX-License-Identifier: Apache-2.0
"""What Ceilometer's chains of transformers did, behaviour by behaviour, and what ours do."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from ceilo_agent import plugins
from ceilo_agent.definition.pipeline import load
from ceilo_agent.errors import ConfigError
from ceilo_agent.pipeline.chain import build
from ceilo_agent.pipeline.pipeline import Pipeline
from ceilo_agent.pipeline.transformers.arithmetic import Arithmetic
from ceilo_agent.plugins import Context, StatefulTransformer
from ceilo_agent.sample import (
    FIRST,
    UNTRACKED,
    Batch,
    Meter,
    Previous,
    Resource,
    Sample,
    SampleType,
    as_document,
)
from tests.pages import ROOT
from tests.unit.pipeline.transformers.written import transformer

START = 1_767_225_600.0
MEMORY = Meter("memory.usage", "MB", SampleType.GAUGE)
CPU = Meter("cpu", "ns", SampleType.CUMULATIVE)
GUEST = Resource("vm-1", "blue", "anna", "instance", {"display_name": "web"})

FILE = """
sources:
  - name: guests
    interval: 60
    meters: ["*"]
    sinks: [store]
  - name: others
    interval: 60
    meters: ["*"]
    sinks: [store]
sinks:
  - name: store
    transformers: {steps}
    publishers: ["file://{path}"]
"""

HALF = "{name: unit_conversion, parameters: {target: {unit: GB, scale: 0.5}}}"
WINDOW = "{name: aggregator, parameters: {retention_time: 60}}"


def sample(volume, at=0, meter=MEMORY, resource=GUEST, source=None, previous=UNTRACKED):
    return Sample(meter, resource, START + at, volume, previous, source=source)


@pytest.fixture
def file(tmp_path):
    def read(steps):
        path = tmp_path / "pipeline.yaml"
        path.write_text(FILE.format(steps=steps, path=tmp_path / "out.json"))
        return load(path)

    return read


@pytest.fixture
def chain(file):
    return lambda steps: build(file(steps).sinks[0])


@pytest.fixture
def pipeline(file):
    """Return a pipeline with these steps, and the list that its publisher gets."""

    def start(steps):
        made = Pipeline(file(steps), Context("here", {"DEFAULT.host": "here"}))
        (outlet,) = made.outlets.values()
        taken = []
        outlet.queue.offer = lambda samples: taken.extend(samples) or 0
        return made, taken

    return start


def refusals(file, steps):
    with pytest.raises(ConfigError) as refused:
        file(steps)
    return [(fault.what, fault.hint) for fault in refused.value.faults]


# -- what a chain does ---------------------------------------------------------------------------


def test_steps_work_one_after_another(chain):
    made = chain(f"[{HALF}, {HALF}]")
    assert [each.volume for each in made([sample(8)])] == [2.0]


def test_one_chain_is_shared_by_all_sources_of_a_sink(pipeline):
    """Ceilometer: a sink owned ONE chain, shared by every source that used it. Here too."""
    made, taken = pipeline("[{name: accumulator, parameters: {size: 2}}]")
    made.accept(Batch("guests", [sample(1, source="guests")]))
    assert taken == []
    made.accept(Batch("others", [sample(2, source="others")]))
    assert [each.volume for each in taken] == [1, 2]


def test_one_thread_at_a_time_is_in_a_chain(pipeline, monkeypatch):
    """Ceilometer (Mitaka): a sample that came during a flush changed the dictionary under it.

    Here: batches and the timer take turns, whatever threads they come from.
    """
    inside, together = [], []

    def alone(method):
        def watched(self, given):
            inside.append(given)
            time.sleep(0.001)
            together.append(len(inside))
            made = method(self, given)
            inside.pop()
            return made

        return watched

    for name in ("__call__", "tick"):
        monkeypatch.setattr(Arithmetic, name, alone(getattr(Arithmetic, name)))
    expr = "100 * $(memory.usage) / $(cpu)"
    made, taken = pipeline(f"[{{name: arithmetic, parameters: {{target: {{expr: {expr}}}}}}}]")

    def poll(number):
        guest = Resource(f"vm-{number}", "blue", None, "instance", {})
        for cycle in range(10):
            at = 60 * cycle
            made.accept(Batch("guests", [sample(1, at, MEMORY, guest)]))
            made.tick(START + at)
            made.accept(Batch("guests", [sample(4, at, CPU, guest)]))

    threads = [threading.Thread(target=poll, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(together) == {1}
    assert [each.volume for each in taken] == [25.0] * 40


def test_what_a_step_gives_nothing_for_is_dropped(chain):
    """Ceilometer: a handle_sample that returned something falsy dropped the sample. Here too."""
    made = chain("[{name: filter, parameters: {expr: volume > 5}}]")
    assert [each.volume for each in made([sample(4), sample(6)])] == [6]


def test_an_exception_costs_the_sample_and_not_the_batch(chain, caplog):
    """Ceilometer: a warning with a traceback, the sample dropped. Here: one line, and counted."""
    made = chain("[{name: unit_conversion, parameters: {target: {scale: 1 / volume}}}]")
    assert [each.volume for each in made([sample(0), sample(4)])] == [0.25]
    assert made.steps[0].transformer.dropped == {"division by zero": 1}
    assert made.lost == 0
    assert "Traceback" not in caplog.text


def test_a_window_closes_by_the_timer(chain):
    """Ceilometer: no timer: a window closed only when another message of that pipeline arrived."""
    made = chain(f"[{WINDOW}]")
    assert made([sample(4), sample(6, 1)]) == []
    assert made.tick(START + 69) == []
    assert [each.volume for each in made.tick(START + 70)] == [5.0]


def test_what_a_window_gives_enters_the_next_step(chain):
    """Ceilometer: what flush of step i gave entered step i+1. Here: what its timer gives."""
    made = chain(f"[{HALF}, {WINDOW}, {HALF}]")
    made([sample(8)])
    assert [(each.volume, each.meter.unit) for each in made.tick(START + 70)] == [(2.0, "GB")]


def test_a_window_behind_a_window_gets_what_the_first_gives(chain):
    made = chain(
        f"[{WINDOW}, {{name: aggregator, parameters: "
        "{retention_time: 60, group_by: [project_id]}}]"
    )
    made([sample(8), sample(4, 1), sample(1, resource=Resource("vm-2", "blue", None, "i", {}))])
    # What the first gives at second 70 arrives then at the second, 69 seconds after its time; so
    # late the end of the window is taken to come.
    out = [(second, made.tick(START + second)) for second in range(150)]
    assert [(second, each.resource.id, each.volume) for second, all_ in out for each in all_] == [
        (60 + 69 + 10, "blue", 7.0)
    ]


def test_a_batch_lets_out_what_it_fills(chain):
    """Ceilometer: flush when the publish context exited. Here: with the batch that fills it."""
    made = chain("[{name: aggregator, parameters: {size: 2}}]")
    assert made([sample(4)]) == []
    assert [each.volume for each in made([sample(6, 1)])] == [5.0]


def test_derived_samples_keep_time_owner_resource_and_metadata(chain):
    """Ceilometer: same timestamp, user, project, resource and metadata. Here too."""
    (made,) = chain(f"[{HALF}]")([sample(8, 7)])
    assert made.time == START + 7
    assert made.resource is GUEST


def test_derived_samples_have_no_id_of_their_own(chain):
    """Ceilometer: a new uuid each, so that what came twice could not be told from two values.

    Here: source, resource, meter and time are what a sample is known by.
    """
    made = chain(f"[{HALF}]")
    once, again = made([sample(8, 7)]), made([sample(8, 7)])
    assert once == again
    assert not {"id", "message_id"} & as_document(once[0]).keys()


def test_derived_samples_keep_their_source(chain):
    """Ceilometer: source reset to default. Here: it stays, since it names the series."""
    (made,) = chain(f"[{HALF}]")([sample(8, source="guests")])
    assert made.source == "guests"


def test_originals_are_replaced(chain):
    """Ceilometer: originals are replaced. Here too, unless one says otherwise."""
    assert [each.volume for each in chain(f"[{HALF}]")([sample(8)])] == [4.0]


def test_one_key_keeps_the_original_beside_what_is_made(chain):
    """Ceilometer: to keep the raw meter you needed a second sink. Here: keep_original."""
    steps = HALF.replace("unit_conversion,", "unit_conversion, keep_original: true,")
    assert [each.volume for each in chain(f"[{steps}]")([sample(8)])] == [8, 4.0]


def test_originals_of_a_window_do_not_wait_for_it(chain):
    steps = WINDOW.replace("aggregator,", "aggregator, keep_original: true,")
    made = chain(f"[{steps}]")
    assert [each.volume for each in made([sample(8), sample(6, 1)])] == [8, 6]
    assert [each.volume for each in made.tick(START + 70)] == [7.0]


def test_a_step_may_take_only_some_meters(chain):
    """Ceilometer: every meter of the sink went through every step; a second sink was needed."""
    steps = HALF.replace("unit_conversion,", 'unit_conversion, meters: ["memory.*"],')
    made = chain(f"[{steps}]")
    assert sorted(each.volume for each in made([sample(8), sample(9, meter=CPU)])) == [4.0, 9]


# -- who may run it ------------------------------------------------------------------------------

STATES = {
    "accumulator": "{size: 9}",
    "aggregator": "{retention_time: 60}",
    "arithmetic": "{target: {expr: $(memory.usage) + $(cpu)}}",
    "delta": "{}",
    "rate_of_change": "{}",
}
"""Ceilometer's transformers that remember samples, and what makes them do so."""


@pytest.mark.parametrize("name", STATES)
def test_state_is_divided_by_resource(name):
    """Ceilometer: all transformers had grouping_keys ['resource_id']. Here: what remembers has."""
    made = transformer(name, STATES[name])
    other = Resource("vm-2", "blue", "anna", "instance", {})
    assert made.key(sample(1, 0)) is not None
    assert made.key(sample(1, 0)) == made.key(sample(2, 60))
    assert made.key(sample(1, 0)) != made.key(sample(1, 0, resource=other))
    assert not made.spans_hosts


def test_what_remembers_nothing_is_divided_by_nothing():
    """Ceilometer: unit_conversion had a grouping key too, and each sample went over the bus again.

    Here: any worker may convert any sample, and make a rate of any that brings its last reading.
    """
    assert not isinstance(transformer("unit_conversion"), StatefulTransformer)
    for name in ("rate_of_change", "delta"):
        made = transformer(name)
        assert made.key(sample(9, 60, CPU, previous=Previous(60.0, 3))) is None
        assert made.key(sample(9, 60, CPU, previous=FIRST)) is None


PROGRAM = """
import sys
from pathlib import Path
from ceilo_agent.definition.pipeline import load
from ceilo_agent.pipeline.chain import build
from tests.unit.pipeline.test_chain_semantics import sample
for step in build(load(Path(sys.argv[1])).sinks[0]).steps:
    step([sample(4, 1), sample(6, 2)])
    print(step.identity, step.transformer.key(sample(4, 1)), step.transformer.dump().hex())
"""


def test_every_process_finds_the_same_state(file, tmp_path):
    """Ceilometer: hash() divided the work, which Python 3 gives another seed in each process.

    Two hosts sent one resource to different queues. Here: names of steps, keys and what is dumped
    are the same everywhere.
    """
    steps = (f"{{name: {name}, parameters: {text}}}" for name, text in STATES.items())
    file(f"[{', '.join(steps)}]")
    told = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM, tmp_path / "pipeline.yaml"],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
    assert len(told.pop().splitlines()) == len(STATES)


def test_rates_reach_every_publisher(pipeline, tmp_path):
    """Ceilometer since 12.0: rates in Gnocchi only; others lost cpu_util. Here: any publisher."""
    scale = "100.0 / (10**9 * (resource_metadata.cpu_number or 1))"
    made, _ = pipeline(
        "[{name: rate_of_change, parameters: {target: "
        f"{{name: cpu_util, unit: '%', type: gauge, scale: \"{scale}\"}}}}}}]"
    )
    (outlet,) = made.outlets.values()
    del outlet.queue.offer
    made.open()
    made.accept(Batch("guests", [sample(10**10, 60, CPU, previous=Previous(60.0, 4 * 10**9))]))
    made.close(10)
    (line,) = (tmp_path / "out.json").read_text().splitlines()
    told = json.loads(line)
    assert (told["name"], told["unit"], told["volume"]) == ("cpu_util", "%", pytest.approx(10.0))


# -- what a file may say -------------------------------------------------------------------------


def test_the_transformers_have_their_names_of_mitaka():
    """Ceilometer: accumulator, delta, unit_conversion, rate_of_change, aggregator, arithmetic."""
    theirs = {*STATES, "unit_conversion"}
    assert len(theirs) == 6
    assert theirs <= set(plugins.names(plugins.TRANSFORMER))


def test_a_transformer_that_never_was_is_told(file):
    """Ceilometer: there never was a `selective`, though files have it. Here: refused by name."""
    ((what, _),) = refusals(file, "[{name: selective}]")
    assert what == "no transformer is named 'selective'"


def test_transformers_are_never_passed_over(chain):
    """Ceilometer since 12.0: a leftover `transformers:` was silently ignored. Here: it works."""
    steps = "[{name: unit_conversion, parameters: {target: {unit: kB, scale: 1024}}}]"
    assert [each.volume for each in chain(steps)([sample(2)])] == [2048]


def test_an_unknown_parameter_is_an_error(file):
    """Ceilometer: unknown parameters were swallowed by **kwargs."""
    steps = "[{name: aggregator, parameters: {retension_time: 60}}]"
    assert refusals(file, steps) == [
        ("unknown parameter 'retension_time'", "did you mean 'retention_time'?")
    ]


@pytest.mark.parametrize("name", sorted(plugins.names(plugins.TRANSFORMER)))
def test_no_transformer_swallows_a_parameter(file, name):
    ((what, _), *_) = refusals(file, f"[{{name: {name}, parameters: {{nonsense: 1}}}}]")
    assert "nonsense" in what or "missing" in what


@pytest.mark.parametrize(
    "parameters", ["", ", parameters: null", ", parameters: {}", ", parameters: ~"]
)
def test_parameters_may_be_left_out(chain, parameters):
    """Ceilometer: a missing `parameters:` key was a raw KeyError; it had to be there, as null."""
    made = chain(f"[{{name: unit_conversion{parameters}}}]")
    assert [each.volume for each in made([sample(8)])] == [8]


def test_a_step_without_a_name_is_an_error(file):
    """Ceilometer: a raw KeyError."""
    assert refusals(file, "[{parameters: {size: 1}}]") == [("the key 'name' is missing", "")]


def test_an_unknown_transformer_is_an_error(file):
    """Ceilometer: PipelineException "No transformer named X loaded". Here: and the nearest name."""
    assert refusals(file, "[{name: agregator}]") == [
        ("no transformer is named 'agregator'", "did you mean 'aggregator'?")
    ]


@pytest.mark.parametrize("steps", ["null", "[]", ""])
def test_a_sink_may_have_no_transformers(chain, steps):
    """Ceilometer: transformers: a list or null. Here too."""
    batch = [sample(8)]
    assert list(chain(steps)(batch)) == batch


@pytest.mark.parametrize(
    "text", ["volume.__class__.__mro__", "().__class__", "__import__('os')", "lambda: 1", "open"]
)
def test_expressions_are_no_python(file, text):
    """Ceilometer: eval(), where attributes could be walked to any object."""
    ((what, _), *_) = refusals(
        file, f'[{{name: unit_conversion, parameters: {{target: {{scale: "{text}"}}}}}}]'
    )
    assert what.startswith("parameter 'scale': ")


@pytest.mark.parametrize("text", ["volume * (cpu_number or 1)", "(volme or volume) / 1024"])
def test_a_name_that_there_is_not_is_an_error(file, text):
    """Ceilometer: any name was a falsy Namespace, a misspelt one too."""
    ((what, _),) = refusals(
        file, f'[{{name: unit_conversion, parameters: {{target: {{scale: "{text}"}}}}}}]'
    )
    assert what.startswith("parameter 'scale': unknown name ")


@pytest.mark.parametrize("text", ["10**10**10", "volume * 9**9**9", "volume ** 2 ** 10**9"])
def test_no_expression_takes_long(file, text):
    """Ceilometer: eval() of a huge power held the agent for as long as it took."""
    begun = time.process_time()
    ((what, _),) = refusals(
        file, f'[{{name: unit_conversion, parameters: {{target: {{scale: "{text}"}}}}}}]'
    )
    assert what == "parameter 'scale': beyond a number's range"
    assert time.process_time() - begun < 1


def test_metadata_that_is_missing_counts_as_false(chain):
    """Ceilometer: `(resource_metadata.cpu_number or 1)` worked on a falsy Namespace. Here too."""
    scale = "volume / (resource_metadata.cpu_number or 1)"
    made = chain(f'[{{name: unit_conversion, parameters: {{target: {{scale: "{scale}"}}}}}}]')
    assert [each.volume for each in made([sample(8)])] == [8]


def test_min_and_max_can_be_called(chain):
    """Ceilometer: builtins were shadowed, so that min(...) gave TypeError."""
    scale = "min(volume, 5)"
    made = chain(f'[{{name: unit_conversion, parameters: {{target: {{scale: "{scale}"}}}}}}]')
    assert [each.volume for each in made([sample(8)])] == [5]
