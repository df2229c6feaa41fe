# SPDX-License-Identifier: Apache-2.0
"""The gnocchi publisher on a real Gnocchi: what was pushed is read back, value by value."""

import contextlib
import json
import subprocess
import threading
import time
import uuid
from collections import Counter

import msgspec
import pytest

from ceilo_agent.delivery.memory import MemoryQueue
from ceilo_agent.delivery.outlet import Outlet
from ceilo_agent.errors import Permanent, Retryable
from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from tests.functional import agent
from tests.functional.agent import wait_until
from tests.functional.stored import (
    METERS,
    NOW,
    cycle,
    guests,
    held,
    prepare,
    publisher,
    written,
)
from tests.services import faulty, gnocchi


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with gnocchi.running(tmp_path_factory.mktemp("gnocchi")) as started:
        prepare(started)
        yield started


@pytest.fixture
def proxy(server):
    """A proxy that notes what is asked of Gnocchi and can put faults in between."""
    with faulty.serving(faulty.forward(server.url)) as made:
        yield made


def asked(proxy):
    """Return how often what was asked since the last call."""
    found = Counter(
        f"{one.method} {one.path.split('/')[2].split('?')[0]}" for one in proxy.requests
    )
    proxy.requests.clear()
    return found


# -- one publisher -------------------------------------------------------------------------------


def test_what_was_pushed_is_there_and_a_restart_changes_nothing(server, proxy):
    first, everything = publisher(proxy), []
    resources = guests()
    for second in range(3):
        samples = cycle(resources, second)
        first.push(samples)
        everything += samples
    assert asked(proxy) == {
        "GET resource_type": 1,
        "POST search": 1,
        "POST resource": 50,
        "POST batch": 3,
    }
    first.close()
    restarted = publisher(proxy)
    restarted.push(cycle(resources, 3))
    everything += cycle(resources, 3)
    # It looks at what there is, once, and finds every attribute as it should be.
    assert asked(proxy) == {"GET resource_type": 1, "POST search": 1, "POST batch": 1}
    assert held(server, everything) == written(everything)
    shown = server.resources("instance")[resources[0].id.replace("/", "_")]
    wanted = {
        "display_name": "guest 0",
        "host": "node-1",
        "flavor_id": "f-1",
        "flavor_name": "small",
        "project_id": "project",
        "user_id": "user",
    }
    assert {key: shown[key] for key in wanted} == wanted


def test_attributes_that_change_are_a_revision_and_nothing_else_is(server, proxy):
    made = publisher(proxy)
    prefix = uuid.uuid4().hex[:8]
    before, after = guests(4, prefix), guests(4, prefix, launched_at="2026-01-31T12:00:00Z")
    made.push(cycle(before, 0))
    made.push(cycle(after, 1))
    assert asked(proxy)["PATCH resource"] == 4
    made.push(cycle(after, 2))
    made.push(cycle(before, 0))
    assert asked(proxy)["PATCH resource"] == 0
    again = publisher(proxy)
    again.push(cycle(after, 3))
    assert asked(proxy)["PATCH resource"] == 0
    name = after[1].id
    history = server.ask("GET", f"/resource/instance/{name}/history")
    moments = [each["launched_at"] for each in history]
    assert moments == [None, "2026-01-31T12:00:00+00:00"]


def test_a_second_agent_at_the_same_moment_is_no_fault(server):
    resources = guests(20)
    made = [publisher(server) for _ in range(3)]
    faults = []

    def push(number):
        try:
            made[number].push(cycle(resources, number))
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=push, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    samples = [sample for number in range(3) for sample in cycle(resources, number)]
    found, given = held(server, samples), written(samples)
    assert found.keys() == given.keys()
    for series, points in given.items():
        # Gnocchi takes no point that is older than what it has aggregated: the last is there.
        assert set(found[series]) <= set(points)
        assert found[series][-1] == points[-1]


def test_a_value_that_is_sent_again_is_stored_once_and_of_one_time_the_last_counts(server):
    made = publisher(server)
    (guest,) = guests(1)
    cpu = METERS[0]
    made.push([Sample(cpu, guest, NOW, 1), Sample(cpu, guest, NOW, 2)])
    for _ in range(2):
        made.push([Sample(cpu, guest, NOW, 2), Sample(cpu, guest, NOW + 1, 3)])
    last = [Sample(cpu, guest, NOW, 2), Sample(cpu, guest, NOW + 1, 3)]
    assert held(server, last) == written(last)


