# SPDX-License-Identifier: Apache-2.0
"""The publisher against a store that answers as Gnocchi does, request by request."""

from __future__ import annotations

import logging
import math
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ceilo_agent.errors import Permanent, Retryable
from ceilo_agent.publishers.gnocchi.publisher import Gnocchi
from tests.services import faulty
from tests.unit.publishers.gnocchi.conftest import Make
from tests.unit.publishers.gnocchi.edge import Edge
from tests.unit.publishers.gnocchi.samples import METADATA, NOW, guest, sample

FILE = str(Path(__file__).with_name("gnocchi_resources.yaml"))


@pytest.fixture
def publisher(make: Make, store: Edge) -> Gnocchi:
    store.now = datetime.fromtimestamp(NOW - 1000, UTC)
    return make(resources_definition_file=FILE)


@pytest.fixture
def another(make: Make) -> Any:
    return lambda **options: make(resources_definition_file=FILE, **options)


# -- requests ------------------------------------------------------------------------------------


def test_the_first_push_creates_and_then_one_request_is_all(
    publisher: Gnocchi, store: Edge
) -> None:
    publisher.push([sample(0, 1), sample(0, 2, guest(2))])
    assert store.take() == {
        "GET resource_type": 1,
        "POST search": 1,
        "POST resource": 2,
        "POST batch": 1,
    }
    for number in range(1, 4):
        publisher.push([sample(number, 1), sample(number, 2, guest(2))])
    assert store.take() == {"POST batch": 3}
    assert store.values("guest-1", "cpu") == [1, 1, 1, 1]


def test_a_resource_has_all_attributes_before_its_first_measure(
    publisher: Gnocchi, store: Edge
) -> None:
    store.server.script(*[store.server.usual] * 3, faulty.status(503))
    with pytest.raises(Retryable):
        publisher.push([sample()])
    found = store.named("guest-1")
    assert found["type"] == "instance"
    wanted = {
        "display_name": "web",
        "host": "node-1",
        "flavor_id": "f1",
        "flavor_name": "small",
        "project_id": "project",
        "user_id": "user",
        "original_resource_id": "guest-1",
    }
    assert {key: found[key] for key in wanted} == wanted
    assert store.points == {}
    publisher.push([sample()])
    assert store.values("guest-1", "cpu") == [7]


def test_after_a_restart_one_search_tells_that_nothing_changed(
    publisher: Gnocchi, another: Any, store: Edge
) -> None:
    resources = [guest(number) for number in range(50)]
    publisher.push([sample(0, 1, each) for each in resources])
    store.take()
    restarted = another()
    restarted.push([sample(60, 1, each) for each in resources])
    assert store.take() == {"GET resource_type": 1, "POST search": 1, "POST batch": 1}


def test_of_many_resources_a_search_takes_a_thousand(
    publisher: Gnocchi, another: Any, store: Edge
) -> None:
    resources = [guest(number) for number in range(2500)]
    publisher.push([sample(0, 1, each) for each in resources])
    store.take()
    another().push([sample(60, 1, each) for each in resources])
    assert store.take()["POST search"] == 3


# -- attributes ----------------------------------------------------------------------------------


def changed(**more: Any) -> Any:
    return guest(metadata=METADATA | more)


def test_attributes_are_sent_when_they_changed_and_only_then(
    publisher: Gnocchi, store: Edge
) -> None:
    publisher.push([sample(0)])
    publisher.push([sample(1, resource=changed(host="node-2"))])
    assert store.named("guest-1")["host"] == "node-2"
    assert store.asked["PATCH resource"] == 1
    publisher.push([sample(2, resource=changed(host="node-2"))])
    publisher.push([sample(3, resource=changed(host="node-2", unmapped="x"))])
    assert store.asked["PATCH resource"] == 1


def test_an_older_sample_changes_no_attribute(publisher: Gnocchi, store: Edge) -> None:
    publisher.push([sample(0)])
    publisher.push([sample(10, resource=changed(host="node-2"))])
    publisher.push([sample(5)])
    assert store.named("guest-1")["host"] == "node-2"
    assert store.asked["PATCH resource"] == 1
    publisher.push([sample(20)])
    assert store.named("guest-1")["host"] == "node-1"


