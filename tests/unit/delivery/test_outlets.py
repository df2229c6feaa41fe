# SPDX-License-Identifier: Apache-2.0
"""Publishers over the files that take one another's place; real ones, in real files."""

import contextlib
import fcntl
import json
import socket
import time

import pytest

from ceilo_agent.definition.pipeline import load
from ceilo_agent.delivery import outlets as outlets_module
from ceilo_agent.delivery.log import Log, Offer
from ceilo_agent.delivery.memory import MemoryQueue
from ceilo_agent.delivery.outlets import Outlets
from ceilo_agent.errors import ConfigError
from ceilo_agent.plugins import Context
from ceilo_agent.sample import Meter, Resource, Sample, SampleType

METER = Meter("m", "", SampleType.GAUGE)
THING = Resource("r", None, None, "host", {})


def sample(volume):
    return Sample(METER, THING, time.time(), volume)


class Changing:
    """Outlets, and the files that say which there are."""

    def __init__(self, directory, log=None):
        self.directory = directory
        self.log = log
        self.outlets = Outlets(log)
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

    def offer(self, outlet, *volumes):
        samples = [sample(volume) for volume in volumes]
        if isinstance(outlet.queue, MemoryQueue):
            outlet.queue.offer(samples)
        else:
            self.log.offer([Offer([outlet.name], samples)])

    def waiting(self):
        """Return how many samples wait for each publisher that has an outlet."""
        placed = [*self.outlets.live.values(), *self.outlets.leaving]
        found = dict.fromkeys((each.outlet.name for each in placed), 0)
        for each in placed:
            found[each.outlet.name] += each.outlet.waiting
        return found

    def file(self, name, **options):
        return {"url": f"file://{self.directory}/{name}", **options}

    def volumes(self, name):
        lines = (self.directory / name).read_text().splitlines()
        return [json.loads(line)["volume"] for line in lines]

    def hold(self, name):
        """Let nobody write a file until what this returns is closed."""
        file = (self.directory / name).open()
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def close(self, seconds=5):
        self.outlets.close(time.monotonic() + seconds)

    def restarted(self):
        """Return what another process finds."""
        self.close()
        self.log.close()
        return Changing(self.directory, opened(self.directory))


def opened(directory):
    log = Log(directory / "spool" / "polling" / "0")
    log.open()
    return log


@pytest.fixture(params=["memory", "log"])
def changing(request, tmp_path):
    made = Changing(tmp_path, opened(tmp_path) if request.param == "log" else None)
    yield made
    made.close()
    if made.log is not None:
        made.log.close()


@pytest.fixture
def durable(tmp_path):
    made = Changing(tmp_path, opened(tmp_path))
    yield made
    made.close()
    made.log.close()


def counts(counters):
    return (counters.offered, counters.delivered, counters.set_aside, counters.dropped)


def test_what_stays_the_same_keeps_its_outlet(changing):
    first = changing.change(a=changing.file("a"), b=changing.file("b"))
    second = changing.change(c=changing.file("c"), a=changing.file("a"))
    assert second["a"] is first["a"]
    assert set(second) == {"a", "c"}


def test_what_changed_under_one_name_keeps_queue_and_counters(changing):
    first = changing.change(a=changing.file("a"))
    changing.offer(first["a"], 1)
    second = changing.change(a=changing.file("b", max_bytes=1000))
    changing.offer(second["a"], 2)
    changing.close()
    assert second["a"] is first["a"]
    assert changing.volumes("a") + changing.volumes("b") == [1, 2]
    assert changing.outlets.counters["a"].delivered == 2


def test_what_only_one_may_hold_goes_from_hand_to_hand(changing):
    changing.change(a={"url": "local://", "max_age": 3600})
    after = changing.change(a={"url": "local://", "max_age": 7200})
    changing.offer(after["a"], 1)
    changing.close()
    assert changing.outlets.counters["a"].delivered == 1


def test_two_exchange_what_only_one_may_hold(changing):
    one, other = ({"url": f"local://{changing.directory}/{name}.db"} for name in ("one", "other"))
    first = changing.change(a=one, b=other)
    second = changing.change(a=other, b=one)
    assert second == first
    for outlet in second.values():
        changing.offer(outlet, 1)
    changing.close()
    assert [c.delivered for c in changing.outlets.counters.values()] == [1, 1]


