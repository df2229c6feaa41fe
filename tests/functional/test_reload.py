# SPDX-License-Identifier: Apache-2.0
"""Another configuration while the agent runs: whole or not at all, and nothing is lost by it."""

import itertools
import json
import re
import signal

import pytest

from tests.functional import agent

TURNS = 20
WINDOW = 4
METERS = ["hardware.cpu.user", "hardware.cpu.idle"]
CHANGING = ["hardware.system_stats.cpu.idle", "hardware.cpu.load.1min"]


class Place:
    """A directory with the files of an agent."""

    def __init__(self, directory):
        self.directory = directory
        self.pipeline = directory / "pipeline.yaml"
        self.config = directory / "agent.conf"
        self.log = directory / "log"
        self.options()

    def options(self, namespaces="compute,host", more=""):
        self.config.write_text(f"""[DEFAULT]
host = h
state_path = {self.directory}/state
pipeline_cfg_file = {self.pipeline}
[polling]
namespaces = {namespaces}
[libvirt]
uri = test:///default
{more}
""")

    def write(self, turn=0):
        """Write a file; what is called steady is the same whatever the turn."""
        renamed = {
            "source": {"map_from": {"name": r"hardware\.cpu\.(.+)"}},
            "target": {"map_to": {"name": r"rate.\1"}},
        }
        rate = {"name": "rate_of_change", "parameters": renamed}
        sums = {
            "name": "aggregator",
            "parameters": {"retention_time": WINDOW, "grace": 1, "method": "sum"},
        }
        changing = [METERS[0], *CHANGING[: turn % 3]]
        document = {
            "sources": [
                {
                    "name": "steady",
                    "interval": 1,
                    "meters": METERS,
                    "sinks": ["raw", "rates", "sums"],
                },
                {"name": "guests", "interval": 1, "meters": ["power.state"], "sinks": ["raw"]},
                {
                    "name": "changing",
                    "interval": 1,
                    "meters": changing,
                    "sinks": ["changing", "moved"],
                },
            ],
            "sinks": [
                {"name": "raw", "publishers": [self.file("raw")]},
                {"name": "rates", "transformers": [rate], "publishers": [self.file("rates")]},
                {"name": "moved", "transformers": [rate], "publishers": [self.file("moved")]},
                {"name": "sums", "transformers": [sums], "publishers": [self.file("sums")]},
                # The store takes one writer: it goes from hand to hand.
                {"name": "changing", "publishers": [self.file("changing"), "store"]},
            ],
            "publishers": {"store": {"url": "local://", "max_age": 3600 + turn}},
        }
        if turn % 2:
            document["sources"].append(
                {"name": "new", "interval": 1, "meters": ["hardware.uptime"], "sinks": ["new"]}
            )
            document["sinks"].append({"name": "new", "publishers": [self.file("new")]})
        self.pipeline.write_text(json.dumps(document, indent=1))

    def file(self, name):
        return f"file://{self.directory}/{name}"

    def samples(self, name, meter=None):
        found = agent.lines(self.directory / name)
        return [sample for sample in found if meter in {None, sample["name"]}]

    def said(self, words):
        return self.log.read_text().count(words)

    def hang_up(self, process, words):
        """Ask for a reload and wait until the log says how it went."""
        before = self.said(words)
        process.send_signal(signal.SIGHUP)
        agent.wait_until(lambda: self.said(words) > before, what=f"no '{words}'")


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def broken(turn, text):
    """Return one of several files with a mistake."""
    return (
        text[: len(text) // 2],
        "",
        text.replace('"rate_of_change"', '"rate_of_chance"'),
        text.replace(f"{json.dumps('sinks')}: [", f"{json.dumps('sinkz')}: ["),
        text.replace("/changing", "/no/such/directory"),
    )[turn % 5]


def test_twenty_reloads_under_load_lose_and_double_nothing(place):
    place.write()
    with agent.running("polling", config=place.config, log=place.log) as process:
        agent.wait_until(lambda: place.samples("rates"))
        for turn in range(TURNS):
            place.write(turn)
            if turn % 2:
                place.pipeline.write_text(broken(turn // 2, place.pipeline.read_text()))
                place.hang_up(process, "reload refused")
            else:
                place.hang_up(process, "reloaded: ")
            # At another moment of the second each time.
            count = len(place.samples("raw"))
            if turn % 3 == 0:
                agent.wait_until(lambda count=count: len(place.samples("raw")) > count)
        place.write(1)
        place.hang_up(process, "reloaded: ")
        agent.wait_until(lambda: len(place.samples("new")) >= 2)
    said = place.log.read_text()
    assert " 11 reloads, 10 refused; 0 samples came too late" in said
    assert f"{place.pipeline}:" in said, "the mistakes are told with their place"
    nothing_was_lost(place, said)
    steady_series_are_whole(place)
    assert said.count("connected to libvirt at") == 1, "what did not change is not connected anew"


def nothing_was_lost(place, said):
    """What was polled is what the publishers took, by the agent's own counters and by the files."""
    lanes = {
        name: (int(cycles), int(samples), int(missed))
        for name, cycles, samples, missed in re.findall(
            r" (\w+): (\d+) cycles, (\d+) samples; (\d+) polls missed, 0 cycles failed", said
        )
    }
    assert set(lanes) == {"compute", "host"}
    assert [missed for _, _, missed in lanes.values()] == [0, 0]
    written = {name: len(place.samples(name)) for name in ("raw", "rates", "changing", "new")}
    assert sum(samples for _, samples, _ in lanes.values()) == (
        written["raw"] + written["changing"] + written["new"]
    )
    delivered = {}
    for name, *counts in re.findall(
        r"publisher (\S+): (\d+) samples offered, (\d+) delivered, 0 waiting, 0 set aside, "
        r"0 dropped",
        said,
    ):
        assert counts[0] == counts[1], name
        delivered[name.rpartition("/")[2]] = int(counts[1])
    assert delivered["store"] == delivered["changing"], "also what changed hands"
    for name, count in written.items():
        assert delivered[name] == count
    keys = [
        (name, s["name"], s["resource_id"], s["timestamp"])
        for name in ("raw", "rates", "sums", "changing", "new")
        for s in place.samples(name)
    ]
    assert len(keys) == len(set(keys)), "not one of them twice"


def steady_series_are_whole(place):
    """A source that stayed the same has neither a gap nor a second beginning."""
    for name, meter in (("raw", METERS[0]), ("raw", METERS[1]), ("changing", METERS[0])):
        times = [agent.seconds(sample) for sample in place.samples(name, meter)]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        # The first poll is at once, the second on a tick.
        assert max(gaps) < 1.95, (name, meter)
        assert min(gaps[1:]) > 0.3, (name, meter)
    raw = {agent.seconds(sample) for sample in place.samples("raw", METERS[0])}
    rates = [agent.seconds(sample) for sample in place.samples("rates")]
    assert len(rates) == 2 * (len(raw) - 1), "each has a rate but the very first"
    changed = place.samples("changing", METERS[0])
    assert len(place.samples("moved", "rate.user")) == len(changed) - 1, "of a changed one too"
    got = {
        (agent.seconds(sample), sample["name"]): sample["volume"]
        for sample in place.samples("sums")
    }
    assert len(got) >= 2
    for (start, meter), volume in got.items():
        expected = sum(
            sample["volume"]
            for sample in place.samples("raw", meter)
            if start <= agent.seconds(sample) < start + WINDOW
        )
        assert volume == pytest.approx(expected), (start, meter)


def test_options_are_taken_with_the_file_or_not_at_all(place):
    place.options("host")
    place.write()
    with agent.running("polling", config=place.config, log=place.log) as process:
        agent.wait_until(lambda: place.samples("raw"))
        assert not place.samples("raw", "power.state")
        # A right file beside wrong options, and the other way round.
        place.options("compute,host", "[polling]\ninterval = soon")
        place.write(1)
        place.hang_up(process, "reload refused")
        place.options("compute,host")
        place.pipeline.write_text("sources: [")
        place.hang_up(process, "reload refused")
        assert not place.samples("raw", "power.state")
        assert not (place.directory / "new").exists()
        place.write(1)
        place.options("compute,host", "[store]\nmax_age = 100\n[DEFAULT]\ndebug = true")
        place.hang_up(process, "reloaded: ")
        agent.wait_until(lambda: place.samples("raw", "power.state"))
        agent.wait_until(lambda: place.samples("new"))
        place.options("compute")
        place.write()
        place.hang_up(process, "reloaded: ")
        count = len(place.samples("raw", METERS[0]))
        states = len(place.samples("raw", "power.state"))
        agent.wait_until(lambda: len(place.samples("raw", "power.state")) >= states + 2)
        assert len(place.samples("raw", METERS[0])) == count
    said = place.log.read_text()
    assert "[polling] interval: a whole number was expected, found 'soon'" in said
    assert "[store] max_age changed: it takes effect after a restart" in said
    assert "options [DEFAULT] debug, [polling] namespaces" in said
    assert re.search(r"reloaded: configuration [0-9a-f]{12} -> [0-9a-f]{12}: sources \+new", said)
    assert " DEBUG " in said


def test_a_configuration_that_polls_nothing_is_refused(place):
    place.options("host")
    place.write()
    with agent.running("polling", config=place.config, log=place.log) as process:
        agent.wait_until(lambda: place.samples("raw"))
        place.options("hots")
        place.hang_up(process, "reload refused")
        place.options("central-is-not-there")
        place.hang_up(process, "reload refused")
        place.options("compute", "[libvirt]\nuri = qemu:///nowhere")
        text = place.pipeline.read_text()
        place.pipeline.write_text(text.replace("power.state", "power.nothing"))
        place.hang_up(process, "reload refused")
        count = len(place.samples("raw"))
        agent.wait_until(lambda: len(place.samples("raw")) > count)
    said = place.log.read_text()
    assert "no namespace is named 'hots' (did you mean 'host'?)" in said
    assert "no source polls any of compute" in said


def test_a_hang_up_while_the_agent_starts_waits_until_it_can_be_taken(place):
    place.write()
    with agent.running("polling", config=place.config, log=place.log) as process:
        agent.wait_until(lambda: agent.holds_hang_ups(process.pid))
        place.hang_up(process, "reloaded: ")
        agent.wait_until(lambda: place.samples("rates"))


def test_a_hang_up_that_comes_with_the_end_does_not_hold_it_up(place):
    place.write()
    with agent.running("polling", config=place.config, log=place.log) as process:
        agent.wait_until(lambda: place.samples("raw"))
        for _ in range(50):
            process.send_signal(signal.SIGHUP)
