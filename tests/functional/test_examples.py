# SPDX-License-Identifier: Apache-2.0
"""The examples of the documentation, built and run as their readers would."""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from ceilo_agent import plugins
from ceilo_agent.discovery.libvirt.guest import Guest, describe
from ceilo_agent.errors import ConfigError, Permanent, Retryable
from ceilo_agent.inspection.libvirt.inspector import LibvirtInspector
from ceilo_agent.inspection.libvirt.layout import Layout
from ceilo_agent.inspection.libvirt.parts import PARTS
from ceilo_agent.inspection.libvirt.resources import GuestResources
from ceilo_agent.meters.catalogue import load as load_catalogue
from ceilo_agent.plugins import PUBLISHER, TRANSFORMER, Context, Observation, load
from ceilo_agent.polling.tracker import Tracker
from ceilo_agent.sample import FIRST, UNTRACKED, Meter, Previous, Resource, Sample, SampleType
from tests import example_plugin
from tests.functional import agent
from tests.pages import blocks
from tests.unit.pipeline.transformers.kinds import STREAMS, play

ROOT = Path(__file__).resolve().parents[2]
EXTENDING = ROOT / "doc" / "source" / "extending.rst"

CONF = "[DEFAULT]\nhost = node-7\nstate_path = {state}\n[libvirt]\nuri = test:///default\n"

PIPELINE = """\
sources:
  - name: everything
    interval: 60
    meters: ["power.state", "hardware.memory.total", "hardware.cpu.load.*"]
    sinks: [plain, collector]
sinks:
  - name: plain
    publishers:
      - "file://{lines}"
  - name: collector
    transformers:
      - name: scale_volume
        parameters: {{factor: 1024, unit: B}}
        meters: ["hardware.memory.*"]
      - name: scale_volume
        parameters: {{factor: 0.5}}
        meters: ["power.*"]
    publishers:
      - "udp://127.0.0.1:{port}?max_bytes={max_bytes}"
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """The directory that the example is installed in."""
    directory = tmp_path_factory.mktemp("plugin")
    example_plugin.install(directory)
    return directory


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "agent.conf"
    path.write_text(CONF.format(state=tmp_path / "state"))
    return path


@pytest.fixture
def receiver():
    """A UDP socket on the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(20)
        yield made


def pipeline(tmp_path, port=5140, max_bytes=1400, changes=()):
    """Write the pipeline file, with words of it exchanged."""
    text = PIPELINE.format(lines=tmp_path / "lines.json", port=port, max_bytes=max_bytes)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    return path


def check(path, plugin, code):
    """Return what `config check` prints, and on which stream."""
    done = agent.run("config", "check", path, check=False, PYTHONPATH=str(plugin))
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


# -- a plugin of one's own -----------------------------------------------------------------------


def test_the_example_is_found_by_its_entry_points(tmp_path, plugin):
    path = pipeline(tmp_path)
    assert check(path, plugin, 0) == (f"{path}: 1 source, 2 sinks, 5 meters, no faults\n", "")


def test_without_the_example_its_names_are_unknown(tmp_path):
    path = pipeline(tmp_path)
    _, said = check(path, tmp_path, 1)
    transformers, publishers = (
        f"there are {', '.join(plugins.names(kind))}" for kind in (TRANSFORMER, PUBLISHER)
    )
    assert said.splitlines() == [
        f"{path}:12:15: no transformer is named 'scale_volume' ({transformers})",
        f"{path}:15:15: no transformer is named 'scale_volume' ({transformers})",
        f"{path}:19:9: no publisher is named 'udp' ({publishers})",
    ]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            ("max_bytes", "max_byte"),
            "19:9: unknown option 'max_byte' (did you mean 'max_bytes'?)",
        ),
        (
            ("1400", "14"),
            (
                "19:9: option 'max_bytes': a whole number from 512 to 65507 was expected, "
                "found the text '14'"
            ),
        ),
        (("unit", "units"), "13:36: unknown parameter 'units' (did you mean 'unit'?)"),
        (("1024", "0"), "13:21: factor: 0 would erase every volume"),
        (("udp:", "upd:"), "19:9: no publisher is named 'upd' (did you mean 'udp'?)"),
        (
            ("scale_volume", "scale_volumes"),
            "12:15: no transformer is named 'scale_volumes' (did you mean 'scale_volume'?)",
        ),
    ],
    ids=["option", "value", "parameter", "own-check", "scheme", "transformer"],
)
def test_a_mistake_in_its_options_is_told_with_its_place(tmp_path, plugin, change, fault):
    path = pipeline(tmp_path, changes=[change])
    assert check(path, plugin, 1) == ("", f"{path}:{fault}\n")