def test_after_a_restart_a_sample_from_before_the_last_change_changes_nothing(
    publisher: Gnocchi, another: Any, store: Edge
) -> None:
    publisher.push([sample(0)])
    store.now = datetime.fromtimestamp(NOW + 100, UTC)
    publisher.push([sample(99, resource=changed(host="node-2"))])
    store.take()
    # This one comes from a backlog of the host that the guest has left.
    late = another()
    late.push([sample(50)])
    assert store.take()["PATCH resource"] == 0
    late.push([sample(101, resource=changed(host="node-3"))])
    assert store.take()["PATCH resource"] == 1
    assert store.named("guest-1")["host"] == "node-3"


def test_an_attribute_that_a_sample_does_not_tell_stays(publisher: Gnocchi, store: Edge) -> None:
    publisher.push([sample(0)])
    less = {key: value for key, value in METADATA.items() if key != "host"}
    publisher.push([sample(1, resource=guest(metadata=less, project_id=None))])
    assert store.named("guest-1")["host"] == "node-1"
    assert store.named("guest-1")["project_id"] == "project"


def test_the_project_follows_a_transfer(publisher: Gnocchi, store: Edge) -> None:
    publisher.push([sample(0)])
    publisher.push([sample(1, resource=guest(project_id="other"))])
    assert store.named("guest-1")["project_id"] == "other"


def test_required_texts_that_nobody_knows_are_empty(publisher: Gnocchi, store: Edge) -> None:
    publisher.push([sample(resource=guest(metadata={"display_name": "bare"}))])
    assert store.named("guest-1")["flavor_id"] == ""
    publisher.push([sample(1)])
    assert store.named("guest-1")["flavor_id"] == "f1"


def test_what_cannot_be_created_is_refused_alone_with_the_attribute_that_lacks(
    publisher: Gnocchi, store: Edge
) -> None:
    disk = guest("1-vda", metadata={"disk_name": "vda"})
    batch = [sample(0), sample(0, 1, disk, "disk.device.read.bytes"), sample(1)]
    with pytest.raises(Permanent) as caught:
        publisher.push(batch)
    assert caught.value.refused is not None
    assert list(caught.value.refused) == [1]
    assert "instance_disk requires instance_id" in caught.value.refused[1]
    assert store.values("guest-1", "cpu") == [7, 7]


