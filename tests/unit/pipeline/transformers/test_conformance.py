# SPDX-License-Identifier: Apache-2.0
"""What every transformer must do, whatever it makes of samples."""

from __future__ import annotations

import contextlib
import copy
import inspect
import math
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ceilo_agent import plugins
from ceilo_agent.definition.pipeline import load
from ceilo_agent.pipeline.testing import Runner
from ceilo_agent.plugins import NeverMatches, StatefulTransformer, Transformer
from ceilo_agent.sample import FIRST, UNTRACKED, Meter, Previous, Resource, Sample
from ceilo_agent.volumes import is_volume
from tests.pages import ROOT, blocks
from tests.unit.pipeline.transformers.kinds import (
    CPU,
    EVERY,
    KINDS,
    METERS,
    START,
    STREAMS,
    Step,
    facts,
    make,
    play,
)

STATEFUL = [kind for kind in EVERY if isinstance(make(kind), StatefulTransformer)]
DIVIDED = [kind for kind in STATEFUL if kind[0] != "accumulator"]
"""The accumulator lets samples of all keys go on together, as they are."""
BAD_VOLUMES = [math.nan, math.inf, -math.inf, None, "7", "", True, False, b"7", [1], 1j]
GUEST = Resource("vm-1", "blue", "anna", "instance", {"cpu_number": 2, "flavor": {"name": "s"}})

every = pytest.mark.parametrize("kind", EVERY, ids=": ".join)
stateful = pytest.mark.parametrize("kind", STATEFUL, ids=": ".join)
streams = pytest.mark.parametrize("how", STREAMS)


def fresh(kind: tuple[str, str]) -> StatefulTransformer:
    made = make(kind)
    assert isinstance(made, StatefulTransformer)
    return made


def one(volume: Any = 9, **changes: Any) -> Sample:
    values = {"meter": CPU, "resource": GUEST, "time": START + 60, "volume": volume}
    return Sample(**(values | changes))


def later() -> list[Step]:
    """Return ticks after which nothing waits any more."""
    return [Step(now=START + 60 + second) for second in range(0, 240, 4)]


@pytest.fixture(params=sorted(KINDS))
def cls(request: pytest.FixtureRequest) -> type[Transformer]:
    found = plugins.load(plugins.TRANSFORMER, request.param)
    assert isinstance(found, type)
    return found


# -- the class -----------------------------------------------------------------------------------


def test_every_installed_transformer_of_ours_is_here() -> None:
    assert sorted(KINDS) == list(plugins.names(plugins.TRANSFORMER))


def test_it_is_a_transformer_with_a_docstring(cls: type[Transformer]) -> None:
    assert issubclass(cls, Transformer)
    assert cls.__doc__
    assert cls.__module__.startswith("ceilo_agent.pipeline.transformers.")