def test_an_exchange_that_fails_leaves_all_as_it_was(changing):
    one, other = ({"url": f"local://{changing.directory}/{name}.db"} for name in ("one", "other"))
    nowhere = {"url": "local:///dev/null/nowhere.db"}
    first = changing.change(a=one, b=other, c=changing.file("c"))
    with pytest.raises(ConfigError, match="nowhere"):
        changing.plan(a=other, b=one, c=nowhere).open()
    for outlet in first.values():
        changing.offer(outlet, 1)
    changing.close()
    assert [c.delivered for c in changing.outlets.counters.values()] == [1, 1, 1]


def test_a_new_name_takes_over_what_only_one_may_hold(changing):
    first = changing.change(a={"url": "local://"}, b=changing.file("b"))
    changing.offer(first["a"], 1)
    changing.plan(c={"url": "local://"}).undo()
    second = changing.change(c={"url": "local://"}, b=changing.file("b"))
    changing.offer(second["c"], 2)
    third = changing.change(a={"url": "local://", "max_age": 7200})
    assert third["a"] is second["c"] is first["a"]
    changing.offer(third["a"], 3)
    changing.close()
    assert third["a"].name == "a"
    assert {name: c.delivered for name, c in changing.outlets.counters.items()} == {"a": 3, "b": 0}


def page(address):
    return {"url": f"prometheus://{address}"}


def listens(address):
    host, port = address.split(":")
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=10).close()
        return True
    return False


