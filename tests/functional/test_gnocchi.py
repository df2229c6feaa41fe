# SPDX-License-Identifier: Apache-2.0
"""The gnocchi publisher on a real Gnocchi: what was pushed is read back, value by value."""

import contextlib
import json
import subprocess
import threading
import time
import uuid
from collections import Counter
from urllib.parse import urlsplit

import msgspec
import pytest

from ceilo_agent import options
from ceilo_agent.delivery.memory import MemoryQueue
from ceilo_agent.delivery.outlet import Outlet
from ceilo_agent.errors import Permanent, Retryable
from ceilo_agent.plugins import Context
from ceilo_agent.publishers.gnocchi.definitions import Definitions
from ceilo_agent.publishers.gnocchi.publisher import Gnocchi
from ceilo_agent.publishers.gnocchi.settings import GnocchiOptions
from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from tests.functional import agent
from tests.functional.agent import wait_until
from tests.functional.conftest import lacking
from tests.services import faulty, gnocchi, keystone
from tests.services.errors import ServiceUnavailable

NOW = float(int(time.time()))
SECOND = "test-second"
"""The archive policy of nearly all metrics here: points of a second, so that each can be read."""

METERS = [
    Meter("cpu", "ns", SampleType.CUMULATIVE),
    Meter("memory.usage", "MB", SampleType.GAUGE),
    Meter("my.own", "", SampleType.DELTA),
]


@contextlib.contextmanager
def proxied(server):
    """A proxy that notes what is asked of Gnocchi and can put faults in between."""
    with faulty.serving(faulty.forward(server.url)) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    try:
        with gnocchi.running(tmp_path_factory.mktemp("gnocchi")) as started:
            prepare(started)
            yield started
    except ServiceUnavailable as error:
        lacking(str(error))


@pytest.fixture
def proxy(server):
    with proxied(server) as made:
        yield made


def prepare(server, client=None):
    """Create what `upgrade apply` creates, as far as these tests need it, and a policy."""
    made = client or publisher(server)
    for name, kind in Definitions.load(None).resource_types.items():
        if name.startswith("instance"):
            assert made._client.create_resource_type(name, kind.schema)
            assert not made._client.create_resource_type(name, kind.schema)
    policy = {"name": SECOND, "definition": [{"granularity": 1, "points": 20_000}]}
    policy["aggregation_methods"] = ["mean", "count"]
    assert made._client.create_archive_policy(policy)
    assert not made._client.create_archive_policy(policy)
    assert {"instance", "generic"} <= set(made._client.resource_types())
    assert made._client.archive_policies()[SECOND]["aggregation_methods"]
    made.close()


def publisher(server, values=None, url=None, **chosen):
    """Make and open a publisher."""
    chosen = {"archive_policy": SECOND} | chosen
    made = Gnocchi(
        urlsplit(url or f"gnocchi://127.0.0.1:{server.port}"),
        msgspec.convert(chosen, GnocchiOptions, strict=False),
        Context("here", values or {}),
    )
    made.open()
    return made


def guests(count=50, prefix=None, **more):
    """Return guests of their own for each test; every other id is a UUID."""
    prefix = prefix or uuid.uuid4().hex[:8]
    flavor = {"id": "f-1", "name": "small"}
    return [
        Resource(
            str(uuid.uuid5(uuid.NAMESPACE_OID, f"{prefix}{n}")) if n % 2 else f"{prefix}/{n} ü",
            "project",
            "user",
            "instance",
            {"display_name": f"guest {n}", "host": "node-1", "flavor": flavor, **more},
        )
        for n in range(count)
    ]


def cycle(resources, second, meters=METERS):
    """Return the samples of one cycle, at some second after NOW, values all different."""
    return [
        Sample(meter, resource, NOW + second, 1000 * second + 10 * n + m + 0.25)
        for n, resource in enumerate(resources)
        for m, meter in enumerate(meters)
    ]


def written(samples):
    """Return what Gnocchi must hold: value by second, by resource and metric."""
    found = {}
    for sample in samples:
        key = (sample.resource.id.replace("/", "_"), sample.meter.name)
        found.setdefault(key, {})[sample.time] = sample.volume
    return {key: sorted(points.items()) for key, points in found.items()}


def held(server, samples):
    """Return what Gnocchi holds of the resources of the samples, every point once."""
    server.drain()
    names = {key[0] for key in written(samples)}
    for key, points in server.points(names, "count").items():
        assert all(count == 1 for _, count in points), (key, points)
    return server.points(names)


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
    assert held(server, samples) == written(samples)


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
    config = tmp_path / "agent.conf"
    host = f"host-{uuid.uuid4().hex[:8]}"
    config.write_text(
        f"[DEFAULT]\nhost = {host}\nstate_path = {tmp_path}/state\n"
        f"pipeline_cfg_file = {tmp_path}/pipeline.yaml\n[polling]\nnamespaces = host\n"
    )
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


# -- with Keystone -------------------------------------------------------------------------------


class Cloud:
    """A Keystone, a Gnocchi that believes it, and the options of an agent that may store there."""

    def __init__(self, keystone_server, server, credentials, path):
        self.keystone = keystone_server
        self.gnocchi = server
        self.credentials = credentials
        self._path = path

    def values(self, section="service_credentials", **changes):
        """Return the values of a configuration file with these credentials."""
        lines = [f"{key} = {value}" for key, value in (self.credentials | changes).items()]
        file = self._path / "ceilo_agent.conf"
        file.write_text(f"[{section}]\n" + "\n".join(lines) + "\n")
        return options.values(options.parse([str(file)]))


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    try:
        with keystone.running(tmp_path_factory.mktemp("keystone")) as identity:
            credentials = identity.create_user("ceilo-agent", "agent-secret", "service", "admin")
            sections = {
                "keystone_authtoken": credentials
                | {"www_authenticate_uri": identity.url, "token_cache_time": "-1"}
            }
            directory = tmp_path_factory.mktemp("gnocchi")
            headers = {"X-Auth-Token": identity.token}
            with gnocchi.running(directory, "keystone", sections, headers) as server:
                identity.register("metric", "gnocchi", server.url)
                made = Cloud(identity, server, credentials, tmp_path_factory.mktemp("options"))
                prepare(server, publisher(server, made.values(), "gnocchi://"))
                yield made
    except ServiceUnavailable as error:
        lacking(str(error))


