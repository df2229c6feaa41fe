# SPDX-License-Identifier: Apache-2.0
"""The inspector `central`, against servers on loopback."""

from __future__ import annotations

import time

import pytest

from ceilo_agent.expressions.value import Unusable
from ceilo_agent.sample import SampleType
from tests.services import faulty
from tests.unit.inspection.api.pollsters import (
    answer,
    entry,
    inspect,
    inspector,
    pollster,
    reasons,
    target,
    values,
)


def test_an_entry_becomes_an_observation(made, server):
    server.usual = answer({"devices": [entry("a", 0.5, room="1"), entry("b", 7)]})
    one = pollster(kind="device", metadata_fields=["room"], sample_type=SampleType.CUMULATIVE)
    wanted = target(server.url, one)
    found = inspect(made, wanted)
    assert values(found) == {"a": 0.5, "b": 7}
    assert found.missing == []
    seen = found.observations[0]
    assert (seen.resource.project_id, seen.resource.user_id) == ("p", "u")
    assert (seen.resource.type, seen.resource.metadata) == ("device", {"room": "1"})
    assert found.observations[1].resource.metadata == {}, "what is absent stays absent"
    (column,) = seen.columns
    assert (column.meter.name, column.meter.unit) == ("device.load", "load")
    assert column.meter.type is SampleType.CUMULATIVE
    assert seen.owner == wanted.id
    assert abs(seen.time - time.time()) < 60
    assert abs(seen.clock - time.clock_gettime(time.CLOCK_BOOTTIME)) < 60
    again = inspect(made, wanted)
    assert again.observations[0].columns is seen.columns, "callers cache by its identity"


def test_pollsters_with_the_same_request_share_it(made, server):
    server.usual = answer([entry("a", 1, size=2)])
    found = inspect(
        made, target(server.url, pollster(), pollster("device.size", value_attribute="size"))
    )
    assert [seen.volumes for seen in found.observations] == [(1,), (2,)]
    assert len(server.requests) == 1


def test_only_what_is_wanted_is_read(made, server):
    server.usual = answer([entry("a")])
    both = target(server.url, pollster(), pollster("other"))
    alone = target(f"{server.url}/x", pollster("other"))
    deadline = time.monotonic() + 20
    found = made.inspect([both, alone], frozenset({"device.load"}), deadline)
    assert [seen.columns[0].meter.name for seen in found.observations] == ["device.load"]
    assert [one.path for one in server.requests] == ["/devices"]


def test_a_target_that_is_lost_meanwhile_is_not_read(made, server):
    server.usual = answer([entry("a")])
    keep, lose = target(f"{server.url}/keep"), target(f"{server.url}/lose")
    made.may_read = lambda one: one is keep
    found = inspect(made, keep, lose)
    assert [one.path for one in server.requests] == ["/keep/devices"]
    assert found.missing == [], "it is another's, and not missing"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([entry("a")], {"a": 1}),
        ({"devices": [entry("a")]}, {"a": 1}),
        ({"devices": {"id": "a", "load": 1}}, {"a": 1}),
        ({"id": "a", "load": 1}, {"a": 1}),
        ({}, {}),
        ([], {}),
        ({"devices": []}, {}),
        ({"devices": None}, {}),
    ],
)
def test_entries_are_a_list_or_the_first_key(made, server, document, expected):
    server.usual = answer(document)
    found = inspect(made, target(server.url))
    assert values(found) == expected
    assert found.missing == []


def test_no_content_is_no_entries(made, server):
    server.usual = faulty.status(204)
    found = inspect(made, target(server.url))
    assert (found.observations, found.missing) == ([], [])


def test_entries_may_have_a_key_of_their_own(made, server):
    server.usual = answer({"links": [1], "deep": {"list": [entry("a")]}})
    assert values(
        inspect(made, target(server.url, pollster(response_entries_key="deep.list")))
    ) == {"a": 1}
    found = inspect(made, target(server.url, pollster(response_entries_key="gone")))
    assert "response_entries_key" in reasons(found)[0]