@pytest.fixture
def addresses():
    """Two where nobody listens."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        found = [f"127.0.0.1:{each.getsockname()[1]}" for each in (one, two)]
    # Closed by now: nobody listens there.
    return tuple(found)


def test_a_page_goes_on_at_its_address_under_another_name_and_url(changing, addresses):
    address, _ = addresses
    changing.change(a=page(address))
    second = changing.change(b=page(f"{address}/page"))
    assert listens(address)
    changing.change(a=page(address))
    assert listens(address)
    changing.offer(changing.outlets.live["a"].outlet, 1)
    wait_until(lambda: not changing.outlets.live["a"].outlet.waiting)
    wait_until(lambda: second["b"].ended)
    changing.close()
    assert not listens(address)


def test_pages_exchange_addresses_with_new_ones(changing, addresses):
    one, two = addresses
    changing.change(a=page(one), b=page(two))
    changing.change(b=page(one), c=page(two))
    assert listens(one)
    assert listens(two)
    changing.change(b=page(two), d=page(one))
    assert listens(one)
    assert listens(two)
    changing.close()


def test_a_page_that_was_to_go_is_back_after_a_refused_reload(changing, addresses):
    address, taken = addresses
    host, port = taken.split(":")
    changing.change(a=page(address))
    with socket.create_server((host, int(port))):
        with pytest.raises(ConfigError, match="listens there"):
            changing.change(b=page(taken))
        assert listens(address)
    changing.close()


def test_a_new_name_takes_over_what_waits(changing):
    first = changing.change(a=changing.file("a"))
    with changing.hold("a"):
        changing.offer(first["a"], 1)
        second = changing.change(b=changing.file("a", backup_count=3))
        changing.offer(second["b"], 2)
        assert second["b"] is first["a"]
        assert changing.waiting() == {"b": 2}
    wait_until(lambda: not second["b"].waiting)
    assert changing.volumes("a") == [1, 2]
    assert {name: counts(c) for name, c in changing.outlets.counters.items()} == {"b": (2, 2, 0, 0)}


def test_what_is_gone_delivers_what_waits_and_ends(changing):
    gone = changing.change(a=changing.file("a"))["a"]
    for number in range(100):
        changing.offer(gone, number)
    changing.change(b=changing.file("b"))
    wait_until(lambda: gone.ended)
    assert changing.volumes("a") == list(range(100))
    assert changing.outlets.counters["a"].delivered == 100


def test_what_comes_back_goes_on_counting(changing):
    for number in range(5):
        changing.offer(changing.change(a={"url": "local://"})["a"], number)
        changing.change(b=changing.file("b"))
    changing.change(a={"url": "local://"})
    changing.close()
    assert changing.outlets.counters["a"].delivered == 5
    assert changing.outlets.counters["a"].offered == 5


def test_what_comes_back_after_its_end_delivers_again(changing):
    gone = changing.change(a=changing.file("a"))["a"]
    changing.offer(gone, 1)
    changing.change(b=changing.file("b"))
    wait_until(lambda: gone.ended)
    back = changing.change(a=changing.file("a"))["a"]
    assert back is not gone
    changing.offer(back, 2)
    wait_until(lambda: not back.waiting)
    assert changing.volumes("a") == [1, 2]
    assert counts(changing.outlets.counters["a"]) == (2, 2, 0, 0)


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
        changing.offer(outlet, 1)
    changing.close()
    assert changing.volumes("a") == [1]
    assert changing.outlets.counters["b"].delivered == 1
    assert set(changing.outlets.live) == {"a", "b"}


def test_a_file_that_is_refused_leaves_no_name_behind(changing):
    changing.change(a=changing.file("a"))
    with pytest.raises(ConfigError):
        changing.plan(a=changing.file("a"), c=changing.file("no/such/directory")).open()
    assert set(changing.outlets.counters) == {"a"}


# -- what waits on disk --------------------------------------------------------------------------


def test_what_is_gone_has_all_the_time_that_it_needs(durable, monkeypatch):
    monkeypatch.setattr(outlets_module, "LEAVE_WITHIN", 0.0)
    gone = durable.change(a=durable.file("a"))["a"]
    with durable.hold("a"):
        durable.offer(gone, 1, 2)
        durable.change(b=durable.file("b"))
        wait_until(lambda: gone.fault)
        assert not gone.ended
    wait_until(lambda: gone.ended, 30)
    assert durable.volumes("a") == [1, 2]
    assert counts(durable.outlets.counters["a"]) == (2, 2, 0, 0)


def test_what_waits_at_the_end_stays_on_disk_and_is_told(durable, caplog):
    caplog.set_level("INFO")
    outlet = durable.change(a=durable.file("a"))["a"]
    with durable.hold("a"):
        durable.offer(outlet, 1, 2)
        wait_until(lambda: outlet.fault)
        began = time.monotonic()
        durable.close(30)
        assert time.monotonic() - began < 20, "it is known that it cannot be reached"
    assert "publisher a: 2 samples wait on disk" in caplog.text
    assert "dropped" not in caplog.text
    again = durable.restarted()
    again.offer(again.change(a=again.file("a"))["a"], 3)
    wait_until(lambda: not any(again.waiting().values()))
    assert again.volumes("a") == [1, 2, 3]
    assert counts(again.outlets.counters["a"]) == (3, 3, 0, 0)
    again.close()
    again.log.close()


def test_what_nobody_asks_for_stays_on_disk_until_its_publisher_is_back(durable):
    outlet = durable.change(a=durable.file("a"))["a"]
    with durable.hold("a"):
        durable.offer(outlet, 1)
        wait_until(lambda: outlet.fault)
        durable.close()
    without = durable.restarted()
    without.offer(without.change(b=without.file("b"))["b"], 5)
    wait_until(lambda: without.outlets.counters["b"].delivered)
    assert without.outlets.counters["a"].waiting == 1
    assert list(without.outlets.orphans) == ["a"]
    again = without.restarted()
    again.change(a=again.file("a"), b=again.file("b"))
    wait_until(lambda: not any(again.waiting().values()))
    assert again.volumes("a") == [1]
    again.close()
    again.log.close()


def test_a_publisher_of_another_kind_under_the_same_name_leaves_the_log_to_drain(durable):
    first = durable.change(a=durable.file("a"))["a"]
    with durable.hold("a"):
        durable.offer(first, 1)
        second = durable.change(a={"url": "local://"})["a"]
        assert second is not first
        durable.offer(second, 2)
        wait_until(lambda: second.counters.delivered)
        assert durable.waiting() == {"a": 1}
        third = durable.change(a=durable.file("a"))["a"]
        assert third is first, "it was still there"
        durable.offer(third, 3)
    wait_until(lambda: not any(durable.waiting().values()), 30)
    assert durable.volumes("a") == [1, 3]
    assert counts(durable.outlets.counters["a"]) == (3, 3, 0, 0)


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