def test_the_collector_gets_the_scaled_samples(tmp_path, plugin, config, receiver):
    port = receiver.getsockname()[1]
    path = pipeline(tmp_path, port)
    log = tmp_path / "log"
    with agent.running(
        "polling", "--pipeline", path, config=config, log=log, PYTHONPATH=str(plugin)
    ):
        plain = agent.wait_until(lambda: len(found := agent.lines(tmp_path / "lines.json")) >= 5
                                 and found, what="no samples were polled")  # fmt: skip
        sent, datagrams = [], []
        while len(sent) < len(plain):
            datagrams.append(receiver.recv(65536))
            sent += map(json.loads, datagrams[-1].splitlines())
    assert {sample["name"] for sample in plain} == {
        "power.state", "hardware.memory.total", "hardware.cpu.load.1min",
        "hardware.cpu.load.5min", "hardware.cpu.load.15min",
    }  # fmt: skip
    assert all(datagram.endswith(b"\n") and len(datagram) <= 1400 for datagram in datagrams)

    def scaled(sample):
        if sample["name"] == "hardware.memory.total":
            return sample | {"volume": sample["volume"] * 1024, "unit": "B"}
        if sample["name"] == "power.state":
            return sample | {"volume": sample["volume"] * 0.5}
        return sample

    assert sorted(sent, key=str) == sorted(map(scaled, plain), key=str)


def test_samples_wait_for_a_collector_that_is_away(tmp_path, plugin, config, receiver):
    port = receiver.getsockname()[1]
    receiver.close()
    log = tmp_path / "log"
    with (
        agent.running(
            "polling", "--pipeline", pipeline(tmp_path, port, 512), config=config, log=log,
            PYTHONPATH=str(plugin),
        ),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late,
    ):  # fmt: skip
        # With several datagrams to a batch the second one is refused.
        agent.wait_until(lambda: "Connection refused" in log.read_text())
        late.bind(("127.0.0.1", port))
        late.settimeout(20)
        names = set()
        while "hardware.memory.total" not in names:
            names |= {json.loads(line)["name"] for line in late.recv(65536).splitlines()}
    assert f"udp-127.0.0.1:{port}: delivers again" in log.read_text()


