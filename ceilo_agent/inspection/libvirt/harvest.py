# SPDX-License-Identifier: Apache-2.0
"""What a cycle has read so far: the best row of each guest, and who is still owed one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

from ceilo_agent.discovery.libvirt.guest import Guest
from ceilo_agent.inspection.libvirt.asks import Ask, Kind
from ceilo_agent.inspection.libvirt.control import READY, Control, Controls
from ceilo_agent.inspection.libvirt.experience import Experience
from ceilo_agent.inspection.libvirt.lines import Answer
from ceilo_agent.inspection.libvirt.rows import Condition, Row, lacks_qemu, mark, tells_qemu
from ceilo_agent.plugins import Missing

WITHOUT_QEMU: Final = "only what libvirt knows without it is read"

REASONS: Final = {
    Condition.BUSY: f"its QEMU is busy with another job (a backup, a migration); {WITHOUT_QEMU}",
    Condition.HUNG: f"its QEMU does not answer; {WITHOUT_QEMU}",
}
NOTHING_OF_HUNG: Final = "its QEMU does not answer"
CAPPED: Final = (
    "too many calls to libvirt wait for guests that hang to ask for this one's QEMU; "
    + WITHOUT_QEMU
)
COLD: Final = (
    "libvirt was just started and is finding out what this host can do; "
    "CPU times and memory bandwidth come after that"
)
LATE: Final = "libvirt did not answer in time"


class Harvest:
    """The rows of one cycle.

    Args:
        groups: flags of the bulk call.
        known: what earlier cycles learned; answers are added to it.

    Attributes:
        rows: the best of each guest, by its id.
        controls: the last that was seen of each guest that was looked at, by its id.
        capped: ids of guests that were not asked because too many calls are stuck.
        cold: ids of guests that were not asked for all because libvirtd was just started.
    """

    def __init__(self, groups: int, known: Experience) -> None:
        self.rows: dict[str, Row] = {}
        self.controls: dict[str, Control] = {}
        self.capped: set[str] = set()
        self.cold: set[str] = set()
        self._groups = groups
        self._known = known
        self._pending: set[str] = set()
        self._settled: set[str] = set()
        self._gone: set[str] = set()
        self._reasons: dict[str, str] = {}

    def note(self, controls: Controls) -> None:
        """Keep what a look found."""
        self.controls.update(controls)

    def expect(self, guests: Iterable[Guest]) -> None:
        """Wait for guests that a call hangs on: it may still return."""
        self._pending.update(guest.uuid for guest in guests)

    def settled(self, guest: Guest) -> bool:
        """Whether nothing more is to come of a guest in this cycle."""
        return guest.uuid in self._settled

    def settle(self, guest: Guest) -> None:
        """Leave a guest at what it gave."""
        self._settled.add(guest.uuid)

    def fail(self, guests: Iterable[Guest], reason: str) -> None:
        """Leave guests at what they gave; the reason stands for those that gave nothing."""
        for guest in guests:
            if guest.uuid not in self._settled:
                self._settled.add(guest.uuid)
                self._reasons[guest.uuid] = reason

    def take(self, ask: Ask, answer: Answer) -> list[Guest]:
        """Take the answer of a call; return the guests that lack much for a reason not yet known.

        A guest that is not in the answer vanished. One with another run stopped or was started
        anew since it was listed: the next listing tells which.
        """
        call = ask.call
        unheard = {guest.uuid: guest for guest in ask.guests}
        # libvirt reads the guests of a call one after another: each one's moment is its share.
        step = (call.ended - call.began) / max(1, len(answer))
        partial = []
        for number, (domain, reply) in enumerate(answer):
            guest = unheard.pop(domain.UUIDString())
            if guest.uuid in self._settled:
                continue
            if domain.ID() != guest.run:
                unheard[guest.uuid] = guest
                continue
            row = Row(guest, reply, call.began + (number + 0.5) * step)
            if not self._is_final(row, ask.kind):
                partial.append(guest)
        for guest in unheard.values():
            self._gone.add(guest.uuid)
            self._settled.add(guest.uuid)
        return partial

    def _is_final(self, row: Row, kind: Kind) -> bool:
        """Keep a row; tell whether it is clear what it says of the guest's QEMU."""
        guest = row.guest
        if kind is Kind.MONITOR_FREE:
            self._keep(row, self._held(guest))
            return True
        lacks = lacks_qemu(row.reply, self._groups)
        if kind is Kind.PASSED_OVER and (lacks or not tells_qemu(self._groups)):
            self._keep(row, self._held(guest) or Condition.HUNG)
            return True
        if not lacks or self._known.lacks(guest):
            if not lacks:
                self._known.unlearn_lack(guest)
            self._answered(row)
            return True
        if kind in (Kind.ALONE, Kind.AGAIN) and self._was_ready(guest):
            self._known.learn_lack(guest)
            self._answered(row)
            return True
        self.rows.setdefault(guest.uuid, row._replace(condition=Condition.BUSY))
        if kind is Kind.ALONE:
            self.settle(guest)
            return True
        return False

    def _keep(self, row: Row, condition: Condition | None) -> None:
        """Keep a row that is but a part, unless a call may still bring the whole."""
        guest = row.guest
        self.rows.setdefault(guest.uuid, row._replace(condition=condition))
        if guest.uuid not in self._pending:
            self.settle(guest)

    def _answered(self, row: Row) -> None:
        self.rows[row.guest.uuid] = row
        self.settle(row.guest)
        self._known.quarantine.release(row.guest)

    def _was_ready(self, guest: Guest) -> bool:
        return self.controls.get(guest.uuid, READY).ready

    def _held(self, guest: Guest) -> Condition | None:
        held = self._known.quarantine.find(guest)
        return held.condition if held is not None else None

    def result(self, guests: Sequence[Guest]) -> tuple[list[Row], list[Missing]]:
        """Return the rows in the order of the guests, and who gave nothing or only a part."""
        now = time.monotonic()
        rows, missing = [], []
        for guest in guests:
            row = self.rows.get(guest.uuid)
            if row is None:
                if guest.uuid not in self._gone:
                    missing.append(self._without_row(guest))
                continue
            if row.condition is not Condition.ANSWERS:
                row = self._judged(row)
                missing.append(_missing(guest, self._reason(row), partial=True))
            elif guest.uuid in self.cold:
                missing.append(_missing(guest, COLD, partial=True))
            mark(row, self._silence(row, now))
            rows.append(row)
        return rows, missing

    def _judged(self, row: Row) -> Row:
        """Return the row with the last that is known of its guest's condition."""
        return row._replace(condition=self._held(row.guest) or row.condition)

    def _reason(self, row: Row) -> str:
        if row.condition is None:
            return CAPPED if row.guest.uuid in self.capped else LATE
        return REASONS[row.condition]

    def _silence(self, row: Row, now: float) -> float:
        if row.condition in (None, Condition.ANSWERS):
            return 0.0
        waits = self.controls.get(row.guest.uuid, READY).waits
        held = self._known.quarantine.find(row.guest)
        if held is not None and row.condition is Condition.HUNG:
            return max(waits, now - held.since)
        return waits

    def _without_row(self, guest: Guest) -> Missing:
        if self._known.quarantine.find(guest) is not None:
            return _missing(guest, NOTHING_OF_HUNG, partial=False)
        reason = CAPPED if guest.uuid in self.capped else LATE
        return _missing(guest, self._reasons.get(guest.uuid, reason), partial=False)


def _missing(guest: Guest, reason: str, *, partial: bool) -> Missing:
    return Missing(guest.uuid, guest.description.name, reason, partial)
