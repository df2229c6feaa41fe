# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's publishers over the network become ours, each with options that are ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ceilo_agent.pipeline.checking import check
from ceilo_agent.pipeline.migration.draft import Weight
from ceilo_agent.pipeline.migration.migrate import Migrated, migrate

FILE = """\
sources:
  - {name: guests, interval: 60, meters: [cpu], sinks: [store]}
sinks:
  - name: store
    publishers:
"""


def migrated(tmp_path: Path, *urls: str) -> Migrated:
    path = tmp_path / "pipeline.yaml"
    path.write_text(FILE + "".join(f"      - '{url}'\n" for url in urls), "utf-8")
    return migrate(path)


def publishers(found: Migrated) -> list[str]:
    return list(yaml.safe_load(found.text)["sinks"][0]["publishers"])


def test_a_definition_file_that_is_not_there_is_told_at_its_publisher(tmp_path: Path) -> None:
    found = migrated(tmp_path, "gnocchi://?resources_definition_file=none_of_this_name.yaml")
    (fault,) = found.faults
    assert (fault.file, fault.line, fault.column) == ("stdout", 6, 9)
    assert fault.what.startswith("the publisher 'gnocchi': none_of_this_name.yaml: no such file in")
    assert fault.hint.startswith("leave resources_definition_file out")
    name = "gnocchi://?resources_definition_file=gnocchi_resources.yaml"
    assert migrated(tmp_path, name).faults == []
    broken = tmp_path / "broken.yaml"
    broken.write_text("resources:\n  - {resource_type: a, metrics: [m], no: 1}\n")
    found = migrated(tmp_path, f"gnocchi://?resources_definition_file={broken}")
    assert [(fault.file, fault.line) for fault in found.faults] == [(str(broken), 2)]


def said(found: Migrated, weight: Weight) -> str:
    return "\n".join(str(each.fault) for each in found.remarks if each.weight is weight)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("gnocchi://", "gnocchi://"),
        (
            "gnocchi://?archive_policy=low&filter_project=gnocchi",
            "gnocchi://?archive_policy=low&filter_project=gnocchi",
        ),
        ("gnocchi://?timeout=6.05", "gnocchi://?timeout=6.05"),
        ("gnocchi://?enable_filter_project=n", "gnocchi://?enable_filter_project=false"),
        ("gnocchi://?max_size=1&archive_policy=", "gnocchi://"),
        ("http://host:80/path?timeout=1&max_retries=2", None),
        ("http://host:80/path?batch=False", "http://host:80/path?batch=false"),
        ("http://host/p?batch=off&timeout=x", "http://host/p?batch=false"),
        ("http://host/p?timeout=0&max_retries=-1", "http://host/p"),
        ("http://host/p?raw_only=1", "http://host/p"),
        ("http://host/p?timeout=1&timeout=2", "http://host/p?timeout=2"),
        ("https://u:p@host/p?verify_ssl=off", "https://u:p@host/p?verify_ssl=false"),
        ("https://host/p?verify_ssl=/ca.pem", "https://host/p?verify_ssl=%2Fca.pem"),
        ("https://host/p?clientkey=/k", "https://host/p"),
        (
            "https://host/p?clientcert=/c&clientkey=/k",
            "https://host/p?clientcert=%2Fc&clientkey=%2Fk",
        ),
        (
            "http://host/p?timeout=1&a=b%20c&a=d&query=e",
            "http://host/p?timeout=1&query=a%3Db%2Bc%26a%3Dd%26query%3De",
        ),
        ("http://host/p?query=a%3Db", "http://host/p?query=a%3Db"),
        ("opentelemetryhttp://otel:4318/v1/metrics", "otlp://otel:4318/v1/metrics"),
        ("opentelemetryhttp://otel/v1/metrics", "otlp://otel:80/v1/metrics"),
        ("opentelemetryhttp://u:p@otel/?ssl=on", "otlp://u:p@otel:443?ssl=true"),
        (
            "opentelemetryhttp://otel:1/m?max_retries=3&batch=0&raw_only=1&x=y&timeout=7",
            "otlp://otel:1/m?timeout=7",
        ),
        ("prometheus://gw:9091/metrics/job/ceilometer", "prometheus://"),
        ("prometheus://u:p@gw:9091/metrics/job/c?timeout=1&max_retries=2", "prometheus://"),
        ("prometheus://vm:8428/api/v1/import/prometheus", "prometheus://"),
        ("prometheus://127.0.0.1:9101", "prometheus://127.0.0.1:9101"),
    ],
)
def test_a_publisher_of_ceilometer_passes_the_check(
    tmp_path: Path, theirs: str, ours: str | None
) -> None:
    found = migrated(tmp_path, theirs)
    (url,) = publishers(found)
    # Quoting is not the point: an option that is a path may stand either way.
    assert url.replace("%2F", "/") == (ours or theirs).replace("%2F", "/")
    # The certificates that URLs of this table name are not on this machine.
    absent = "cannot be read: No such file or directory"
    assert [fault for fault in found.faults if not fault.what.endswith(absent)] == []
    outcome = tmp_path / "ours.yaml"
    outcome.write_text(found.text, "utf-8")
    assert len(check(outcome).faults) == len(found.faults)
    again = migrate(outcome)
    assert (again.changed, again.text) == (False, found.text)