def test_an_attribute_that_does_not_fit_is_left_out_and_told_once(
    publisher: Gnocchi, store: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(2):
        publisher.push([sample(resource=guest(number, METADATA | {"launched_at": "soon"}))])
    assert store.named("guest-1")["launched_at"] is None
    told = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(told) == 1
    assert "launched_at of instance is left out for guest-0: a datetime was expected" in told[0]


def test_a_resource_of_another_type_gets_its_measures_and_keeps_its_attributes(
    publisher: Gnocchi, store: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    store._create("generic", {"id": "guest-1"})
    for number in range(3):
        publisher.push([sample(number)])
    assert store.values("guest-1", "cpu") == [7, 7, 7]
    assert store.take()["PATCH resource"] == 0
    (told,) = [each.getMessage() for each in caplog.records]
    assert "guest-1 is of the type generic there, not instance" in told


# -- others at the same time ---------------------------------------------------------------------


def test_a_resource_that_another_agent_creates_meanwhile_is_fine(
    publisher: Gnocchi, store: Edge
) -> None:
    def found_nothing(request: faulty.Request) -> tuple[int, dict[str, str], bytes]:
        body = {"id": "guest-1", "display_name": "web", "flavor_id": "f0", "flavor_name": ""}
        store._create("instance", body)
        return 200, {}, b"[]"

    store.server.script(faulty.reply(found_nothing))
    publisher.push([sample()])
    assert store.values("guest-1", "cpu") == [7]
    # What the other one knew less is mended.
    assert store.named("guest-1")["flavor_id"] == "f1"


def test_a_resource_that_was_deleted_is_created_again(publisher: Gnocchi, store: Edge) -> None:
    publisher.push([sample(0), sample(0, 1, guest(2))])
    store.resources.clear()
    store.take()
    publisher.push([sample(1), sample(1, 1, guest(2))])
    assert store.values("guest-1", "cpu") == [7, 7]
    assert store.take()["POST resource"] == 2


def test_a_resource_that_is_deleted_while_its_attributes_change(
    publisher: Gnocchi, store: Edge
) -> None:
    publisher.push([sample(0)])
    store.resources.clear()
    publisher.push([sample(1, resource=changed(host="node-2"))])
    assert store.named("guest-1")["host"] == "node-2"
    assert store.values("guest-1", "cpu") == [7, 7]


# -- what an operator has to mend ----------------------------------------------------------------


def test_a_type_that_lacks_is_named_and_waited_for(publisher: Gnocchi, store: Edge) -> None:
    one = sample(meter="lacking", resource=guest(type="lacking"))
    for _ in range(2):
        with pytest.raises(Retryable, match=r"has no resource type 'lacking': run 'ceilo-agent up"):
            publisher.push([one])
    store.types["lacking"] = {}
    publisher.push([one])
    assert store.values("guest-1", "lacking") == [7]


def test_an_attribute_that_lacks_is_named_and_waited_for(publisher: Gnocchi, store: Edge) -> None:
    host = store.types["instance"].pop("host")
    with pytest.raises(Retryable, match="type 'instance' has no attribute host: run 'ceilo-agent"):
        publisher.push([sample()])
    store.types["instance"]["host"] = host
    publisher.push([sample()])
    assert store.named("guest-1")["host"] == "node-1"


def test_a_type_that_changed_since_it_was_asked_for_is_asked_for_again(
    publisher: Gnocchi, store: Edge
) -> None:
    publisher.push([sample()])
    rule = store.types["instance"].pop("host")
    with pytest.raises(Retryable, match="type 'instance' has no attribute host"):
        publisher.push([sample(resource=guest(2))])
    store.types["instance"]["host"] = rule
    store.types["instance"]["server_group"] |= {"required": True}
    publisher.push([sample(resource=guest(2))])
    assert store.named("guest-2")["server_group"] == ""


def test_an_archive_policy_that_lacks_is_named_and_waited_for(
    publisher: Gnocchi, store: Edge
) -> None:
    with pytest.raises(Retryable, match="archive policy precious does not exist: run 'ceilo-agent"):
        publisher.push([sample(meter="vcpus")])
    store.policies["precious"] = store.policies["ceilometer-low"] | {"name": "precious"}
    publisher.push([sample(meter="vcpus")])
    assert store.metrics["guest-1", "vcpus"] == "precious"


def test_the_archive_policy_of_the_url_comes_first(another: Any, store: Edge) -> None:
    store.policies["mine"] = store.policies["ceilometer-low"] | {"name": "mine"}
    another(archive_policy="mine").push([sample(meter="vcpus")])
    assert store.metrics["guest-1", "vcpus"] == "mine"


# -- what does not go there ----------------------------------------------------------------------


def test_a_meter_of_no_type_is_stored_at_its_resource(publisher: Gnocchi, store: Edge) -> None:
    publisher.push([sample(meter="my.own"), sample(meter="my.own", resource=guest(2, type="x"))])
    assert store.named("guest-1")["type"] == "instance"
    assert store.named("guest-2")["type"] == "generic"
    assert store.values("guest-2", "my.own") == [7]


def test_a_meter_of_no_type_is_left_out_by_choice_told_and_counted(
    another: Any, store: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = another(unmapped="drop")
    for number in range(3):
        publisher.push([sample(number), sample(number, meter="my.own")])
    assert publisher.left_out == {"my.own": 3}
    assert ("guest-1", "my.own") not in store.points
    (told,) = [each.getMessage() for each in caplog.records]
    assert "my.own" in told


def test_samples_of_a_project_can_be_left_out(another: Any, store: Edge) -> None:
    publisher = another(filter_project="project")
    publisher.push([sample(), sample(resource=guest(2, project_id="other"))])
    assert list(store.points) == [("guest-2", "cpu")]
    assert publisher.left_out == {"cpu": 1}
    another(filter_project="project", enable_filter_project=False).push([sample()])
    assert ("guest-1", "cpu") in store.points


def test_bad_samples_are_named_and_the_others_are_there(publisher: Gnocchi, store: Edge) -> None:
    with pytest.raises(Permanent) as caught:
        publisher.push([sample(0, math.nan), sample(1, 2), sample(2, 3, meter="a/b")])
    assert caught.value.refused is not None
    assert list(caught.value.refused) == [0, 2]
    assert store.values("guest-1", "cpu") == [2]


def test_nothing_but_bad_samples_asks_nothing(publisher: Gnocchi, store: Edge) -> None:
    with pytest.raises(Permanent):
        publisher.push([sample(0, math.nan)])
    publisher.push([])
    assert store.take() == {}


# -- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (faulty.status(401), "answers 401"),
        (faulty.status(403, b'{"code": 403, "description": "not you"}'), "answers 403: not you"),
        (faulty.status(500, b"<html>oops</html>"), "answers 500"),
        (faulty.status(503), "answers 503"),
        (faulty.status(302, headers={"Location": "http://127.0.0.1:1/"}), "answers 302"),
        (faulty.ok(b"<html>a portal</html>"), "no Gnocchi"),
        (faulty.garbage(), "no answer in HTTP"),
        (faulty.closing(faulty.half), "amid the answer"),
        (faulty.cut_amid_reply, "reset"),
        (faulty.cut_before_reply, "reset"),
    ],
)
@pytest.mark.parametrize("new", [True, False])
def test_faults_are_retryable_and_nothing_is_lost(
    publisher: Gnocchi, store: Edge, behaviour: faulty.Behaviour, said: str, new: bool
) -> None:
    if not new:
        publisher.push([sample(0)])
    store.server.script(behaviour)
    with pytest.raises(Retryable, match=said) as caught:
        publisher.push([sample(1)])
    assert f"127.0.0.1:{store.port}" in str(caught.value)
    publisher.push([sample(1)])
    assert store.values("guest-1", "cpu")[-1:] == [7]


def test_retry_after_is_passed_on(publisher: Gnocchi, store: Edge) -> None:
    publisher.push([sample(0)])
    store.server.script(faulty.status(429, headers={"Retry-After": "17"}))
    with pytest.raises(Retryable) as caught:
        publisher.push([sample(1)])
    assert caught.value.retry_after == 17


def test_a_store_that_refuses_connections(publisher: Gnocchi, store: Edge) -> None:
    store.server.stop()
    with pytest.raises(Retryable, match="Connection refused"):
        publisher.push([sample(0)])
    store.server.start()
    publisher.push([sample(0)])
    assert store.values("guest-1", "cpu") == [7]


@pytest.mark.parametrize("behaviour", [faulty.hang, faulty.drip(0.05), faulty.drip(0.05, b"x")])
def test_a_store_that_does_not_answer_in_time(
    another: Any, store: Edge, behaviour: faulty.Behaviour
) -> None:
    publisher = another(timeout=0.5)
    store.server.script(behaviour)
    with pytest.raises(Retryable, match=r"no whole answer within 0\.5 s"):
        publisher.push([sample(0)])
    publisher.push([sample(0)])
    assert store.values("guest-1", "cpu") == [7]


def test_a_connection_that_the_store_closed_meanwhile_is_no_fault(
    publisher: Gnocchi, store: Edge
) -> None:
    store.server.usual = faulty.closing(store.server.usual)
    for number in range(5):
        publisher.push([sample(number)])
        time.sleep(0.2)  # the close must have arrived: what meets it half-way is tried again
    assert len(store.values("guest-1", "cpu")) == 5


def test_a_body_that_is_too_large_is_split_by_the_caller(publisher: Gnocchi, store: Edge) -> None:
    publisher.push([sample(0)])
    store.server.script(faulty.status(413))
    with pytest.raises(Permanent) as caught:
        publisher.push([sample(1), sample(2)])
    assert caught.value.refused is None


# -- replays -------------------------------------------------------------------------------------


def test_what_the_store_would_throw_away_is_named(publisher: Gnocchi, store: Edge) -> None:
    publisher.push([sample(1000), sample(-5000, resource=guest(2))])
    asked = [
        sample(899),  # the newest block, of 300 s, begins at 900
        sample(901),
        sample(-3000, resource=guest(2)),
        sample(-7000, resource=guest(2)),
        sample(-3000, resource=guest(3)),
        sample(-3000, meter="memory"),
    ]
    found = publisher.outdated(asked)
    assert sorted(found) == [0, 3]
    assert found[0].endswith("before 2026-01-01T00:15:00.000000+00:00")


def test_the_back_window_and_a_rate_move_that_edge(publisher: Gnocchi, store: Edge) -> None:
    store.policies["ceilometer-low"] |= {"back_window": 1}
    publisher.push([sample(1000)])
    assert sorted(publisher.outdated([sample(599), sample(600)])) == [0]
    store.policies["ceilometer-low"] |= {"aggregation_methods": ["rate:mean", "mean"]}
    assert sorted(publisher.outdated([sample(299), sample(300)])) == [0]