@pytest.mark.parametrize(
    ("raw", "volume"),
    [
        (b"3", 3), (b"-2.5", -2.5), (b'"17"', 17), (b'" 1.5e3 "', 1500.0), (b"0", 0),
        (b"18446744073709551615", 2**64 - 1), (b"100000000000000000000", 1e20),
    ],
)  # fmt: skip
def test_a_number_and_a_text_that_is_a_number_count(made, server, raw, volume):
    server.usual = answer(b'[{"id": "a", "load": %s}]' % raw)
    assert values(inspect(made, target(server.url))) == {"a": volume}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"true", "a boolean is no number"),
        (b'"fast"', "a text is no number"),
        (b'"nan"', "a text is no number"),
        (b'"0x10"', "a text is no number"),
        (b"NaN", "NaN and infinity are no numbers"),
        (b"Infinity", "NaN and infinity are no numbers"),
        (b'"1e999"', "NaN and infinity are no numbers"),
        (b"-1e400", "NaN and infinity are no numbers"),
        (b"9" * 400, "a number beyond every float"),
        (b"-" + b"9" * 10_000, "NaN and infinity are no numbers"),
        (b'"%s"' % (b"9" * 10_000), "a text is no number"),
        (b'"\\ud800"', "a text is no number"),
        (b"[1]", "a list is no number"),
        (b"{}", "a mapping is no number"),
    ],
)
def test_what_is_no_number_is_told_and_costs_its_entry_alone(made, server, raw, words):
    server.usual = answer(b'[{"id": "a", "load": %s}, {"id": "b", "load": 2}]' % raw)
    found = inspect(made, target(server.url))
    assert values(found) == {"b": 2}
    (lack,) = found.missing
    assert words in lack.reason
    assert lack.partial


def test_a_value_that_is_null_is_absent_and_no_fault(made, server):
    server.usual = answer([entry("a", None), entry("b", 2)])
    found = inspect(made, target(server.url))
    assert values(found) == {"b": 2}
    assert found.missing == []


def test_entries_without_id_or_value_are_told(made, server):
    server.usual = answer([{"load": 1}, {"id": "x"}, entry("b", 2), "text", {"id": [1], "load": 1}])
    found = inspect(made, target(server.url))
    assert values(found) == {"b": 2}
    (lack,) = found.missing
    assert "no resource id" in lack.reason
    assert "value_attribute" in lack.reason


@pytest.mark.parametrize("attribute", ["id", "name"])
def test_an_id_of_endless_length_costs_its_entry_alone(made, server, attribute):
    server.usual = answer([entry("a", 1) | {attribute: "x" * 1025}, {**entry("b", 2), "name": "b"}])
    found = inspect(made, target(server.url, pollster(resource_id_attribute=attribute)))
    assert values(found) == {"b": 2}
    (lack,) = found.missing
    assert "it has more than 1024 characters" in lack.reason
    assert len(lack.reason) < 200


def test_an_id_that_is_switched_off_is_the_base(made, server):
    server.usual = answer({"load": 4})
    found = inspect(made, target(server.url, pollster(resource_id_attribute=None)))
    assert values(found) == {server.url: 4}


def test_values_are_skipped_and_mapped_as_in_ceilometer(made, server):
    server.usual = answer(
        [entry("a", "up"), entry("b", "down"), entry("c", "odd"), entry("d", ""), entry("e", [])]
    )
    mapping = pollster(value_mapping={"up": 1, "down": 0}, skip_sample_values=("",))
    assert values(inspect(made, target(server.url, mapping))) == {"a": 1, "b": 0, "c": -1, "e": -1}


def test_metadata_is_mapped_and_kept_or_not(made, server):
    server.usual = answer([entry("a", name="n", room=None)])
    keys = {"metadata_fields": ["name", "room"], "metadata_mapping": {"name": "display_name"}}
    for preserve, expected in (
        (True, {"name": "n", "room": None, "display_name": "n"}),
        (False, {"room": None, "display_name": "n"}),
    ):
        one = pollster(**keys, preserve_mapped_metadata=preserve)
        found = inspect(made, target(server.url, one))
        assert found.observations[0].resource.metadata == expected