def test_setuptools_builds_the_example(tmp_path, plugin):
    """What stands in its setup.cfg is a package, and the other tests' metadata is the same."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("LEFT OUT: needs setuptools")
    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(example_plugin.EXAMPLE, source)
    site.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", "import setuptools; setuptools.setup()", "--quiet",
         "egg_info", "--egg-base", site, "build_py", "--build-lib", site],
        capture_output=True, text=True, check=False, cwd=source,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    def entries(directory):
        return sorted(
            (entry.group, entry.name, entry.value)
            for found in importlib.metadata.distributions(path=[str(directory)])
            for entry in found.entry_points
        )

    assert entries(site) == entries(plugin)
    check(pipeline(tmp_path), site, 0)


# -- the example's own words ---------------------------------------------------------------------


@pytest.fixture
def classes(tmp_path):
    """A transformer and a publisher, in this process."""
    with example_plugin.installed(tmp_path):
        yield load(TRANSFORMER, "scale_volume"), load(PUBLISHER, "udp")


def sample(volume, previous=UNTRACKED, metadata=None):
    meter = Meter("disk.device.read.bytes", "B", SampleType.CUMULATIVE)
    resource = Resource("a", None, None, "instance_disk", metadata or {})
    return Sample(meter, resource, 1_700_000_000.0, volume, previous)


def test_scaling_scales_the_reading_before_and_keeps_whole_numbers(classes):
    scale, _ = classes
    step = scale(scale.Parameters(factor=8, unit="bit"))
    whole = 2**61 - 1
    given = [sample(whole, Previous(5.0, whole - 1)), sample(1, FIRST), sample(2)]
    first, second, third = step(given)
    assert (first.volume, first.previous) == (whole * 8, Previous(5.0, (whole - 1) * 8))
    assert (second.volume, second.previous) == (8, FIRST)
    assert third.previous is UNTRACKED
    assert first.meter is second.meter
    assert first.meter.unit == "bit"
    assert [one.volume for one in given] == [whole, 1, 2]
    assert list(step.outcome([given[0].meter])) == [first.meter]


def test_scaling_lets_out_only_what_64_bits_hold(classes):
    scale, _ = classes
    step = scale(scale.Parameters(factor=16))
    (large,) = step([sample(2**61)])
    assert (large.volume, type(large.volume)) == (2.0**65, float)
    assert step([sample(1e308), sample(10**308)]) == []
    assert step.dropped == {"the result is no finite number": 2}
    assert step([sample(1, Previous(5.0, 1e308))])[0].previous is FIRST


def made_by(steps):
    """Return what comes out of a transformer that remembers, and of one that is put in its place.

    The second takes up its state at every step.
    """
    alone, other = (load(TRANSFORMER, "only_changes") for _ in range(2))
    parameters = alone.Parameters(repeat=20)
    once, again = alone(parameters), other(parameters)
    found = [], []
    for step in steps:
        for number, each in enumerate((once, again)):
            found[number].append(play(each, [step]))
        state = again.dump()
        again = other(parameters)
        again.load(state)
    return found


@pytest.mark.parametrize("how", sorted(STREAMS))
def test_what_remembers_may_hand_its_state_on_at_every_step(classes, how):
    once, again = made_by(STREAMS[how])
    assert once == again
    assert any(out for (out,) in once)


def test_what_remembers_is_bounded_and_refuses_what_is_no_state(classes, monkeypatch):
    made = load(TRANSFORMER, "only_changes")
    monkeypatch.setattr(sys.modules[made.__module__], "MOST", 3)
    step = made(made.Parameters(repeat=10))
    samples = [
        replace(sample(1), resource=Resource(f"vm-{n}", None, None, "instance", {}), time=float(n))
        for n in range(5)
    ]
    assert len(step(samples)) == 5
    assert step(samples[2:]) == []
    assert len(step(samples[:1])) == 1, "it was forgotten"
    step.tick(1000.0)
    assert step.dump() == step_state(made, 1000.0)
    for junk in (b"", b"{}", b"\xc0"):
        with pytest.raises(ValueError, match="no values"):
            step.load(junk)


def step_state(made, now):
    """Return the state of one that got nothing but a tick."""
    empty = made(made.Parameters())
    empty.tick(now)
    return empty.dump()


def udp(classes, url, **options):
    _, made = classes
    return made(urlsplit(url), made.Options(**options), Context("node-7", {}))


@pytest.mark.parametrize("url", ["udp://", "udp://host", "udp://:5140", "udp://host:5140/path"])
def test_a_url_that_can_never_work_is_refused(classes, url):
    with pytest.raises(ConfigError, match="a host and a port were expected"):
        classes[1].check(urlsplit(url))


def test_a_name_that_cannot_be_resolved_may_be_later(classes):
    with pytest.raises(Retryable, match=r"nowhere\.invalid"):
        udp(classes, "udp://nowhere.invalid:5140").open()


def test_what_fits_no_datagram_is_refused_for_good_and_the_others_are_sent(classes, receiver):
    publisher = udp(classes, f"udp://127.0.0.1:{receiver.getsockname()[1]}", max_bytes=512)
    publisher.open()
    with pytest.raises(Permanent) as refused:
        publisher.push([sample(1), sample(2, metadata={"display_name": "x" * 600}), sample(3)])
    assert list(refused.value.refused) == [1]
    assert "bytes long, 512 are possible" in refused.value.refused[1]
    received = receiver.recv(65536)
    assert [json.loads(line)["volume"] for line in received.splitlines()] == [1, 3]
    publisher.close()


# -- the one that loses nothing ------------------------------------------------------------------


@contextlib.contextmanager
def carbon(answer=lambda connection: None):
    """Something that reads what comes until its sender is done; yields its port and what came."""
    came = []

    def serve(server):
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                came.append(stream.read().decode())
                answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.fixture
def graphite(classes):
    """Makes a publisher for a port."""
    made = load(PUBLISHER, "graphite")

    def make(port, **options):
        url = urlsplit(f"graphite://127.0.0.1:{port}")
        return made(url, made.Options(**options), Context("node-7", {}))

    return make


def test_graphite_gets_a_line_for_each_sample(graphite):
    long = Resource("r" * 251, None, None, "instance", {})
    odd = Resource("disk vda/a.b", None, None, "instance", {})
    given = [sample(1), replace(sample(2), resource=long), replace(sample(2.5), resource=odd)]
    with carbon() as (port, came):
        graphite(port, prefix="x.").push(given)
        graphite(port).push([])
    (lines,) = came
    assert lines.splitlines() == [
        "x.a.disk.device.read.bytes 1 1700000000",
        f"x.{'r' * 242}{zlib.crc32(b'r' * 251):08x}.disk.device.read.bytes 2 1700000000",
        "x.disk_vda_a_b.disk.device.read.bytes 2.5 1700000000",
    ]


def test_graphite_reads_other_names_from_a_file(graphite, tmp_path):
    file = tmp_path / "names"
    file.write_text("disk.device.read.bytes reads.total\n\ncpu cpu.total\n")
    with carbon() as (port, came):
        made = graphite(port, names=str(file))
        made.open()
        made.push([sample(1)])
    assert came == ["ceilo_agent.a.reads.total 1 1700000000\n"]
    before = made.read_files(made.options).digest
    file.write_text("disk.device.read.bytes reads.other\n")
    assert made.read_files(made.options).digest not in ("", before)
    file.write_text("cpu\n\ncpu a b\n")
    with pytest.raises(ConfigError) as caught:
        made.read_files(made.options)
    expected = "a meter and its other name were expected"
    assert str(caught.value) == f"{file}:1:1: {expected}\n{file}:3:1: {expected}"


def test_graphite_that_is_away_or_breaks_off_is_tried_again(graphite):
    with carbon() as (port, _):
        pass
    with pytest.raises(Retryable, match=f"carbon at 127.0.0.1:{port}: .*refused"):
        graphite(port).push([sample(1)])
    linger = struct.pack("ii", 1, 0)  # closes with a reset, as a process that is killed does
    reset = lambda c: c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)  # noqa: E731
    with carbon(reset) as (port, _), pytest.raises(Retryable, match="reset"):
        graphite(port).push([sample(1)])
    silent = threading.Event()
    with carbon(lambda _: silent.wait(10)) as (port, _):
        with pytest.raises(Retryable, match="timed out"):
            graphite(port, timeout=0.2).push([sample(1)])
        silent.set()


def test_graphite_knows_what_it_would_not_keep(graphite):
    new = replace(sample(2), time=time.time() - 50)
    assert graphite(1, retention=100).outdated([sample(1), new]) == {
        0: "Graphite keeps the last 100 seconds"
    }
    assert graphite(1).outdated([sample(1), new]) == {}


def test_the_conformance_suite_runs_over_it(plugin):
    suite = "tests/unit/publishers/test_conformance.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", suite],
        env=os.environ
        | {
            "PYTHONPATH": f"{plugin}:{ROOT}",
            "CEILO_AGENT_KINDS": str(example_plugin.EXAMPLE / "conformance.py"),
        },
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 40, done.stdout


# -- a plugin that is broken ---------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path):
    """Plugins whose module cannot be imported, installed in a directory."""
    directory = tmp_path / "broken"
    example_plugin.describe(
        directory, "ceilo-broken", "1.0",
        "[ceilo_agent.transformer]\nscale_volume = ceilo_broken:Scale\n"
        "[ceilo_agent.publisher]\nudp = ceilo_broken:Udp\n",
    )  # fmt: skip
    (directory / "ceilo_broken.py").write_text("import no_such_module\n")
    return directory


def test_a_plugin_that_cannot_be_imported_is_named(tmp_path, broken, config):
    path = pipeline(tmp_path)
    reason = "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"
    expected = [
        f"{path}:12:15: the transformer 'scale_volume' (ceilo_broken:Scale) {reason}",
        f"{path}:15:15: the transformer 'scale_volume' (ceilo_broken:Scale) {reason}",
        f"{path}:19:9: the publisher 'udp' (ceilo_broken:Udp) {reason}",
    ]
    assert check(path, broken, 1)[1].splitlines() == expected
    daemon = agent.run(
        "polling", "--pipeline", path, config=config, check=False, PYTHONPATH=str(broken)
    )
    assert daemon.returncode == 2
    assert daemon.stderr.splitlines() == expected


# -- a new meter of guests -----------------------------------------------------------------------


def enlarged():
    """Return the catalogue of guests with the page's entries added, and their names."""
    text = (ROOT / "ceilo_agent" / "meters" / "compute.yaml").read_text("utf-8")
    (entry,) = [block for block in blocks(EXTENDING) if block.name == "compute-entry"]
    head, mark, tail = text.partition("\nleft_out:\n")
    assert mark
    indented = "".join(f"  {line}\n" for line in entry.text.splitlines())
    before = {each.name for each in load_catalogue(text).meters}
    found = load_catalogue(f"{head}\n{indented}{mark}{tail}")
    return found, [each.name for each in found.meters if each.name not in before]