def test_what_gnocchi_cannot_hold_is_named_and_the_rest_is_there(server):
    made = publisher(server)
    (guest,) = guests(1)
    disk = Resource("vda", None, None, "instance_disk", {"disk_name": "vda"})
    bytes_read = Meter("disk.device.read.bytes", "B", SampleType.CUMULATIVE)
    good = cycle([guest], 0)
    bad = [
        Sample(METERS[0], guest, NOW + 1, float("nan")),
        Sample(Meter("a/b", "", SampleType.GAUGE), guest, NOW, 1),
        Sample(Meter("n" * 256, "", SampleType.GAUGE), guest, NOW, 1),
        Sample(METERS[0], Resource("i" * 290, None, None, "instance", {}), NOW, 1),
        Sample(METERS[0], Resource("nul\0", None, None, "instance", {}), NOW, 1),
        Sample(bytes_read, disk, NOW, 1),
    ]
    with pytest.raises(Permanent) as caught:
        made.push([*bad[:3], *good, *bad[3:]])
    assert sorted(caught.value.refused) == [0, 1, 2, 6, 7, 8]
    assert held(server, good) == written(good)


@pytest.mark.parametrize("word", ["ü 日本 \U0001f680 ' \" % & ; ? # .html", "u" * 255])
def test_odd_names_are_stored_under_themselves(server, word):
    owner = Resource(word, word[:30], word, "instance", {"display_name": word, "host": word})
    samples = [Sample(Meter(word, word, SampleType.GAUGE), owner, NOW, 5)]
    made = publisher(server)
    made.push(samples)
    changed = msgspec.structs.replace(owner, metadata={"display_name": "other"})
    made.push([Sample(METERS[0], changed, NOW, 1)])
    made.push([Sample(METERS[0], changed, NOW + 1, 1)])
    assert held(server, samples)[word, word] == [(NOW, 5.0)]
    assert server.resources("instance")[word]["display_name"] == "other"


def test_what_lacks_is_said_and_waited_for(server):
    made = publisher(server, archive_policy="not-yet")
    guest, other = guests(2)
    with pytest.raises(Retryable, match="archive policy not-yet does not exist: run 'ceilo-agent"):
        made.push(cycle([guest], 0))
    floating = Sample(Meter("ip.floating", "ip", SampleType.GAUGE), other, NOW, 1)
    with pytest.raises(Retryable, match="no resource type 'network': run 'ceilo-agent upgrade"):
        publisher(server).push([floating])