def test_the_catalogue_says_where_gnocchi_is_and_a_token_opens_it(cloud):
    made = publisher(None, cloud.values(), "gnocchi://")
    samples = cycle(guests(10), 0)
    made.push(samples)
    assert held(cloud.gnocchi, samples) == written(samples)
    assert made._client.where == cloud.gnocchi.url


def test_a_token_that_is_worth_nothing_any_more_is_renewed(cloud):
    made = publisher(None, cloud.values(), "gnocchi://")
    resources = guests(2)
    samples = cycle(resources, 0)
    made.push(samples)
    for second in (1, 2):
        cloud.keystone.revoke(made._client._transport._session.get_token())
        made.push(cycle(resources, second))
        samples += cycle(resources, second)
    assert held(cloud.gnocchi, samples) == written(samples)


def test_a_wrong_password_is_told_tried_again_and_shown_nowhere(cloud, caplog):
    (guest,) = guests(1)
    made = publisher(None, cloud.values(password="not-the-secret"), "gnocchi://")
    for _ in range(2):
        with pytest.raises(Retryable) as caught:
            made.push(cycle([guest], 0))
        assert f"Keystone at {cloud.keystone.url}: it answers 401" in str(caught.value)
        assert "not-the-secret" not in str(caught.value) + caplog.text


def test_a_password_that_is_changed_is_read_from_its_file_at_the_next_try(cloud, tmp_path):
    path = tmp_path / "password"
    path.write_text("first-secret\n")
    own = cloud.keystone.create_user("changing", "first-secret", "service", "admin")
    made = publisher(None, cloud.values(**own | {"password": f"file:{path}"}), "gnocchi://")
    resources = guests(2)
    made.push(cycle(resources, 0))
    user = cloud.keystone.ask("GET", "/users?name=changing")["users"][0]["id"]
    # This also makes the token worthless.
    changed = {"user": {"password": "second-secret"}}
    cloud.keystone.ask("PATCH", f"/users/{user}", changed)
    with pytest.raises(Retryable, match=f"Keystone at {cloud.keystone.url}: it answers 401"):
        made.push(cycle(resources, 1))
    path.write_text("second-secret\n")
    made.push(cycle(resources, 1))
    samples = cycle(resources, 0) + cycle(resources, 1)
    assert held(cloud.gnocchi, samples) == written(samples)


def test_a_user_without_rights_is_told_and_tried_again(cloud):
    weak = cloud.keystone.create_user("reader", "reader-secret", "elsewhere", "reader")
    others = guests(2)[1:]
    publisher(None, cloud.values(), "gnocchi://").push(cycle(others, 0))
    made = publisher(None, cloud.values(**weak), "gnocchi://")
    for _ in range(2):
        with pytest.raises(Retryable, match="answers 403"):
            made.push(cycle(others, 1))


def test_application_credentials_and_the_section_of_its_own(cloud):
    body = {"application_credential": {"name": "agent", "secret": "app-secret"}}
    owner = cloud.keystone.ask("GET", "/users?name=admin")["users"][0]["id"]
    found = cloud.keystone.ask("POST", f"/users/{owner}/application_credentials", body)
    path = cloud._path / "secret"
    path.write_text("app-secret\n")
    file = cloud._path / "agent.conf"
    file.write_text(
        "[gnocchi]\nauth_section = gnocchi\nauth_type = v3applicationcredential\n"
        f"auth_url = {cloud.keystone.url}\n"
        f"application_credential_id = {found['application_credential']['id']}\n"
        f"application_credential_secret = file:{path}\n"
    )
    values = options.values(options.parse([str(file)]))
    made = publisher(None, values, f"gnocchi://127.0.0.1:{cloud.gnocchi.port}")
    (guest,) = guests(1)
    made.push(cycle([guest], 0))
    assert guest.id.replace("/", "_") in cloud.gnocchi.resources()


def test_a_project_is_left_out_by_its_name(cloud):
    project = cloud.keystone.ask("GET", "/projects?name=service")["projects"][0]["id"]
    made = publisher(None, cloud.values(), "gnocchi://", filter_project="service")
    kept, left = guests(2)
    left = msgspec.structs.replace(left, project_id=project)
    made.push(cycle([kept, left], 0))
    assert made.left_out == {meter.name: 1 for meter in METERS}
    there = cloud.gnocchi.resources()
    assert kept.id.replace("/", "_") in there
    assert left.id not in there


def test_a_keystone_that_is_away_is_told(cloud):
    gone = f"http://127.0.0.1:{faulty.closed_port()}/v3"
    made = publisher(None, cloud.values(auth_url=gone), "gnocchi://")
    with pytest.raises(Retryable, match=f"Keystone at {gone}: Connection refused"):
        made.push(cycle(guests(1), 0))


def test_without_the_catalogue_entry_it_says_what_it_looked_for(cloud):
    made = publisher(None, cloud.values(region_name="Elsewhere"), "gnocchi://")
    with pytest.raises(Retryable, match="metric service in Elsewhere region not found"):
        made.push(cycle(guests(1), 0))