def reply():
    return json.loads((ROOT / "bench" / "reply.json").read_text())


def guest():
    xml = (ROOT / "bench" / "domain.xml").read_text()
    return Guest("00000000-0000-4000-8000-000000000001", None, 1, describe(xml), None)


def test_the_documented_meters_are_read_from_a_reply():
    found, names = enlarged()
    assert names == ["memory.dirty.period", "cpu.util"]
    layout = Layout(found, frozenset(names))
    plain = Layout(found, frozenset())
    assert layout.groups & ~plain.groups, "the bulk call must ask for more groups"
    read = reply() | {"dirtyrate.calc_period": 3}
    resources = GuestResources(guest(), "node-7", 1, 1, 2)
    ((prefix, (resource, _)),) = PARTS["instance"](read, resources)
    kind = layout.kinds["instance"]
    values = kind.read(read, prefix, guest())
    by_name = dict(zip([c.meter.name for c in kind.columns], values, strict=True))
    assert by_name == {
        "memory.dirty.period": 3,
        "cpu.time": read["cpu.time"],
        "cpu.util": None,
    }
    assert resource.type == "instance"

    tracker = Tracker("guests", frozenset(names).__contains__, 60)

    def cycle(clock, reply):
        values = kind.read(reply, prefix, guest())
        seen = Observation(resource, kind.columns, values, 1.7e9 + clock, clock, resource.id)
        return {one.meter.name: one for one in tracker.samples([seen])}

    assert set(cycle(100.0, read)) == {"memory.dirty.period"}
    second = cycle(110.0, read | {"cpu.time": read["cpu.time"] + 5 * 10**9})
    assert second["cpu.util"].volume == pytest.approx(50.0)
    assert second["cpu.util"].meter.unit == "%"


def test_the_documented_meters_reach_a_whole_inspector(monkeypatch):
    found, names = enlarged()
    monkeypatch.setattr("ceilo_agent.inspection.libvirt.inspector.catalogue", lambda _: found)
    inspector = LibvirtInspector(Context("node-7", {}))
    assert set(names) <= {meter.name for meter in inspector.meters()}
