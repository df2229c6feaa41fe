# SPDX-License-Identifier: Apache-2.0
"""Stores that fail in every way while a real agent polls: what went in comes out, in order."""

import contextlib
import json
import random
import signal
import threading
from collections import Counter

import pytest

from tests.functional import agent, driver
from tests.functional.ledger import (
    accepted,
    assert_in_order,
    confirm,
    in_file,
    received,
    settle,
    standing,
    told_at_stop,
)
from tests.services import faulty

METERS = ["hardware.cpu.*", "hardware.memory.*", "hardware.uptime", "power.state", "vcpus"]
REFUSED = "hardware.memory.used"

POLLS = 3
"""Polls that a fault lasts at least."""


class Place:
    """A directory with an agent's files: one sink, its publishers, and a file as the record."""

    def __init__(self, directory):
        self.directory = directory
        self.config = agent.configure(directory)
        self.log = directory / "log"
        self.record = directory / "record.json"

    def write(self, **publishers):
        """Write the pipeline file; publishers are URLs, or mappings with options."""
        publishers["record"] = f"file://{self.record}"
        source = {"name": "s", "interval": 1, "meters": METERS, "sinks": ["t"]}
        document = {
            "sources": [source],
            "sinks": [{"name": "t", "publishers": list(publishers)}],
            "publishers": publishers,
        }
        (self.directory / "pipeline.yaml").write_text(json.dumps(document))

    def running(self):
        return agent.running("polling", config=self.config, log=self.log)

    def polls(self):
        """Return how many polls the record has."""
        return sum(meter == "hardware.uptime" for meter, _, _ in in_file(self.record))

    def wait_for_polls(self, count):
        end = self.polls() + count
        agent.wait_until(lambda: self.polls() >= end, what="it does not poll")

    def until(self, condition, what):
        """Wait until what `spool list` shows is as wanted, and return it."""
        return agent.wait_until(lambda: (now := standing(self.config)) and condition(now) and now,
                                90, what)  # fmt: skip

    def offered(self):
        """Return what the agent read, by its record, in order."""
        keys = in_file(self.record)
        assert len(keys) == len(set(keys))
        assert_in_order(keys)
        return keys

    def final(self):
        """Return the last counts: what the agent told at its end is what is on disk."""
        told = told_at_stop(self.log)
        assert told == standing(self.config)
        told["record"].tell("record")
        assert told["record"].delivered == len(self.offered())
        return told


# -- what a store may do -------------------------------------------------------------------------


def refuse_a_meter(request):
    """Answer 400 as long as one meter is among the samples."""
    names = {document["name"] for document in json.loads(request.body)}
    return (400, {}, b"no such meter") if REFUSED in names else (200, {}, b"")


REFUSES_CONNECTIONS = "refuses connections"
REFUSES_A_METER = "answers 400 to one meter"
FAULTS = {
    "answers 500": faulty.status(500, b"oh"),
    "answers 503": faulty.status(503, b"<html><h1>Service Unavailable</h1></html>"),
    "answers 429 with Retry-After": faulty.status(429, headers={"Retry-After": "1"}),
    "answers garbage": faulty.garbage(),
    "hangs": faulty.hang,
    "dies before the request is read": faulty.cut_request,
    "dies after half of the request": faulty.cut_amid_request,
    "dies before the answer": faulty.cut_before_reply,
    "dies amid the answer": faulty.cut_amid_reply,
    REFUSES_A_METER: faulty.reply(refuse_a_meter),
}
STEADY = "never fails"


class Store:
    """One that fails for a while; faults met are counted."""

    def __init__(self, server):
        self.server = server
        self.met = 0
        self._lock = threading.Lock()

    def fail(self, behaviour):
        def behave(exchange):
            with self._lock:
                self.met += 1
            behaviour(exchange)

        self.server.usual = behave

    def mend(self):
        self.server.usual = confirm


class Outage:
    """What a run left: the stores by fault, the counts of the agent, and what it read."""

    def __init__(self, stores, counts, offered):
        self.stores = stores
        self.counts = counts
        self.offered = offered


def name_of(fault):
    return fault.replace(" ", "-").lower()


@pytest.fixture
def server():
    with faulty.serving(confirm) as made:
        yield made


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture(scope="module")
def outage(tmp_path_factory):
    """One agent whose stores all fail at the same time, each in its own way, but one."""
    place = Place(tmp_path_factory.mktemp("outage"))
    with contextlib.ExitStack() as stack:
        stores = {
            name: Store(stack.enter_context(faulty.serving(confirm)))
            for name in (*FAULTS, REFUSES_CONNECTIONS, STEADY)
        }
        place.write(
            **{
                name_of(name): {"url": f"{store.server.url}/samples", "timeout": 1}
                for name, store in stores.items()
            }
        )
        steady = stores[STEADY].server
        with place.running():
            agent.wait_until(lambda: all(s.server.accepted for s in stores.values()))
            for fault, behaviour in FAULTS.items():
                stores[fault].fail(behaviour)
            stores[REFUSES_CONNECTIONS].server.stop()
            before = len(steady.accepted)
            agent.wait_until(lambda: all(stores[fault].met >= 2 for fault in FAULTS), 90)
            place.wait_for_polls(POLLS)
            away = [name_of(n) for n in stores if n not in {STEADY, REFUSES_A_METER}]
            print("while the stores are away:")
            for name, counts in place.until(
                lambda now: all(now[name].waiting for name in away), "nothing waits"
            ).items():
                counts.tell(name)
            agent.wait_until(lambda: len(steady.accepted) >= before + POLLS)
            for fault in FAULTS:
                stores[fault].mend()
            stores[REFUSES_CONNECTIONS].server.start()
            place.until(lambda now: not any(c.waiting for c in now.values()), "it still waits")
            place.wait_for_polls(1)
        print("at the end:")
        yield Outage(stores, place.final(), place.offered())