def test_one_definition_may_make_several_meters(made, server):
    categories = [
        {"category": "get_obj", "ops": 3},
        {"category": "put_obj", "ops": 0},
        {"category": "skip", "ops": 9},
    ]
    server.usual = answer([entry("a", categories=categories)])
    one = pollster(
        "api.ops.{category}",
        value_attribute="categories",
        sub_meter=("api.ops.", "category"),
        sub_value="ops",
        skip_sample_values=(0, "skip"),
    )
    found = inspect(made, target(server.url, one))
    assert [(s.columns[0].meter.name, s.volumes) for s in found.observations] == [
        ("api.ops.get_obj", (3,))
    ]


def test_xml_text_and_headers_are_read(made, server):
    server.usual = faulty.ok(
        b"<r><d><id>a</id><load>1</load></d><d><id>b</id><load>2</load></d></r>"
    )
    one = pollster(response_handlers=("json", "xml"), response_entries_key="r.d")
    assert values(inspect(made, target(server.url, one))) == {"a": 1, "b": 2}
    server.usual = faulty.ok(b"42\n")
    one = pollster(response_handlers=("text",), value_attribute="out", resource_id_attribute=None)
    assert values(inspect(made, target(server.url, one))) == {server.url: 42}
    server.usual = faulty.ok(b"", {"X-Account-Bytes-Used": "17"})
    one = pollster(
        response_handlers=("headers",),
        method="HEAD",
        value_attribute="x-account-bytes-used",
        resource_id_attribute=None,
    )
    assert values(inspect(made, target(server.url, one))) == {server.url: 17}
    assert server.requests[-1].method == "HEAD"


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (faulty.ok(b"<!DOCTYPE html><p>Log in", {"Content-Type": "text/html"}), "an HTML page"),
        (faulty.ok(b"<html>"), "an HTML page"),
        (faulty.ok(b"{"), "no JSON"),
        (faulty.ok(b""), "JSON: it is empty"),
        (faulty.ok(b"[" * 100_000), "nested too deeply"),
        (faulty.ok(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "nested too deeply"),
        (faulty.ok(b'[{"id": "\xff", "load": 1}]'), "JSON: it is no utf-8"),
        (answer("text"), "neither a list nor a mapping"),
        (faulty.status(500), "it answers 500 Internal Server Error"),
        (faulty.status(302, headers={"Location": "http://other.example/"}), "another host"),
        (faulty.huge(1 << 30), "larger than"),
        (faulty.cut_before_reply, "ended|reset"),
        (faulty.garbage(), "no answer in HTTP"),
    ],
)
def test_a_bad_answer_is_told_and_costs_nobody_else(made, server, behaviour, words):
    server.usual = behaviour
    with faulty.serving(answer([entry("a")])) as good:
        bad = target(server.url)
        found = inspect(made, bad, target(good.url))
    assert values(found)["a"] == 1
    (lack,) = found.missing
    assert lack.target == bad.id
    assert any(word in lack.reason for word in words.split("|")), lack.reason
    assert not lack.partial


def test_pages_are_followed(made, server):
    pages = {
        "/devices": {"devices": [entry("a")], "next": "/devices?marker=a"},
        "/devices?marker=a": {"devices": [entry("b")], "next": f"{server.url}/devices?marker=b"},
        "/devices?marker=b": {"devices": [entry("c")], "next": "?marker=c"},
        "/devices?marker=c": {"devices": [entry("d")], "next": None},
    }
    server.usual = lambda exchange: answer(pages[exchange.peek().path])(exchange)
    found = inspect(made, target(server.url, pollster(next_sample_url_attribute="next")))
    assert values(found) == {"a": 1, "b": 1, "c": 1, "d": 1}
    assert found.missing == []


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("/devices", "back to a page that was read"),
        ("http://other.example/steal", "leads to another host"),
        ("//other.example/steal", "leads to another host"),
        (["/x"], "no text"),
        ("http://[::1", "leads to what is no URL"),
        ("javascript:x", "no http:// or https:// URL"),
    ],
)
def test_a_bad_next_link_ends_it_and_what_was_read_is_kept(made, server, link, words):
    server.usual = answer({"devices": [entry("a")], "next": link})
    found = inspect(made, target(server.url, pollster(next_sample_url_attribute="next")))
    assert values(found) == {"a": 1}
    (lack,) = found.missing
    assert words in lack.reason
    assert lack.partial


