# SPDX-License-Identifier: Apache-2.0
"""Transformers in a row."""

from ceilo_agent.pipeline.chain import Chain, Step
from ceilo_agent.plugins import StatefulTransformer, Transformer


class Add(Transformer):
    def __call__(self, samples):
        return [sample + self.parameters for sample in samples]


class Fail(Transformer):
    def __call__(self, samples):
        raise KeyError("a bug")


class Hold(StatefulTransformer):
    """Holds everything until the next tick."""

    def __init__(self, parameters):
        super().__init__(parameters)
        self.held = []

    def __call__(self, samples):
        self.held.extend(samples)
        return []

    def key(self, sample):
        return sample

    def tick(self, now):
        out, self.held = [s for s in self.held if s <= now], [s for s in self.held if s > now]
        return out

    def dump(self):
        return b""

    def load(self, state):
        pass


def test_samples_pass_in_order():
    assert Chain("s", [Step("a", Add(1)), Step("b", Add(10))])([1, 2]) == [12, 13]


def test_a_failing_transformer_costs_its_batch_and_is_counted(caplog):
    """Ceilometer: an exception cost the one sample that it got. Here: the batch that it got."""
    chain = Chain("s", [Step("a", Add(1)), Step("broken", Fail(None)), Step("b", Add(10))])
    assert chain([1, 2]) == []
    assert chain.lost == 2
    assert "transformer broken failed, 2 samples lost" in caplog.text


def test_a_window_opens_on_the_tick_and_passes_what_stands_behind_it():
    chain = Chain("s", [Step("a", Add(1)), Step("hold", Hold(None)), Step("b", Add(100))])
    assert chain.stateful
    assert chain([1, 5]) == []
    assert chain.tick(3) == [102]
    assert chain.tick(9) == [106]
    assert not Chain("s", [Step("a", Add(1))]).stateful


def test_a_timer_that_fails_does_not_stop_the_others(caplog):
    class Broken(Hold):
        def tick(self, now):
            raise ZeroDivisionError("a bug")

    chain = Chain("s", [Step("broken", Broken(None)), Step("hold", Hold(None))])
    chain([2], 1)
    assert chain.tick(3) == [2]
    assert "transformer broken failed on its timer" in caplog.text