@pytest.mark.parametrize("fault", [*FAULTS, REFUSES_CONNECTIONS, STEADY])
def test_what_was_read_arrives_once_the_store_is_back(outage, fault):
    counts, server = outage.counts[name_of(fault)], outage.stores[fault].server
    missing = settle(fault, counts, outage.offered, server)
    assert counts.dropped == 0
    refused = [each for each in missing if each[0] == REFUSED]
    assert len(refused) == counts.set_aside
    assert bool(refused) == (fault == REFUSES_A_METER), "nothing else is ever refused"
    late = missing[len(refused) :]
    assert len(late) == counts.waiting
    assert late == outage.offered[len(outage.offered) - len(late) :], "read in the last moment"
    if fault in {"hangs", "dies before the answer", "dies amid the answer", "answers garbage"}:
        twice = [each for each, times in Counter(received(server)).items() if times > 1]
        assert twice, "they were read and not confirmed: so they came again"


@pytest.mark.parametrize(
    "requests", [25, pytest.param(1500, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
def test_a_store_that_fails_at_random_has_each_sample_once_confirmed(tmp_path, server, requests):
    chance = random.Random(requests)
    behaviours = [behaviour for fault, behaviour in FAULTS.items() if fault != REFUSES_A_METER]
    met = []

    def at_random(exchange):
        met.append(chance.choice([confirm, *behaviours]))
        met[-1](exchange)

    store = {"url": f"{server.url}/s", "timeout": 0.3, "batch_size": 70}
    place = driver.Place(tmp_path, store=store)
    with place.driver() as life:
        server.usual = at_random
        while len(met) < requests:
            if chance.random() < 0.05:
                server.stop()
                life.offer(100)
                server.start()
            life.offer(100)
            life.until(lambda now: now["store"].waiting < 500 or len(met) >= requests)
        server.usual = confirm
        life.until(lambda now: not now["store"].waiting, "it still waits")
        counts = life.close()["store"]
    assert settle("store", counts, place.keys(), server) == []
    assert len(received(server)) > len(accepted(server)), "some of it was sent again"


# -- while samples wait --------------------------------------------------------------------------


AWAY = faulty.status(503, headers={"Retry-After": "1"})


def test_options_of_a_publisher_change_while_it_has_a_backlog(place, server):
    place.write(store={"url": f"{server.url}/first", "batch_size": 11})
    with place.running() as process:
        agent.wait_until(lambda: accepted(server))
        server.usual = AWAY
        place.until(lambda now: now["store"].waiting >= 50, "nothing waits")
        place.write(store={"url": f"{server.url}/first", "batch_size": 7, "timeout": 5})
        process.send_signal(signal.SIGHUP)
        agent.wait_until(lambda: "reloaded: " in place.log.read_text())
        changed = len(server.requests)
        server.usual = confirm
        agent.wait_until(lambda: len(server.requests) > changed + 3)
        server.usual = AWAY
        place.wait_for_polls(2)
    waited = told_at_stop(place.log)["store"]
    waited.tell("store, after its options changed")
    assert waited.waiting > 0
    assert largest(server.requests[:changed]) <= 11
    assert largest(server.requests[changed + 1 :]) <= 7, "but for one that was on its way"
    # Even elsewhere: it is the name that says for whom they wait.
    place.write(store={"url": f"{server.url}/second", "batch_size": 5})
    moved = len(server.requests)
    server.usual = confirm
    with place.running():
        place.until(lambda now: not now["store"].waiting, "it still waits")
    counts = place.final()["store"]
    missing = settle("store", counts, place.offered(), server)
    assert len(missing) == counts.waiting
    assert (counts.set_aside, counts.dropped) == (0, 0)
    assert {request.path for request in server.requests[:moved]} == {"/first"}
    assert {request.path for request in server.requests[moved:]} == {"/second"}
    assert largest(server.requests[moved:]) <= 5


def largest(requests):
    """Return the most samples that a request had."""
    return max(len(json.loads(request.body)) for request in requests)


def test_a_second_agent_on_the_directory_is_refused_and_costs_the_first_nothing(place, server):
    place.write(store=f"{server.url}/samples")
    server.stop()
    with place.running() as process:
        place.until(lambda now: now["store"].waiting, "nothing waits")
        for _ in range(2):
            other = agent.run("polling", config=place.config, check=False)
            assert other.returncode == 2
            told = [line for line in other.stderr.splitlines() if f"{process.pid}" in line]
            assert len(told) == 1
            assert f"{place.directory}/state/spool/polling/0" in told[0]
        place.wait_for_polls(1)
        server.start()
        place.until(lambda now: not now["store"].waiting, "it still waits")
    counts = place.final()["store"]
    missing = settle("store", counts, place.offered(), server)
    assert len(missing) == counts.waiting
    assert (counts.set_aside, counts.dropped) == (0, 0)


def test_a_bound_that_is_reached_under_an_agent_is_counted(place, server):
    agent.configure(place.directory, more="[delivery]\nmax_samples = 100")
    place.write(store=f"{server.url}/samples")
    server.stop()
    with place.running():
        place.until(lambda now: now["store"].dropped > 100, "nothing is dropped")
        server.start()
        place.until(lambda now: now["store"].delivered, "nothing arrives")
        dropped = place.until(lambda now: not now["store"].waiting, "it waits")["store"].dropped
    counts = place.final()["store"]
    offered = place.offered()
    missing = settle("store", counts, offered, server)
    assert counts.dropped == dropped, "none after the store was back"
    assert missing[:dropped] == offered[:dropped], "the oldest went, as many as the counter says"
    assert len(missing) == dropped + counts.waiting