def test_what_is_different_is_told(tmp_path: Path) -> None:
    found = migrated(
        tmp_path,
        "gnocchi://",
        "http://host/p?a=b",
        "opentelemetryhttp://otel:4318/v1/metrics?max_retries=1",
        "prometheus://gw:9091/metrics/job/x",
    )
    meaning = said(found, Weight.MEANING)
    assert "gnocchi: samples of the project 'service' are stored, too" in meaning
    assert "http: what fails is sent again until it arrives" in meaning
    assert "otlp: meters keep their dots" in meaning
    assert "option 'max_retries' removed" in said(found, Weight.DONE)
    assert "a page at http://127.0.0.1:9101/metrics" in said(found, Weight.DECIDE)


def test_two_that_become_one_stand_once(tmp_path: Path) -> None:
    found = migrated(
        tmp_path, "prometheus://a:9091/metrics/job/x", "prometheus://b:9091/metrics/job/x"
    )
    assert publishers(found) == ["prometheus://"]


def test_no_remark_holds_a_secret(tmp_path: Path) -> None:
    found = migrated(
        tmp_path,
        "http://u:hunter2@h/p?token=hunter2&batch=off",
        "opentelemetryhttp://u:hunter2@h/p?token=hunter2",
        "prometheus://u:hunter2@h/metrics/job/x",
    )
    assert "hunter2" not in "\n".join(str(each.fault) for each in found.remarks)


@pytest.mark.parametrize("url", ["udp://10.0.0.2:4952", "tcp://h:1", "zaqar://"])
def test_what_is_not_here_stays_and_is_told(tmp_path: Path, url: str) -> None:
    found = migrated(tmp_path, url)
    assert publishers(found) == [url]
    assert found.faults
    assert f"no publisher '{url.partition(':')[0]}'" in said(found, Weight.DECIDE)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("notifier://", "notifier://?wire_format=ceilometer&topic=metering"),
        (
            "notifier://u:hunter2@h:5672/v?topic=billing&policy=queue&max_queue_length=9",
            "notifier://u:hunter2@h:5672/v?wire_format=ceilometer&topic=billing",
        ),
        (
            "notifier://h?driver=kafka&ssl=1&max_retry=3",
            "notifier://h?wire_format=ceilometer&topic=metering&driver=kafka",
        ),
        ("notifier://?wire_format=native", "notifier://?wire_format=native"),
    ],
)
def test_the_notifier_sends_ceilometers_messages(tmp_path: Path, theirs: str, ours: str) -> None:
    found = migrated(tmp_path, theirs)
    assert publishers(found) == [ours]
    assert publishers(migrated(tmp_path, ours)) == [ours]
    assert "hunter2" not in "\n".join(str(each.fault) for each in found.remarks)


def test_topics_that_are_not_sent_to_any_more_are_told(tmp_path: Path) -> None:
    found = migrated(tmp_path, "notifier://h?topic=a&topic=b&per_meter_topic=1")
    assert publishers(found) == ["notifier://h?wire_format=ceilometer&topic=b"]
    assert "only the topic 'b' is sent to" in said(found, Weight.MEANING)
    assert "one for each meter" in said(found, Weight.MEANING)
