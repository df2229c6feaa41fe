# SPDX-License-Identifier: Apache-2.0
"""What each role needs of a pipeline file, and the two files of Ceilometer side by side."""

import pytest

from ceilo_agent import options
from ceilo_agent.definition import in_force
from ceilo_agent.definition.pipeline import Role, examine, load
from ceilo_agent.errors import ConfigError

# The shapes of Ceilometer 27's two files, with other contents; its Gnocchi is another publisher.
POLLING = """\
---
sources:
    - name: some_pollsters
      interval: 300
      meters:
        - power.state
        - cpu
    - name: hourly
      interval: 3600
      meters: ["volume.*"]
"""
PIPELINE = """\
---
sources:
    - name: meter_source
      meters:
          - "*"
      sinks:
          - meter_sink
sinks:
    - name: meter_sink
      publishers:
          - console://
"""
SHARED = """\
sources:
  - {name: guests, interval: 60, meters: [cpu], discovery: [libvirt], sinks: [store]}
  - {name: bus, meters: [memory], resources: ['http://one/'], sinks: [store]}
sinks:
  - {name: store, publishers: [console]}
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="pipeline.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def told(path, role):
    return [str(fault).removeprefix(f"{path}:") for fault in examine(path, role).faults]


def test_ceilometers_polling_yaml_is_for_polling_only(write):
    """Ceilometer since 8.0: polling.yaml has the sources that are polled. Here too."""
    path = write(POLLING)
    found = load(path, Role.POLLING)
    assert [(s.name, s.interval, s.sinks) for s in found.sources] == [
        ("some_pollsters", 300, ()),
        ("hourly", 3600, ()),
    ]
    assert (found.sinks, found.warnings, found.role) == ((), (), Role.POLLING)
    for role in (Role.LOCAL, Role.NOTIFICATION):
        assert told(path, role) == [
            (
                "2:1: 'sinks:' is missing: both sources and sinks are required (a polling.yaml of "
                "Ceilometer is named with cfg_file in [polling] and checked with --role polling)"
            )
        ]


def test_ceilometers_pipeline_yaml_is_for_notification(write):
    path = write(PIPELINE)
    found = load(path, Role.NOTIFICATION)
    assert (found.sources[0].interval, found.sources[0].sinks) == (None, ("meter_sink",))
    assert found.warnings == ()
    assert [w.what for w in load(path).warnings] == ["no source has an interval: nothing is polled"]
    assert told(path, Role.POLLING) == ["2:1: no source has an interval: nothing is polled"]


def test_one_file_serves_every_role(write):
    """Ceilometer (Mitaka): one file drove polling, by its sources, and processing. Here too."""
    path = write(SHARED)
    for role in Role:
        assert told(path, role) == []
    path = write(SHARED.replace("http://one/", "one"))
    assert told(path, Role.POLLING) == [
        "3:47: resource 'one': an absolute http:// or https:// URL was expected"
    ]
    assert told(path, Role.NOTIFICATION) == [], "what it does not poll may be anything"


def test_polling_may_name_sinks_that_another_file_has(write):
    text = POLLING.replace("      meters: [", "      sinks: [elsewhere]\n      meters: [")
    assert load(write(text), Role.POLLING).sources[1].sinks == ("elsewhere",)


def test_polling_checks_the_sinks_that_are_there(write):
    path = write(SHARED.replace("publishers: [console]", "publishers: []"))
    assert told(path, Role.POLLING) == ["5:31: the sink 'store' has no publisher"]
    path = write(SHARED.replace(", sinks: [store]}\n  - {name: bus", "}\n  - {name: bus"))
    assert told(path, Role.POLLING) == ["2:5: the key 'sinks' is missing"]


def test_a_wrong_interval_is_not_told_twice(write):
    path = write(POLLING.replace("300", "often").replace("3600", "0"))
    assert [line.partition(": ")[0] for line in told(path, Role.POLLING)] == ["4:17", "9:17"]


def test_discoveries_are_looked_up_where_they_are_asked(write):
    path = write(SHARED.replace("[libvirt]", "[elsewhere]"))
    assert told(path, Role.NOTIFICATION) == []
    (fault,) = examine(path, Role.POLLING).faults
    assert fault.what == "no discovery is named 'elsewhere'"


def test_what_is_right_can_be_had_beside_mistakes(write):
    file, faults = examine(write(SHARED.replace("interval: 60", "intervall: 60")))
    assert [fault.what for fault in faults] == ["unknown key 'intervall'"]
    assert [source.name for source in file.sources] == ["guests", "bus"]
    assert examine(write("a: [")).file is None
    assert examine(write("")).file is None


# -- what the options name -----------------------------------------------------------------------


@pytest.fixture
def conf(tmp_path, write):
    def conf(polling=None, pipeline=None):
        lines = ["[DEFAULT]", f"pipeline_cfg_file = {write(pipeline or SHARED)}"]
        if polling is not None:
            lines += ["[polling]", f"cfg_file = {write(polling, 'polling.yaml')}"]
        return options.parse([str(write("\n".join(lines), "agent.conf"))])

    return conf


def test_one_file_is_read_once(conf):
    found = in_force.load_both(conf())
    assert found.polling is found.pipeline
    assert found.pipeline.role is Role.LOCAL
    assert found.warnings == found.pipeline.warnings


def test_two_files(conf, tmp_path):
    found = in_force.load_both(conf(POLLING, PIPELINE))
    assert [source.name for source in found.polling.sources] == ["some_pollsters", "hourly"]
    assert [source.name for source in found.pipeline.sources] == ["meter_source"]
    assert found.warnings == ()


def test_mistakes_of_both_files_are_told_at_once(conf):
    with pytest.raises(ConfigError) as caught:
        in_force.load_both(
            conf(POLLING.replace("300", "0"), PIPELINE.replace("sinks:\n ", "s:\n "))
        )
    assert {fault.file.rpartition("/")[2] for fault in caught.value.faults} == {
        "pipeline.yaml",
        "polling.yaml",
    }


def test_warnings_of_both_files_are_kept(conf):
    found = in_force.load_both(conf(SHARED, PIPELINE + "publishers: {spare: console}\n"))
    assert [w.what for w in found.warnings] == [
        "no sink uses the publisher 'spare'",
    ]


def test_the_files_of_each_role(conf, tmp_path):
    def names(conf, role):
        return [(path.name, part) for path, part in in_force.files(conf, role)]

    one, two = conf(), conf(POLLING)
    assert names(one, Role.LOCAL) == [("pipeline.yaml", Role.LOCAL)]
    assert names(one, Role.POLLING) == [("pipeline.yaml", Role.POLLING)]
    assert names(one, Role.NOTIFICATION) == [("pipeline.yaml", Role.NOTIFICATION)]
    assert names(two, Role.LOCAL) == [
        ("polling.yaml", Role.POLLING),
        ("pipeline.yaml", Role.NOTIFICATION),
    ]
    assert names(two, Role.POLLING) == [("polling.yaml", Role.POLLING)]
    assert names(two, Role.NOTIFICATION) == [("pipeline.yaml", Role.NOTIFICATION)]