def test_a_cycle_of_pages_ends(made, server):
    def behave(exchange):
        first = exchange.peek().path == "/devices"
        link = "/devices?page=2" if first else "/devices"
        answer({"devices": [entry("a" if first else "b")], "next": link})(exchange)

    server.usual = behave
    found = inspect(made, target(server.url, pollster(next_sample_url_attribute="next")))
    assert values(found) == {"a": 1, "b": 1}
    assert reasons(found) == ["its next link leads back to a page that was read"]
    assert len(server.requests) == 2


def test_endless_pages_end(made, server):
    def behave(exchange):
        number = (
            int(exchange.peek().path.rpartition("=")[2] or 0) if "=" in exchange.peek().path else 0
        )
        answer({"devices": [entry(str(number))], "next": f"/devices?page={number + 1}"})(exchange)

    server.usual = behave
    one = pollster(next_sample_url_attribute="next", max_pages=7)
    found = inspect(made, target(server.url, one))
    assert len(found.observations) == 7
    assert reasons(found) == ["more than 7 pages (max_pages)"]


def test_an_endpoint_that_hangs_costs_only_its_own_samples(made, server):
    server.usual = faulty.hang
    hung = [target(f"{server.url}/{n}") for n in range(300)]
    with faulty.serving(answer([entry("a")])) as good:
        alive = [target(f"{good.url}/{n}") for n in range(300)]
        found = inspect(made, *hung, *alive, seconds=3)
    owners = {seen.owner for seen in found.observations}
    assert owners == {one.id for one in alive}
    assert {lack.target for lack in found.missing} == {one.id for one in hung}


def test_where_nobody_is_the_rest_is_not_tried(made):
    port = faulty.closed_port()
    gone = [target(f"http://127.0.0.1:{port}/{n}") for n in range(50)]
    found = inspect(made, *gone)
    assert len(found.missing) == 50
    said = set(reasons(found))
    assert "Connection refused" in said
    assert "not asked in this cycle: nobody is there" in said


def test_the_cycle_ends_by_its_deadline_whatever_hangs(made, server):
    server.usual = faulty.drip(0.05, b" ")
    began = time.monotonic()
    found = inspect(made, *(target(f"{server.url}/{n}") for n in range(5)), seconds=1)
    assert time.monotonic() - began < 20
    assert len(found.missing) == 5


class Path:
    """An expression over what a request may name."""

    def __init__(self, make):
        self.make = make

    def __call__(self, document, names):
        try:
            return self.make(names)
        except (KeyError, TypeError) as error:
            raise Unusable(f"it fails: {error}") from error


def further(**changes):
    usual = {
        "url_path": Path(lambda names: f"rooms/{names['sample']['room']}"),
        "value_attribute": "name",
        "metadata_fields": ["floor"],
    }
    return pollster("room_name", **usual | changes)


def rooms(exchange):
    path = exchange.peek().path
    if path == "/devices":
        listed = [entry(str(n), room=n % 3) for n in range(30)]
        return answer({"devices": listed})(exchange)
    room = path.rpartition("/")[2]
    return answer({"room": {"id": room, "name": f"room {room}", "floor": 1}})(exchange)


