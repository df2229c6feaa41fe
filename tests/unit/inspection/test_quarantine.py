# SPDX-License-Identifier: Apache-2.0
"""Who is asked again and when."""

from __future__ import annotations

from ceilo_agent.discovery.libvirt.connection import Connection
from ceilo_agent.discovery.libvirt.guest import Guest, describe
from ceilo_agent.inspection.libvirt.control import READY, Control
from ceilo_agent.inspection.libvirt.quarantine import LONGEST_REST, Quarantine
from ceilo_agent.inspection.libvirt.rows import Condition

DESCRIPTION = describe("<domain><name>a-guest</name></domain>")
OCCUPIED = Control(ready=False, waits=3.0)
JOB = Control(ready=False, waits=0.0)


def guest(uuid: str = "g", run: int = 1) -> Guest:
    return Guest(uuid, None, run, DESCRIPTION, Connection("fake:///", "fake"))


def test_a_guest_is_asked_as_soon_as_nobody_holds_its_job() -> None:
    quarantine, one = Quarantine(), guest()
    quarantine.hold(one, 0.0, Condition.HUNG, 2.0)
    assert quarantine.sort([one], {"g": OCCUPIED}, 3.0).held == [one]
    assert quarantine.sort([one], {"g": READY}, 3.0).ready == [one]
    assert quarantine.sort([one], {}, 3.0).resting == [one]
    quarantine.release(one)
    assert quarantine.find(one) is None


def test_who_does_not_answer_again_rests_ever_longer() -> None:
    quarantine, one, now = Quarantine(), guest(), 0.0
    quarantine.begin([one], now - 10.0)
    quarantine.begin([one], now)
    quarantine.hold(one, now, Condition.HUNG, now)
    for rest in (10, 20, 40, 80, 160, LONGEST_REST, LONGEST_REST):
        quarantine.hold(one, now, Condition.HUNG, now)
        assert quarantine.sort([one], {"g": READY}, now + rest - 0.1).resting == [one]
        now += rest
        assert quarantine.sort([one], {"g": READY}, now).ready == [one]


def test_a_busy_guest_may_turn_out_to_hang_and_then_does_so_until_it_answers() -> None:
    quarantine, one = Quarantine(), guest()
    quarantine.hold(one, 0.0, Condition.BUSY, 2.0)
    held = quarantine.find(one)
    assert held is not None
    for control, condition in (
        (JOB, Condition.BUSY),
        (Control(ready=False, waits=0.01), Condition.BUSY),
        (OCCUPIED, Condition.HUNG),
        (JOB, Condition.HUNG),
    ):
        assert quarantine.sort([one], {"g": control}, 3.0).held == [one]
        assert held.condition is condition


def test_guests_that_are_gone_or_run_anew_are_forgotten() -> None:
    quarantine = Quarantine()
    for uuid in ("a", "b", "c"):
        quarantine.hold(guest(uuid), 0.0, Condition.HUNG, 2.0)
    quarantine.begin([guest("a"), guest("b", run=2)], 3.0)
    assert len(quarantine) == 1
    assert quarantine.find(guest("a")) is not None