def test_what_gnocchi_would_throw_away_is_what_outdated_names(server):
    """The back window, asked for before points are sent again, against what Gnocchi then does."""
    for policy, more in (
        ("minutes", {}),
        ("window", {"back_window": 2}),
        ("rates", {"aggregation_methods": ["mean", "rate:mean"]}),
    ):
        methods = {"aggregation_methods": ["mean"]} | more
        server.create_policy(policy, 60, **methods)
        made = publisher(server, archive_policy=policy)
        (guest,) = guests(1)
        newest = NOW // 60 * 60 + 30
        made.push([Sample(METERS[0], guest, newest, 1)])
        server.drain()
        late = [Sample(METERS[0], guest, newest - 60 * n, 100 + n) for n in range(6)]
        named = made.outdated([*late, Sample(METERS[0], guest, newest + 60, 1)])
        made.push(late)
        server.drain()
        name = guest.id.replace("/", "_")
        kept = dict(server.points([name])[name, "cpu"])
        lost = [n for n, one in enumerate(late) if one.time // 60 * 60 not in kept]
        assert sorted(named) == lost, policy
        assert lost, policy


# -- outages -------------------------------------------------------------------------------------


@contextlib.contextmanager
def delivering(made):
    """An outlet and its queue for the length of a block."""
    queue = MemoryQueue("gnocchi")
    outlet = Outlet("gnocchi", made, queue)
    outlet.open()
    outlet.start()
    try:
        yield queue
    finally:
        outlet.close(time.monotonic() + 5)


def delivered(queue, samples):
    """Wait until nothing waits, and look whether everything was delivered."""
    wait_until(lambda: queue.waiting == 0, 60, "samples still wait")
    counters = queue.counters
    print(f"{counters}, waiting {queue.waiting}")
    assert counters.offered == len(samples)
    assert counters.delivered == len(samples)


def test_after_an_outage_everything_is_there_in_order_and_once(server, proxy):
    """While it is away more blocks go by than its back window holds."""
    resources, everything = guests(), []
    with delivering(publisher(proxy, batch_size=400)) as queue:
        for second in range(20):
            if second == 2:
                wait_until(lambda: queue.waiting == 0)
                server.stop()
            if second == 15:
                server.start()
            samples = cycle(resources, second)
            queue.offer(samples)
            everything += samples
        delivered(queue, everything)
    assert held(server, everything) == written(everything)


def test_after_death_in_the_middle_of_a_batch_nothing_is_doubled_and_nothing_lacks(server, proxy):
    resources, everything = guests(), []
    real = faulty.forward(server.url)
    lost = faulty.forward(server.url, lose=True)
    with delivering(publisher(proxy)) as queue:
        # The first batch arrives whole, but its answer does not, nor that of some requests to come.
        proxy.script(real, real, lost, *[real] * 20, lost, *[real] * 40, lost, lost)
        for second in range(6):
            samples = cycle(resources, second)
            queue.offer(samples)
            everything += samples
            if second == 3:
                time.sleep(0.2)
                server.kill()
                server.start()
        delivered(queue, everything)
    assert held(server, everything) == written(everything)


def test_faults_cost_time_and_nothing_else(server, proxy):
    resources, everything = guests(5), []
    faults = [
        faulty.status(500),
        faulty.status(503),
        faulty.status(429, headers={"Retry-After": "1"}),
        faulty.garbage(),
        faulty.hang,
        faulty.cut_before_reply,
    ]
    with delivering(publisher(proxy, timeout=2)) as queue:
        for second, fault in enumerate(faults):
            proxy.script(fault)
            queue.offer(cycle(resources, second))
            everything += cycle(resources, second)
            delivered(queue, everything)
    assert held(server, everything) == written(everything)


# -- the whole agent -----------------------------------------------------------------------------


def test_an_agent_that_is_killed_while_gnocchi_is_away_loses_nothing(server, tmp_path):
    """Beside Gnocchi a file takes the same samples: in the end both hold the same points."""
    server.create_policy("fine", 0.1)
    url = f"gnocchi://127.0.0.1:{server.port}?archive_policy=fine&timeout=5"
    source = {"name": "a", "interval": 1, "meters": ["hardware.cpu.*", "hardware.memory.*"]}
    document = {
        "sources": [source | {"sinks": ["a"]}],
        "sinks": [{"name": "a", "publishers": [url, f"file://{tmp_path}/samples.json"]}],
    }
    (tmp_path / "pipeline.yaml").write_text(json.dumps(document))
    host = f"host-{uuid.uuid4().hex[:8]}"
    config = agent.configure(tmp_path, host, "host")
    agent.run("upgrade", "apply", config=config)
    file, log = tmp_path / "samples.json", tmp_path / "log"

    def cycles():
        return len({each["timestamp"] for each in agent.lines(file)})

    with agent.running("polling", config=config, log=log):
        wait_until(lambda: cycles() >= 2)
    server.stop()
    with log.open("a") as output:
        command = [*agent.COMMAND, "--config-file", str(config), "polling"]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    before = cycles()
    try:
        wait_until(lambda: cycles() >= before + 4)
    finally:
        process.kill()
        process.wait()
    with agent.running("polling", config=config, log=log):
        before = cycles()
        wait_until(lambda: cycles() >= before + 2)
        server.start()
        wait_until(lambda: "delivers again" in log.read_text())
        before = cycles()
        wait_until(lambda: cycles() >= before + 2)
    print(log.read_text())
    expected = {}
    for each in agent.lines(file):
        key = (each["resource_id"].replace("/", "_"), each["name"])
        # A file may hold what was written before the end twice.
        expected.setdefault(key, {})[each["timestamp"]] = each["volume"]
    server.drain()
    names = {key[0] for key in expected}
    for points in server.points(names, "count").values():
        assert all(count == 1 for _, count in points)
    found = {key: [value for _, value in points] for key, points in server.points(names).items()}
    assert len(found) > 5
    wanted = {key: [value for _, value in sorted(each.items())] for key, each in expected.items()}
    assert found == {key: pytest.approx(values) for key, values in wanted.items()}
