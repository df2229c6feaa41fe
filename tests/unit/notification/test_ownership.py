# SPDX-License-Identifier: Apache-2.0
"""Each queue has one consumer, and shares are fair."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ceilo_agent.notification.claims import FileClaims
from ceilo_agent.notification.ownership import CEILOMETER, Ownership, queue_names, share


@pytest.mark.parametrize("queues", [1, 3, 8, 9, 64])
@pytest.mark.parametrize("members", [1, 2, 3, 5, 70])
def test_shares_are_whole_and_differ_by_one_at_most(queues: int, members: int) -> None:
    names = queue_names(queues, ceilometer=True)
    everybody = [str(each) for each in range(members)]
    shares = [share(names, everybody, member) for member in everybody]
    assert sorted(queue for each in shares for queue in each) == sorted(names)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert share(names, everybody, "stranger") == frozenset()


def test_queue_names() -> None:
    assert queue_names(2, ceilometer=False) == ["0", "1"]
    assert queue_names(1, ceilometer=True) == ["0", CEILOMETER]


class Worker:
    """One worker in this process; its share is set by the test."""

    def __init__(self, directory: Path) -> None:
        self.wanted: set[str] = set()
        self.consumed: list[frozenset[str]] = []
        self.claims = FileClaims(directory)
        self.ownership = Ownership(lambda: self.wanted, self.claims, self.consumed.append)


def test_a_queue_is_taken_only_when_the_other_gave_it_up(tmp_path: Path) -> None:
    one, other = Worker(tmp_path), Worker(tmp_path)
    one.wanted = {"0", "1"}
    one.ownership.tick()
    assert one.consumed == [{"0", "1"}]
    other.wanted = {"1"}
    other.ownership.tick()
    assert other.consumed == []
    one.wanted = {"0"}
    one.ownership.tick()
    other.ownership.tick()
    assert one.consumed[-1] == {"0"}
    assert other.consumed == [{"1"}]
    one.ownership.close()
    assert one.consumed[-1] == frozenset()
    other.wanted = {"0", "1"}
    other.ownership.tick()
    assert other.ownership.owned == {"0", "1"}


def test_a_queue_is_free_when_its_process_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib\n"
        "from ceilo_agent.notification.claims import FileClaims\n"
        "assert FileClaims(pathlib.Path(sys.argv[1])).take('0')\n"
        "print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        claims = FileClaims(tmp_path)
        assert not claims.take("0")
        assert claims.take("1")
        holder.kill()
        holder.wait()
        assert claims.take("0")


def test_a_lost_claim_ends_consumption_before_it_is_taken_anew(tmp_path: Path) -> None:
    class Shaky(FileClaims):
        sure = True

        def valid(self) -> bool:
            return self.sure

    consumed: list[frozenset[str]] = []
    claims = Shaky(tmp_path)
    ownership = Ownership(lambda: {"0"}, claims, consumed.append)
    ownership.tick()
    claims.sure = False
    ownership.tick()
    assert consumed == [{"0"}, frozenset()]
    claims.sure = True
    ownership.tick()
    assert consumed[-1] == {"0"}
