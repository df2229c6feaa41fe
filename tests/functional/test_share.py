# SPDX-License-Identifier: Apache-2.0
"""The share of an agent when the back end goes away, and when members are not what they should be.

What befalls the agents themselves is in test_partition.py.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from ceilo_agent.coordination import groups, library
from ceilo_agent.coordination.buckets import BUCKETS
from ceilo_agent.coordination.member import Member
from ceilo_agent.coordination.rebalance import record
from ceilo_agent.coordination.share import Share, group_of
from ceilo_agent.errors import ConfigError, Unavailable
from tests.functional import agent
from tests.services import redis, relay

TIMEOUT: Final = 2
BEAT: Final = 0.2


class Shares:
    """Shares of one group, all in this process."""

    def __init__(self, url: str, group: str) -> None:
        self.url, self.group = url, f"ceilo_agent.{group}"
        self.made: list[Share] = []

    def join(self, name: str, **options: Any) -> Share:
        made = Share(
            self.url, self.group, name, timeout=TIMEOUT, beat=BEAT, **({"grace": 60} | options)
        )
        self.made.append(made)
        made.start()
        return made


@pytest.fixture
def shares(backend: Any, request: pytest.FixtureRequest) -> Iterator[Shares]:
    made = Shares(backend.url, request.node.name)
    yield made
    for each in made.made:
        each.stop()


@pytest.fixture
def flushed(tmp_path: Path) -> Iterator[Shares]:
    """Shares on a Redis that a test may do anything to."""
    with redis.running(tmp_path / "redis") as backend:
        made = Shares(backend.url, "flushed")
        yield made
        for each in made.made:
            each.stop()


@pytest.fixture
def told(flushed: Shares) -> Callable[..., bytes]:
    """Tell that Redis a command."""
    port = str(urlsplit(flushed.url).port)

    def tell(*words: str) -> bytes:
        command = ["redis-cli", "-p", port, *words]
        return subprocess.run(command, check=True, capture_output=True).stdout

    return tell


def portion(share: Share) -> float:
    return sum(share.view().buckets) / BUCKETS


def wait(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    agent.wait_until(condition, seconds)


def test_shares_follow_the_weights_and_whoever_leaves(shares: Shares) -> None:
    one, two = shares.join("one"), shares.join("two", weight=3)
    wait(lambda: 0 < portion(one) < 0.35 and portion(two) > 0.65)
    assert bytes(a ^ b for a, b in zip(one.view().buckets, two.view().buckets, strict=True)) == (
        b"\1" * BUCKETS
    )
    found = groups.groups(shares.url)[shares.group.removeprefix("ceilo_agent.")]
    assert {name: part.weight for name, part in found.items()} == {"one": 1, "two": 3}
    assert found["two"].portion == portion(two)
    two.stop()
    wait(lambda: portion(one) == 1)


def test_the_last_share_is_kept_while_the_back_end_is_away_and_taken_up_again(
    shares: Shares, backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one, two = shares.join("one"), shares.join("two")
    wait(lambda: one.view().members == two.view().members == ("one", "two"))
    kept = one.view()
    backend.stop()
    try:
        time.sleep(2 * TIMEOUT)
        assert one.view() is kept
        assert kept.valid
    finally:
        backend.start()
    wait(lambda: caplog.text.count("it is there") == 2, 60)
    # Whoever is there first may have had all for a moment.
    wait(lambda: one.view().members == two.view().members == ("one", "two"))
    assert one.view().buckets == kept.buckets
    assert portion(one) + portion(two) == 1
    assert "tried again" in caplog.text


def test_after_the_grace_nothing_is_owned_and_that_is_told(
    shares: Shares, backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    one = shares.join("one", grace=3)
    wait(lambda: portion(one) == 1)
    before = one.view()
    backend.stop()
    try:
        wait(lambda: portion(one) == 0)
        assert not before.valid
        assert "the back end has been away for too long" in caplog.text
    finally:
        backend.start()
    wait(lambda: portion(one) == 1, 60)
    assert not before.valid


def test_agents_join_anew_where_the_back_end_has_lost_its_data_and_was_never_away(
    flushed: Shares, told: Callable[..., bytes]
) -> None:
    one, two = flushed.join("one"), flushed.join("two")
    wait(lambda: one.view().members == two.view().members == ("one", "two"))
    before = one.view()
    told("FLUSHALL")
    wait(lambda: flushed.group.encode() in told("KEYS", "*"))
    wait(lambda: one.view().members == two.view().members == ("one", "two"))
    assert one.view().buckets == before.buckets
    two.stop()
    wait(lambda: portion(one) == 1)


def test_a_back_end_that_takes_heartbeats_and_names_nobody_is_as_good_as_away(
    flushed: Shares, told: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    one = flushed.join("one", grace=3)
    wait(lambda: portion(one) == 1)
    told("SET", f"_tooz_group:{flushed.group}", "another program's")
    wait(lambda: portion(one) == 0)
    assert "WRONGTYPE" in caplog.text
    told("FLUSHALL")
    wait(lambda: portion(one) == 1, 60)


def test_nothing_is_owned_before_the_back_end_was_reached_once(
    shares: Shares, backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    backend.stop()
    try:
        one = shares.join("one")
        wait(lambda: "it is tried again" in caplog.text)
        assert portion(one) == 0
    finally:
        backend.start()
    wait(lambda: portion(one) == 1, 60)


def test_a_second_agent_of_a_name_polls_nothing_and_says_so(
    shares: Shares, caplog: pytest.LogCaptureFixture
) -> None:
    first = shares.join("one")
    time.sleep(0.01)
    second = shares.join("one")
    wait(lambda: "another agent is called one" in caplog.text)
    wait(lambda: portion(second) == 0)
    assert portion(first) == 1
    first.stop()
    wait(lambda: portion(second) == 1)


def test_members_of_other_programs_are_passed_over(
    shares: Shares, backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    one = shares.join("one")
    wait(lambda: portion(one) == 1)
    other = library.coordination().get_coordinator(f"{backend.url}?timeout=30", b"neutron-host-7")
    other.start()
    try:
        other.join_group(shares.group.encode()).get()
        wait(lambda: "is no agent of ours, and is passed over: neutron-host-7" in caplog.text)
        assert portion(one) == 1
    finally:
        with contextlib.suppress(Exception):
            other.leave_group(shares.group.encode()).get()
        other.stop()


@pytest.mark.parametrize("prefix", ["a/b", "zürich", "50%"])
def test_names_may_have_any_letters(shares: Shares, prefix: str) -> None:
    shares.group = group_of(shares.group, prefix)
    one, two = shares.join("höst/1"), shares.join("100%|two")
    wait(lambda: one.view().members == two.view().members == ("100%|two", "höst/1"))
    assert portion(one) + portion(two) == 1
    assert list(groups.groups(shares.url)[shares.group.removeprefix("ceilo_agent.")]) == [
        "100%|two",
        "höst/1",
    ]


def test_an_agent_that_is_killed_and_started_again_moves_nothing(shares: Shares) -> None:
    two = shares.join("two")
    wait(lambda: portion(two) == 1)
    # What is left of one that was killed.
    dead = library.coordination().get_coordinator(
        f"{shares.url}?timeout=30", str(Member("one", 1, "0")).encode()
    )
    dead.start()
    dead.join_group(shares.group.encode()).get()
    try:
        wait(lambda: two.view().members == ("one", "two"))
        number = two.view().number
        one = shares.join("one")
        wait(lambda: one.view().members == ("one", "two"))
        time.sleep(3 * BEAT)
        assert two.view().number == number
        assert portion(one) + portion(two) == 1
    finally:
        dead.leave_group(shares.group.encode()).get()
        dead.stop()


# -- What people see and get wrong -------------------------------------------------------------


def test_members_are_listed_with_their_shares_and_the_last_change(tmp_path: Path) -> None:
    backend = f"file://{tmp_path}/coordination"
    config = agent.configure(tmp_path, more=f"[coordination]\nbackend_url = {backend}")
    assert agent.run("members", config=config).stdout == "no agent shares work there\n"
    shares = Shares(backend, "central")
    kept = record(tmp_path / "state", "central")
    one = shares.join("one", told=kept.put)
    wait(lambda: portion(one) == 1)
    two = shares.join("two")
    try:
        wait(lambda: one.view().members == two.view().members == ("one", "two"))
        *lines, last = agent.run("members", config=config).stdout.splitlines()
        owned = sum(one.view().buckets)
        assert last.startswith("one (ceilo_agent.central), ")
        assert last.endswith(f": two joined; {owned} buckets (+0 -{BUCKETS - owned})")
        assert [line.split()[:3] for line in lines] == [
            ["namespace", "agent", "weight"],
            ["central", "one", "1"],
            ["central", "two", "1"],
        ]
        document = json.loads(agent.run("members", "--output", "json", config=config).stdout)
        listed = document["groups"]["central"]
        assert listed["one"]["share"] + listed["two"]["share"] == 1
        (change,) = document["changes"]
        assert (change["reason"], change["members"]) == ("two joined", {"one": 1, "two": 1})
    finally:
        one.stop()
        two.stop()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redsi://localhost", "no driver for 'redsi'"),
        ("redsi://localhost", "did you mean 'redis'?"),
        ("memcached://localhost", "redis, zookeeper"),
        ("redis://localhost?timeout=never", "timeout=never is not from 2 to 3600 s"),
        ("", "redis, zookeeper"),
    ],
)
def test_a_wrong_url_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        groups.groups(url)
    assert said in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        Share(url, "ceilo_agent.central", "one")
    assert said in str(caught.value)


def test_a_back_end_that_does_not_answer_is_told_without_its_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Unavailable) as caught:
        groups.groups("redis://:geheim@127.0.0.1:1/")
    assert "geheim" not in str(caught.value) + caplog.text
    assert "backend_url" in str(caught.value)


def test_who_lists_members_does_not_wait_for_a_silent_back_end_as_members_do(backend: Any) -> None:
    with relay.before(backend.port) as way:
        way.hang()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(groups.groups, f"{backend.scheme}://127.0.0.1:{way.port}", 600)
            try:
                with pytest.raises(Unavailable):
                    asked.result(60)
            finally:
                way.mend()
