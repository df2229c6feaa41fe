# SPDX-License-Identifier: Apache-2.0
"""The time that windows are closed by."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from ceilo_agent.notification.clock import OUTAGE, QUIET, SETTLE, TELL_AFTER, UNASKED, Clock

START = 1_000_000.0


class World:
    """A clock whose seconds pass when they are told to."""

    def __init__(self, **given: Any) -> None:
        self.at = 0.0
        settings: dict[str, Any] = {
            "asks": True,
            "in_hand": 10,
            "batch_size": 5,
            "batch_timeout": 0.2,
        }
        self.clock = Clock(
            **(settings | given), wall=lambda: START + self.at, monotonic=lambda: self.at
        )

    def take(self, count: int, queue: str = "q", seconds: float = 0.01) -> None:
        """Take messages, at most a batch at a time, without a pause between batches."""
        while count:
            batch = min(count, 5)
            self.clock.taking()
            self.at += seconds
            self.clock.taken([queue] * batch)
            count -= batch

    def look(self, **waiting: int | None) -> None:
        self.clock.looked(START + self.at, waiting)

    @property
    def now(self) -> float | None:
        found = self.clock.now()
        return None if found is None else round(found - START, 6)


def test_without_a_queue_it_is_the_wall_clock() -> None:
    world = World()
    world.at = 7.0
    assert world.now == 7.0
    world.clock.gained(["q"])
    assert world.now is None
    world.clock.lost(["q"])
    assert world.now == 7.0


def test_with_empty_queues_it_follows_from_look_to_look() -> None:
    world = World()
    world.clock.gained(["q", "r"])
    seen = []
    for _ in range(10):
        world.at += 2
        world.look(q=0, r=0)
        seen.append(world.now)
        world.at += 1
        seen.append(world.now)
    assert seen[0] is None, "what was handed out before the look may be at hand"
    assert seen[-1] == world.at - 1, "and what is at hand a second later is not"
    assert seen[1:] == sorted(each for each in seen if each is not None)


def test_time_stands_still_until_what_waited_is_taken() -> None:
    world = World()
    world.clock.gained(["q"])
    world.look(q=100)
    for _ in range(19):
        world.take(5)
        assert world.now is None
    world.at += 2
    world.look(q=50)
    world.take(10)
    assert world.now is None, "others were handed out before those that waited at the first look"
    world.take(5)
    assert world.now == 0.0, "all that waited at the first look is taken, not more"
    world.at += 2
    world.look(q=0)
    world.at += 1
    assert world.now == pytest.approx(world.at - 1)


def test_it_lags_behind_while_more_comes_than_is_taken() -> None:
    """A worker that is too slow: time goes on, but never over what waits."""
    world = World()
    world.clock.gained(["q"])
    waiting, seen = 200, []
    for second in range(200):
        world.at = float(second)
        if second % 2 == 0:
            world.look(q=waiting)
        world.clock.taking()
        world.clock.taken(["q"] * 5)
        waiting += 5 - 5
        now = world.now
        if now is not None:
            seen.append((world.at, now))
    # 200 wait and 10 are handed out, 5 are taken in a second: 42 seconds.
    assert all(40 <= at - now <= 46 for at, now in seen)
    assert len(seen) > 140
    assert [now for _, now in seen] == sorted(now for _, now in seen)


def test_what_is_at_hand_when_a_queue_looks_empty_counts_as_waiting() -> None:
    world = World()
    world.clock.gained(["q"])
    world.clock.taking()
    world.look(q=0)
    for _ in range(10):
        world.at += 2
        world.look(q=0)
        assert world.now is None, "a slow commit"
    world.clock.taken(["q"])
    assert world.now is None, "there may be others behind it"
    world.at += 1
    assert world.now == pytest.approx(world.at - 1)


def test_a_batch_that_is_not_full_says_that_nothing_else_is_at_hand() -> None:
    """Else time would stand still where messages come all the time, but few of them."""
    world = World()
    world.clock.gained(["q"])
    for tenth in range(1, 100):
        world.at = tenth / 5
        if tenth % 10 == 0:
            world.look(q=0)
        world.at += 0.01
        world.take(1)
        if tenth > 12:
            assert world.now is not None
            assert world.at - world.now < 2.5
    by_several = World(batch_size=0)
    by_several.clock.gained(["q"])
    by_several.look(q=0)
    for _ in range(9):
        by_several.at += 0.1
        by_several.take(1)
        assert by_several.now is None
    by_several.take(1)
    assert by_several.now == 0.0, "as many as may have been handed out are taken"


def test_messages_that_go_back_are_not_taken() -> None:
    world = World()
    world.clock.gained(["q"])
    world.look(q=1)
    for _ in range(30):
        world.clock.taking()
        world.at += 0.1
        world.clock.taken(["q"] * 5, done=False)
    assert world.now is None


def test_a_queue_that_is_gained_later_holds_the_others_up() -> None:
    world = World()
    world.clock.gained(["q"])
    world.look(q=0)
    world.at += 1
    assert world.now == 0.0
    world.clock.gained(["r"])
    assert world.now is None
    world.look(q=0, r=3)
    world.at += 1
    assert world.now is None
    world.look(q=0, r=0)
    world.at += 1
    assert world.now == 1.0 + 1.0


def test_a_look_that_began_before_a_queue_was_gained_says_nothing_of_it() -> None:
    world = World()
    world.at = 1.0
    world.clock.gained(["q"])
    world.clock.looked(START + 0.5, {"q": 0})
    world.at += 5
    assert world.now is None


def test_time_stands_still_while_a_broker_is_away_and_a_while_after(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    world = World()
    world.clock.gained(["q"])
    world.look(q=0)
    world.at += 1
    assert world.now == 0.0
    for _ in range(50):
        world.at += 2
        world.look(q=None)
        world.now  # noqa: B018 - as a worker asks again and again
    assert world.now is None
    (told,) = caplog.messages
    assert told.startswith("windows wait: what waits at the broker is not known, for q; ")
    back = world.at = world.at + 2
    while world.at < back + SETTLE:
        world.look(q=0)
        assert world.now is None, "hosts send again what they kept"
        world.at += 2
    world.look(q=0)
    world.at += 1
    assert world.now == pytest.approx(world.at - 1)
    assert caplog.messages[1:] == ["windows close again"]


def test_one_look_that_fails_is_no_outage() -> None:
    world = World()
    world.clock.gained(["q"])
    world.look(q=0)
    world.at += OUTAGE / 2
    world.look(q=None)
    world.at += OUTAGE / 2
    world.look(q=0)
    world.at += 1
    assert world.now == pytest.approx(world.at - 1)


def test_older_samples_that_wait_for_long_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.clock.gained(["q"])
    while world.at < 3 * TELL_AFTER:
        world.look(q=10_000)
        world.take(5)
        assert world.now is None
        world.at += 2
    assert [text.split(";")[0] for text in caplog.messages] == [
        "windows wait: older samples wait at the broker"
    ]


def test_where_no_broker_can_be_asked_it_waits_until_nothing_comes() -> None:
    world = World(asks=False)
    world.clock.gained(["q"])
    world.take(5)
    world.at += QUIET - 1
    assert world.now is None
    world.at += 1
    assert world.now == pytest.approx(world.at)
    world.take(5)
    assert world.now == pytest.approx(world.at - 0.01, abs=0.02), "from then on it goes on"


def test_where_no_broker_can_be_asked_it_does_not_wait_for_ever() -> None:
    world = World(asks=False)
    world.clock.gained(["q"])
    while world.at < UNASKED:
        world.take(5)
        world.at += 1
        assert (world.now is None) == (world.at <= UNASKED)
    world.at += 1
    assert world.now == pytest.approx(world.at)
