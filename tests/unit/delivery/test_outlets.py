# SPDX-License-Identifier: Apache-2.0
"""Publishers over the files that take one another's place; real ones, in real files."""

import json
import time

import pytest

from ceilo_agent.definition.pipeline import load
from ceilo_agent.delivery.outlets import Outlets
from ceilo_agent.errors import ConfigError
from ceilo_agent.plugins import Context
from ceilo_agent.sample import Meter, Resource, Sample, SampleType

METER = Meter("m", "", SampleType.GAUGE)
THING = Resource("r", None, None, "host", {})


def sample(volume):
    return Sample(METER, THING, 0.0, volume)


class Changing:
    """Outlets, and the files that say which there are."""

    def __init__(self, directory):
        self.directory = directory
        self.outlets = Outlets()
        options = {"store.path": str(directory / "store.db"), "store.max_age": 3600}
        self.context = Context("h", options | {"store.max_bytes": 1 << 20})

    def plan(self, **publishers):
        path = self.directory / "pipeline.yaml"
        document = {
            "sources": [{"name": "s", "interval": 1, "meters": ["*"], "sinks": ["t"]}],
            "sinks": [{"name": "t", "publishers": list(publishers)}],
            "publishers": publishers,
        }
        path.write_text(json.dumps(document))
        (sink,) = load(path).sinks
        return self.outlets.plan(sink.publishers, self.context)

    def change(self, **publishers):
        change = self.plan(**publishers)
        change.open()
        change.commit()
        return change.outlets

    def file(self, name, **options):
        return {"url": f"file://{self.directory}/{name}", **options}

    def volumes(self, name):
        lines = (self.directory / name).read_text().splitlines()
        return [json.loads(line)["volume"] for line in lines]

    def close(self):
        self.outlets.close(time.monotonic() + 5)


@pytest.fixture
def changing(tmp_path):
    made = Changing(tmp_path)
    yield made
    made.close()


def test_what_stays_the_same_keeps_its_outlet(changing):
    first = changing.change(a=changing.file("a"), b=changing.file("b"))
    second = changing.change(c=changing.file("c"), a=changing.file("a"))
    assert second["a"] is first["a"]
    assert set(second) == {"a", "c"}


def test_what_changed_under_one_name_keeps_queue_and_counters(changing):
    first = changing.change(a=changing.file("a"))
    first["a"].offer([sample(1)])
    second = changing.change(a=changing.file("b", max_bytes=1000))
    second["a"].offer([sample(2)])
    changing.close()
    assert second["a"] is first["a"]
    assert changing.volumes("a") + changing.volumes("b") == [1, 2]
    assert changing.outlets.counters["a"].delivered == 2


def test_what_only_one_may_hold_goes_from_hand_to_hand(changing):
    changing.change(a={"url": "local://", "max_age": 3600})
    changing.change(a={"url": "local://", "max_age": 7200})["a"].offer([sample(1)])
    changing.close()
    assert changing.outlets.counters["a"].delivered == 1


def test_a_new_name_takes_over_what_only_one_may_hold(changing):
    first = changing.change(a={"url": "local://"}, b=changing.file("b"))
    first["a"].offer([sample(1)])
    changing.plan(c={"url": "local://"}).undo()
    second = changing.change(c={"url": "local://"}, b=changing.file("b"))
    second["c"].offer([sample(2)])
    third = changing.change(a={"url": "local://", "max_age": 7200})
    assert third["a"] is second["c"] is first["a"]
    third["a"].offer([sample(3)])
    changing.close()
    assert third["a"].name == "a"
    assert {name: c.delivered for name, c in changing.outlets.counters.items()} == {"a": 3, "b": 0}


def test_what_is_gone_delivers_what_waits_and_ends(changing):
    gone = changing.change(a=changing.file("a"))["a"]
    for number in range(100):
        gone.offer([sample(number)])
    changing.change(b=changing.file("b"))
    wait_until(lambda: gone.ended)
    assert changing.volumes("a") == list(range(100))
    assert changing.outlets.counters["a"].delivered == 100


def test_what_comes_back_goes_on_counting(changing):
    for number in range(5):
        changing.change(a={"url": "local://"})["a"].offer([sample(number)])
        changing.change(b=changing.file("b"))
    changing.change(a={"url": "local://"})
    changing.close()
    assert changing.outlets.counters["a"].delivered == 5
    assert changing.outlets.counters["a"].offered == 5


def test_one_that_cannot_be_opened_undoes_all(changing):
    first = changing.change(a=changing.file("a"), b={"url": "local://"})
    change = changing.plan(
        a=changing.file("other"),
        b={"url": "local:///dev/null/nowhere.db"},
        c=changing.file("c"),
        d=changing.file("no/such/directory"),
    )
    with pytest.raises(ConfigError, match="no/such/directory"):
        change.open()
    change = changing.plan(a=changing.file("other"), b={"url": "local:///dev/null/nowhere.db"})
    with pytest.raises(ConfigError, match="nowhere"):
        change.open()
    for outlet in first.values():
        outlet.offer([sample(1)])
    changing.close()
    assert changing.volumes("a") == [1]
    assert changing.outlets.counters["b"].delivered == 1
    assert set(changing.outlets.live) == {"a", "b"}


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
