# SPDX-License-Identifier: Apache-2.0
"""What an agent goes by, and how people are told what changed in it."""

import pytest

from ceilo_agent import options
from ceilo_agent.cli.configuration import differences, read
from ceilo_agent.errors import ConfigError

FILE = """
sources:
  - {name: a, interval: 10, meters: [cpu], sinks: [one]}
  - {name: b, interval: 10, meters: [memory.usage], sinks: [two]}
sinks:
  - {name: one, transformers: [{name: rate_of_change}], publishers: [console]}
  - {name: two, publishers: [out]}
publishers:
  out: {url: "file:///tmp/out", max_bytes: 10}
"""


@pytest.fixture
def load(tmp_path):
    def load(text, **polling):
        (tmp_path / "pipeline.yaml").write_text(text)
        lines = "".join(f"{name} = {value}\n" for name, value in polling.items())
        config = tmp_path / "agent.conf"
        config.write_text(f"[DEFAULT]\npipeline_cfg_file = {tmp_path}/pipeline.yaml\n")
        config.write_text(f"{config.read_text()}[polling]\n{lines}")
        return read(options.parse([str(config)]))

    return load


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "# a comment\n\n", ""),
        ("sources:", "sources:\n  - {name: c, meters: [cpu], sinks: [one]}", "sources +c"),
        ("interval: 10, meters: [cpu]", "interval: 20, meters: [cpu]", "sources ~a"),
        ("name: b", "name: c", "sources +c -b"),
        ("rate_of_change", "delta", "sinks ~one"),
        ("{name: rate_of_change}", "{name: rate_of_change, meters: [cpu]}", "sinks ~one"),
        ("max_bytes: 10", "max_bytes: 20", "publishers ~out"),
        ("[console]", "[console, out]", "sinks ~one"),
        ("[out]", "[console]", "sinks ~two, publishers -out"),
    ],
)
def test_what_changed_is_told_by_name(load, old, new, said):
    before = load(FILE)
    assert FILE.count(old) == 1 or not old
    after = load(FILE.replace(old, new, 1))
    assert differences(before.files, after.files) == said
    assert before.digest != after.digest


def test_two_files_have_two_digests(load, tmp_path):
    polling = tmp_path / "polling.yaml"
    polling.write_text("sources: [{name: a, interval: 30, meters: [cpu]}]\n")
    one, two = load(FILE), load(FILE, cfg_file=polling)
    assert two.digest.endswith("+" + one.digest)
    assert [source.interval for source in two.selected] == [30]
    assert "routes +a +b" in differences(one.files, two.files)


def test_the_interval_of_the_options_wins(load):
    assert {source.interval for source in load(FILE, interval=3).selected} == {3}


def test_mistakes_of_both_files_are_told(load, tmp_path):
    polling = tmp_path / "polling.yaml"
    polling.write_text("sources: [")
    with pytest.raises(ConfigError) as refused:
        load("sinks: [", cfg_file=polling)
    assert {fault.file for fault in refused.value.faults} == {
        str(polling),
        str(tmp_path / "pipeline.yaml"),
    }