def structs(struct: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    """Yield a struct and those that stand in it."""
    yield struct
    for field in msgspec.structs.fields(struct):
        for part in (field.type, *typing.get_args(field.type)):
            for arm in (part, *typing.get_args(part)):
                if isinstance(arm, type) and issubclass(arm, msgspec.Struct):
                    yield from structs(arm)


def test_each_of_its_parameters_is_described(cls: type[Transformer]) -> None:
    for struct in structs(cls.Parameters):
        assert struct.__doc__
        hints = typing.get_type_hints(struct, include_extras=True)
        for field in msgspec.structs.fields(struct):
            descriptions = [
                part.description
                for part in typing.get_args(hints[field.name])
                if isinstance(part, msgspec.Meta) and part.description
            ]
            assert len(descriptions) == 1, (struct, field.name)


def test_it_does_not_pickle(cls: type[Transformer]) -> None:
    for base in cls.__mro__:
        if base.__module__.startswith("ceilo_agent."):
            assert "pickle" not in Path(inspect.getfile(base)).read_text("utf-8")


# -- samples in, samples out ---------------------------------------------------------------------


@every
@streams
def test_volumes_come_out_as_numbers_and_times_as_times(kind: tuple[str, str], how: str) -> None:
    for out in play(make(kind), STREAMS[how]):
        for sample in out:
            assert isinstance(sample, Sample)
            assert is_volume(sample.volume)
            assert math.isfinite(sample.time)
            assert isinstance(sample.meter, Meter)
            assert isinstance(sample.resource, Resource)


@every
def test_each_stream_gives_something(kind: tuple[str, str]) -> None:
    assert any(any(play(make(kind), steps)) for steps in STREAMS.values())


@every
def test_no_samples_are_no_fault(kind: tuple[str, str]) -> None:
    made = make(kind)
    for nothing in ([], ()):
        assert list(made(nothing)) == []
    if isinstance(made, StatefulTransformer):
        assert list(made.tick(START)) == []
        assert list(made([])) == []


@every
@streams
def test_samples_are_only_read(kind: tuple[str, str], how: str) -> None:
    made = make(kind)
    for step in STREAMS[how]:
        batch = list(step.samples)
        before = copy.deepcopy(batch)
        out = made(batch)
        assert len(batch) == len(before)
        assert facts(batch) == facts(before)
        if isinstance(out, list):
            out.clear()  # what it gives away is no longer its own
        assert len(batch) == len(before) or out is batch


@every
@pytest.mark.parametrize("how", ["tracked", "untracked", "mixed"])
def test_the_order_of_each_series_stays(kind: tuple[str, str], how: str) -> None:
    last: dict[tuple[Any, ...], float] = {}
    for out in play(make(kind), STREAMS[how]):
        for sample in out:
            series = (sample.source, sample.resource.id, sample.meter.name)
            assert sample.time >= last.get(series, -math.inf)
            last[series] = sample.time


@every
@streams
def test_the_same_input_gives_the_same_output(kind: tuple[str, str], how: str) -> None:
    first, second = make(kind), make(kind)
    for step in STREAMS[how]:
        (out,), (again,) = play(first, [step]), play(second, [step])
        assert facts(out) == facts(again)
    assert first.dropped == second.dropped


@every
@streams
def test_what_it_says_of_meters_is_so(kind: tuple[str, str], how: str) -> None:
    made = make(kind)
    said = set(made.outcome(METERS))
    came = {sample.meter for out in play(made, STREAMS[how]) for sample in out}
    assert came <= said


@every
def test_where_no_meter_goes_in_there_is_no_other_fault(kind: tuple[str, str]) -> None:
    with contextlib.suppress(NeverMatches):
        assert list(make(kind).outcome([])) == []


# -- bad samples ---------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("volume", BAD_VOLUMES, ids=repr)
def test_a_volume_that_is_no_number_never_comes_out(kind: tuple[str, str], volume: Any) -> None:
    made = make(kind)
    bad = [
        one(volume, meter=meter, previous=previous)
        for meter in METERS
        for previous in (UNTRACKED, FIRST, Previous(10.0, 1))
    ]
    if isinstance(made, StatefulTransformer):
        for sample in bad:
            hash(made.key(sample))
    for out in play(made, [Step(bad), *later()]):
        assert all(is_volume(sample.volume) for sample in out)


@every
@streams
def test_bad_samples_cost_only_themselves(kind: tuple[str, str], how: str) -> None:
    mixed = [
        step
        if step.now is not None
        else Step([each for good in step.samples for each in (_spoilt(good), good)])
        for step in STREAMS[how]
    ]
    for out, expected in zip(play(make(kind), mixed), play(make(kind), STREAMS[how]), strict=True):
        assert facts(out) == facts(expected)


def _spoilt(sample: Sample) -> Sample:
    return msgspec.structs.replace(sample, volume=math.nan)


@every
@pytest.mark.parametrize("time", [math.nan, math.inf, -math.inf, 1e300, -1e300, None], ids=repr)
def test_a_time_that_is_no_date_costs_at_most_its_sample(kind: tuple[str, str], time: Any) -> None:
    made = make(kind)
    odd = [one(time=time, meter=meter) for meter in METERS]
    if isinstance(made, StatefulTransformer):
        for sample in odd:
            hash(made.key(sample))
    play(made, [Step(odd), *later()])
    if isinstance(made, StatefulTransformer):
        fresh(kind).load(made.dump())


@every
@pytest.mark.parametrize(
    "volume", [2**64 - 1, -(2**63), 2**64, 2**70, -(10**30), 1e308, -1e308, 5e-324, 10**400]
)
def test_numbers_at_the_edge_stay_numbers(kind: tuple[str, str], volume: float) -> None:
    made = make(kind)
    for number in range(4):
        batch = [one(volume, meter=meter, time=START + 10 * number) for meter in METERS]
        for out in play(made, [Step(batch), Step(now=START + 10 * number)]):
            assert all(is_volume(sample.volume) for sample in out)
        if isinstance(made, StatefulTransformer):
            fresh(kind).load(made.dump())
    assert all(is_volume(sample.volume) for out in play(made, later()) for sample in out)


# -- state ---------------------------------------------------------------------------------------


def handed_on(
    kind: tuple[str, str], steps: Sequence[Step], splits: frozenset[int]
) -> list[list[Sample]]:
    """Return the output when the state moves to a new instance before some of the steps."""
    made, out = fresh(kind), []
    for number, step in enumerate(steps):
        if number in splits:
            state = made.dump()
            assert isinstance(state, bytes)
            assert made.dump() == state
            made = fresh(kind)
            made.load(state)
        out += play(made, [step])
    return out


@stateful
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_state_may_be_handed_on_between_any_two_steps(
    kind: tuple[str, str], data: st.DataObject
) -> None:
    steps = STREAMS[data.draw(st.sampled_from(sorted(STREAMS)), "stream")]
    places = st.frozensets(st.integers(0, len(steps)), min_size=1, max_size=5)
    splits = data.draw(places, "splits")
    for out, expected in zip(handed_on(kind, steps, splits), play(make(kind), steps), strict=True):
        assert facts(out) == facts(expected)


@stateful
@streams
def test_state_may_be_handed_on_at_every_step(kind: tuple[str, str], how: str) -> None:
    steps = STREAMS[how]
    everywhere = frozenset(range(len(steps) - 40))  # the last ones only let time go by
    for out, expected in zip(
        handed_on(kind, steps, everywhere), play(make(kind), steps), strict=True
    ):
        assert facts(out) == facts(expected)


@stateful
@streams
def test_ticks_between_two_batches_may_be_left_out(kind: tuple[str, str], how: str) -> None:
    """What is told again after a restart is the last moment before each batch."""
    often, seldom = make(kind), make(kind)
    waiting: list[Sample] = []
    ticks: list[Step] = []
    for step in [*STREAMS[how], Step(())]:
        if step.now is not None:
            ticks.append(step)
            waiting += play(often, [step])[0]
            continue
        together = [sample for out in play(seldom, ticks[-1:]) for sample in out]
        assert sorted(map(repr, facts(together))) == sorted(map(repr, facts(waiting)))
        assert facts(play(seldom, [step])[0]) == facts(play(often, [step])[0])
        ticks, waiting = [], []


@stateful
def test_state_taken_up_replaces_what_was_there(kind: tuple[str, str]) -> None:
    steps = STREAMS["untracked"]
    made, other = fresh(kind), fresh(kind)
    play(made, steps[:40])
    play(other, STREAMS["shuffled"][:60])
    other.load(made.dump())
    for step in steps[40:]:
        assert facts(play(other, [step])[0]) == facts(play(made, [step])[0])


@stateful
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_is_no_state_is_refused(kind: tuple[str, str], data: st.DataObject) -> None:
    made = fresh(kind)
    play(made, STREAMS["mixed"][:30])
    state = made.dump()
    cut = data.draw(st.integers(0, len(state) - 1), "cut")
    for garbage in (data.draw(st.binary(max_size=50), "garbage"), state[:cut]):
        with pytest.raises(ValueError, match=r"."):
            made.load(garbage)
        assert made.dump() == state


@stateful
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_state_is_refused_or_taken(kind: tuple[str, str], data: st.DataObject) -> None:
    made = fresh(kind)
    play(made, STREAMS["mixed"][:30])
    state = bytearray(made.dump())
    place = data.draw(st.integers(0, len(state) - 1), "place")
    state[place] ^= data.draw(st.integers(1, 255), "flipped")
    with contextlib.suppress(ValueError):
        fresh(kind).load(bytes(state))


@stateful
def test_the_state_of_another_is_refused(kind: tuple[str, str]) -> None:
    made = fresh(kind)
    for other in STATEFUL:
        if type(make(other)).load is not type(made).load:
            used = fresh(other)
            play(used, STREAMS["untracked"][:20])
            with pytest.raises(ValueError, match=r"."):
                made.load(used.dump())


@every
@streams
def test_a_sample_without_a_key_needs_no_state(kind: tuple[str, str], how: str) -> None:
    warm = make(kind)
    play(warm, STREAMS["untracked"])
    for step in STREAMS[how]:
        for sample in step.samples:
            if isinstance(warm, StatefulTransformer) and warm.key(sample) is not None:
                continue
            assert facts(warm([sample])) == facts(make(kind)([sample]))


@pytest.mark.parametrize("kind", DIVIDED, ids=": ".join)
@streams
def test_samples_of_other_keys_do_not_matter(kind: tuple[str, str], how: str) -> None:
    made = fresh(kind)
    keys = {made.key(sample) for step in STREAMS[how] for sample in step.samples} - {None}
    together = [fact for out in play(made, STREAMS[how]) for fact in map(repr, facts(out))]
    alone: list[str] = []
    for key in (*sorted(keys, key=repr), None):
        steps = [
            step
            if step.now is not None
            else Step([sample for sample in step.samples if made.key(sample) == key])
            for step in STREAMS[how]
        ]
        alone += [fact for out in play(make(kind), steps) for fact in map(repr, facts(out))]
    assert sorted(alone) == sorted(together)


@stateful
@streams
def test_a_sample_that_comes_twice_makes_no_second_value(kind: tuple[str, str], how: str) -> None:
    twice = [again for step in STREAMS[how] for again in ([step, step] if step.samples else [step])]
    once = _values(play(make(kind), STREAMS[how]))
    for slot, volumes in _values(play(make(kind), twice)).items():
        assert volumes <= once.get(slot, volumes)


def _values(outs: Sequence[Sequence[Sample]]) -> dict[tuple[Any, ...], set[Any]]:
    """Return what came out, by meter, resource and time."""
    found: dict[tuple[Any, ...], set[Any]] = {}
    for out in outs:
        for sample in out:
            slot = (sample.meter, sample.resource.id, sample.time, sample.source)
            found.setdefault(slot, set()).add(sample.volume)
    return found


@stateful
def test_a_clock_that_is_set_stops_nothing(kind: tuple[str, str]) -> None:
    made = fresh(kind)
    for now in (START + 1e9, START, START + 1, -5.0, 0.0, START + 2):
        made(STREAMS["untracked"][0].samples)
        made.tick(now)
    play(made, later())
    assert not any(play(made, [Step(now=START + 400 + second) for second in range(20)]))


# -- its page ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(KINDS))
def test_it_has_a_page_with_its_parameters_and_an_example(name: str, tmp_path: Path) -> None:
    page = ROOT / "doc" / "source" / "transformers" / f"{name}.rst"
    text = page.read_text("utf-8")
    for struct in structs(plugins.load(plugins.TRANSFORMER, name).Parameters):  # type: ignore[attr-defined]
        for field in msgspec.structs.fields(struct):
            assert field.encode_name in text, field.encode_name
    whole = [block.text for block in blocks(page) if "\ntests:" in block.text]
    assert whole
    for number, example in enumerate(whole):
        path = tmp_path / f"{number}.yaml"
        path.write_text(example, "utf-8")
        file = load(path)
        assert file.tests
        assert any(step.name == name for sink in file.sinks for step in sink.transformers)
        for case in file.tests:
            result = Runner(file).run(case)
            assert result.passed, (case.name, result)