def test_further_requests_give_metadata_and_are_cached(made, server):
    server.usual = rooms
    one = pollster(metadata_fields=["room"], extra_metadata_fields=(further(),))
    for _ in range(2):
        found = inspect(made, target(server.url, one))
        assert found.missing == []
        assert [seen.resource.id for seen in found.observations] == [str(n) for n in range(30)]
        seen = found.observations[4]
        assert seen.resource.metadata == {"room": 1, "room_name": "room 1", "floor": 1}
    assert sorted(one.path for one in server.requests) == [
        "/devices", "/devices", "/rooms/0", "/rooms/1", "/rooms/2",
    ]  # fmt: skip


def test_further_requests_see_what_those_before_them_found(made, server):
    server.usual = rooms
    second = further(
        url_path=Path(
            lambda names: "floors/" + str(names["extra_metadata_by_name"]["room_name"]["value"])[-1]
        )
    )
    second = pollster(
        "floor_name", url_path=second.url_path, value_attribute="name", metadata_fields=["gone"]
    )
    one = pollster(extra_metadata_fields=(further(), second))
    found = inspect(made, target(server.url, one))
    assert found.observations[2].resource.metadata["floor_name"] == "room 2"


def test_a_further_request_that_fails_costs_its_own_metadata(made, server):
    def behave(exchange):
        if exchange.peek().path == "/rooms/1":
            return faulty.status(404)(exchange)
        return rooms(exchange)

    server.usual = behave
    steps = []
    made.trace = steps.append
    found = inspect(made, target(server.url, pollster(extra_metadata_fields=(further(),))))
    assert len(found.observations) == 30
    (whole,) = [step for step in steps if step.shown]
    assert [list(one.faults) for one in whole.shown[:3]] == [[], reasons(found), []]
    assert found.observations[0].resource.metadata["room_name"] == "room 0"
    assert "room_name" not in found.observations[1].resource.metadata
    assert reasons(found) == ["extra_metadata_fields 'room_name': it answers 404 Not Found"]
    assert sum(one.path == "/rooms/1" for one in server.requests) == 1, "nor asked 10 times"


def test_further_requests_may_be_skipped(made, server):
    server.usual = rooms
    field = further(extra_metadata_fields_skip=({"room": 1}, {}))
    found = inspect(made, target(server.url, pollster(extra_metadata_fields=(field,))))
    assert "room_name" in found.observations[0].resource.metadata
    assert "room_name" not in found.observations[1].resource.metadata


def test_what_skips_a_further_request_may_be_the_value_after_mapping(made, server):
    server.usual = answer([entry("a", "ACTIVE", room=1), entry("b", "ERROR", room=1)])
    field = further(
        url_path="rooms",
        extra_metadata_fields_skip=({"load": "ERROR"}, {"value": "1", "metadata": {"room": 1}}),
    )
    one = pollster(
        metadata_fields=["room"], value_mapping={"ACTIVE": "1"}, extra_metadata_fields=(field,)
    )
    found = inspect(made, target(server.url, one))
    assert values(found) == {"a": 1, "b": -1}
    assert [each.path for each in server.requests] == ["/devices"]


def test_each_step_is_told(made, server):
    server.usual = answer([entry("a"), {"load": 2}, entry("c", None), entry("d", "skip")])
    steps = []
    made.trace = steps.append
    inspect(made, target(server.url, pollster(skip_sample_values=("skip",))))
    (step,) = steps
    assert step.asked == f"GET {server.url}/devices"
    assert (step.status, step.entries) == (200, {"device.load": 4})
    assert [one.volumes for one in step.shown] == [{"device.load": 1}, {}, {}, {}]
    assert [bool(one.skipped) for one in step.shown] == [False, True, True, True]


def test_commands_are_off_unless_allowed_and_never_see_a_shell(made, tmp_path):
    words = ("echo", '{"id": "a", "load": "$HOME; touch x"}')
    one = pollster(host_command=words, value_attribute="load", value_mapping={"$HOME; touch x": 5})
    found = inspect(made, target("", one))
    assert reasons(found) == ["commands are not run: [polling] host_commands is false"]
    allowed = inspector(host_commands=True)
    assert values(inspect(allowed, target("", one))) == {"a": 5}
