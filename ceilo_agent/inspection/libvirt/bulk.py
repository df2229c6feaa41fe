# SPDX-License-Identifier: Apache-2.0
"""One cycle's reading: many guests in a few bulk calls, around those that hang.

Calls do not grow with the meters: one call gives all groups of its guests. A call that takes long
is looked at: libvirt tells which guest's QEMU it waits for. The others of that call are asked
again at once, over another connection; the guest may still answer until the call's timeout.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import libvirt

from ceilo_agent.discovery.libvirt.calls import MAX_IN_FLIGHT
from ceilo_agent.discovery.libvirt.guest import Guest
from ceilo_agent.errors import Unavailable
from ceilo_agent.inspection.libvirt import control, lines
from ceilo_agent.inspection.libvirt.asks import NEVER, SUSPECTS, Ask, Kind, Look, split
from ceilo_agent.inspection.libvirt.control import Controls
from ceilo_agent.inspection.libvirt.experience import PATIENCE, Experience
from ceilo_agent.inspection.libvirt.harvest import Harvest
from ceilo_agent.inspection.libvirt.quarantine import STALLED
from ceilo_agent.inspection.libvirt.rows import MONITOR_FREE, Condition, Row
from ceilo_agent.plugins import Missing

LOOK_EVERY: Final = PATIENCE / 2
"""Seconds between two looks at a call without a culprit."""

TOGETHER: Final = 0.1
"""Seconds between moments to look that are one."""

FEW_SUSPECTS: Final = 4
"""Guests that are not worth another call beside one that hangs."""

MOST: Final = 3 * MAX_IN_FLIGHT
"""Calls that the rest of calls that hang is divided into."""


class Reading:
    """The calls of one cycle.

    Args:
        over: where they go.
        known: what earlier cycles learned.
        guests: all of one hypervisor.
        groups: flags of the bulk call.
        deadline: CLOCK_MONOTONIC seconds.

    Attributes:
        slow: whether libvirt was waited for without a guest being the cause.
    """

    def __init__(
        self,
        over: lines.Lines,
        known: Experience,
        guests: Sequence[Guest],
        groups: int,
        deadline: float,
    ) -> None:
        self.slow = False
        self._lines = over
        self._known = known
        self._guests = guests
        self._groups = groups
        self._deadline = deadline
        self._harvest = Harvest(groups, known)
        self._waiting: list[Ask] = []
        self._flying: list[Ask] = []
        self._looks: list[Look] = []
        self._ended: queue.SimpleQueue[Ask | Look] = queue.SimpleQueue()
        self._fault: Unavailable | None = None

    def run(self) -> tuple[list[Row], list[Missing]]:
        """Read, and return the rows and whoever gave nothing or only a part.

        Raises:
            Unavailable: no guest can be read.
        """
        suspects = [guest for guest in self._guests if self._known.quarantine.find(guest)]
        others = self._guests
        if suspects:
            apart = {guest.uuid for guest in suspects}
            others = [guest for guest in self._guests if guest.uuid not in apart]
            self._look(suspects, lambda controls: self._ask_suspects(suspects, controls))
        most = min(MAX_IN_FLIGHT, max(1, lines.MAX_STUCK - self._lines.in_flight))
        if self._lines.in_flight and not suspects:
            most = 1  # libvirt still owes answers of the last cycle: do not heap calls up
        self._waiting += split(Kind.SWEEP, others, most)
        while self._go_on():
            self._wait()
        self._end()
        if self._fault is not None and not self._harvest.rows:
            raise self._fault
        return self._harvest.result(self._guests)

    # -- calls begin -----------------------------------------------------------------------------

    def _go_on(self) -> bool:
        """Begin what there is room for; tell whether there is anything to wait for."""
        self._flying = [ask for ask in self._flying if self._is_awaited(ask)]
        for ask in list(self._waiting):
            if self._has_room(ask):
                self._waiting.remove(ask)
                self._begin(ask)
        if self._waiting and all(ask.culprits for ask in self._flying) and not self._looks:
            # Nothing that is under way will make room: ask for what cannot hang.
            rest = [guest for ask in self._waiting for guest in ask.guests]
            self._waiting = []
            if not self._begin_monitor_free(rest):
                self._harvest.capped.update(guest.uuid for guest in rest)
        return bool(self._flying or self._looks) and time.monotonic() < self._deadline

    def _is_awaited(self, ask: Ask) -> bool:
        """Whether a call can still tell anything new; one that cannot is set aside."""
        if not all(self._harvest.settled(guest) for guest in ask.guests):
            return True
        ask.line.set_aside(ask.call)
        return False

    def _has_room(self, ask: Ask) -> bool:
        if self._lines.in_flight >= lines.MAX_STUCK + (ask.kind is Kind.MONITOR_FREE):
            return False
        beside = sum(each.kind in SUSPECTS and not each.culprits for each in self._flying)
        return ask.kind not in SUSPECTS or beside < MAX_IN_FLIGHT

    def _begin_monitor_free(self, guests: Sequence[Guest]) -> bool:
        ask = Ask(Kind.MONITOR_FREE, guests)
        if not guests or not self._has_room(ask):
            return False
        self._harvest.capped.update(guest.uuid for guest in guests)
        self._begin(ask)
        return True

    def _begin(self, ask: Ask) -> None:
        if self._fault is None:
            try:
                ask.line = self._lines.take(self._deadline, apart=ask.apart)
            except Unavailable as error:
                # The others would have to wait for the same answer.
                self._fault = error
        if self._fault is not None:
            self._harvest.fail(ask.guests, str(self._fault))
            return
        groups = self._lines.answerable(self._groups, self._deadline)
        if groups != self._groups:
            self._harvest.cold.update(guest.uuid for guest in ask.guests)
        ask.began = time.monotonic()
        if ask.kind is Kind.MONITOR_FREE:
            groups &= MONITOR_FREE
        else:
            ask.look_at = ask.began + self._known.patience(groups, len(ask.guests))
        if ask.kind is Kind.ALONE:
            ask.ends = ask.began + self._known.timeout
        ask.call = ask.line.start(ask.guests, groups, ask.flags)
        ask.call.tell(self._ended, ask)
        self._flying.append(ask)

    def _ask_suspects(self, guests: Sequence[Guest], controls: Controls) -> None:
        self._harvest.note(controls)
        found = self._known.quarantine.sort(guests, controls, time.monotonic())
        if found.held:
            self._waiting.append(Ask(Kind.PASSED_OVER, found.held))
        self._waiting += [Ask(Kind.ALONE, [guest]) for guest in found.ready]
        if found.resting:
            self._waiting.append(Ask(Kind.MONITOR_FREE, found.resting))

    # -- calls end, or do not --------------------------------------------------------------------

    def _wait(self) -> None:
        """Wait for the next end of a call or the next moment to look, and see to it."""
        moments = [self._deadline]
        moments += [min(ask.look_at, ask.ends) for ask in self._flying]
        moments += [look.ends for look in self._looks]
        try:
            ended = self._ended.get(timeout=max(0.0, min(moments) - time.monotonic()))
        except queue.Empty:
            self._see_to_overdue(time.monotonic())
        else:
            if isinstance(ended, Look):
                self._take_look(ended)
            elif ended in self._flying:
                self._flying.remove(ended)
                self._take(ended)

    def _take(self, ask: Ask) -> None:
        call = ask.call
        try:
            answer = call.result(0.0)
        except libvirt.libvirtError as error:
            gone = ask.line.failed(error)
            if not ask.again:
                # libvirt was started anew, or one of the guests died while it was asked.
                self._waiting.append(Ask(ask.kind, ask.guests, again=True))
            elif len(ask.guests) > 1 and not gone:
                # One of them fails the call for all.
                middle = len(ask.guests) // 2
                for part in (ask.guests[:middle], ask.guests[middle:]):
                    self._waiting.append(Ask(ask.kind, part, again=True))
            else:
                self._harvest.fail(ask.guests, f"libvirt: {error}")
            return
        if ask.kind is Kind.SWEEP and not ask.culprits:
            took = call.ended - call.began
            self._known.learn_pace(self._groups, len(ask.guests), took)
        partial = self._harvest.take(ask, answer)
        if partial:
            self._look(partial, lambda controls: self._judge_partial(partial, controls))

    def _judge_partial(self, guests: Sequence[Guest], controls: Controls) -> None:
        """Tell guests that somebody else is busy with from those that hang."""
        self._harvest.note(controls)
        again = []
        for guest in guests:
            found = controls.get(guest.uuid)
            if found is None:
                self._harvest.settle(guest)
            elif found.ready:
                again.append(guest)
            elif found.waits >= PATIENCE:
                self._hold(guest, time.monotonic() - found.waits, Condition.HUNG)
            else:
                self._waiting.append(Ask(Kind.ALONE, [guest]))
        if again:
            self._waiting.append(Ask(Kind.AGAIN, again))

    def _see_to_overdue(self, now: float) -> None:
        for look in [look for look in self._looks if look.ends <= now]:
            self._looks.remove(look)
            look.call.given_up = True
            look.then({})
        for ask in [ask for ask in self._flying if ask.ends <= now]:
            self._give_up(ask)
        if any(ask.look_at <= now for ask in self._flying):
            # Those that are nearly overdue share the look, and what comes of it.
            overdue = [ask for ask in self._flying if ask.look_at <= now + TOGETHER]
            for ask in overdue:
                ask.look_at = NEVER
            guests = [g for ask in overdue for g in ask.guests if not self._harvest.settled(g)]
            self._look(guests, lambda controls: self._judge_overdue(overdue, controls))

    def _judge_overdue(self, asks: Iterable[Ask], controls: Controls) -> None:
        """Find whom the calls hang on, and ask for the others again."""
        self._harvest.note(controls)
        rest: dict[Kind, list[Guest]] = {}
        now = time.monotonic()
        flying = [ask for ask in asks if ask in self._flying]
        for ask in flying:
            waits = {g.uuid: controls[g.uuid].waits for g in ask.guests if g.uuid in controls}
            ask.culprits = [g for g in ask.guests if waits.get(g.uuid, 0.0) >= STALLED]
            if ask.culprits:
                ask.line.set_aside(ask.call)
        for ask in flying:
            if ask.culprits:
                ask.ends = ask.began + self._known.timeout
                self._harvest.expect(ask.culprits)
                # Our own call holds their job: another passes them over at once.
                self._waiting.append(Ask(Kind.PASSED_OVER, ask.culprits))
            elif ask.line.clean:
                ask.look_at = now + LOOK_EVERY
                overdue = now - ask.began >= self._known.timeout
                self.slow = self.slow or (overdue and ask.kind is not Kind.ALONE)
                continue
            else:
                # Another call over its line hangs and keeps its answer back.
                ask.line.set_aside(ask.call)
                self._flying.remove(ask)
            hung = {guest.uuid for guest in ask.culprits}
            others = rest.setdefault(ask.kind, [])
            others += [g for g in ask.guests if not self._harvest.settled(g) and g.uuid not in hung]
        room = min(MOST, max(1, lines.MAX_STUCK - self._lines.in_flight))
        for kind, guests in rest.items():
            self._waiting[:0] = split(kind, guests, room, FEW_SUSPECTS, again=True)

    def _give_up(self, ask: Ask) -> None:
        """Wait no longer for a call; whom it hangs on goes into quarantine."""
        self._flying.remove(ask)
        ask.line.set_aside(ask.call)
        for guest in ask.guests if ask.kind is Kind.ALONE else ask.culprits:
            if not self._harvest.settled(guest):
                found = self._harvest.controls.get(guest.uuid, control.READY)
                busy = not found.ready and not found.waits
                self._hold(guest, ask.began, Condition.BUSY if busy else Condition.HUNG)

    def _hold(self, guest: Guest, since: float, condition: Condition) -> None:
        self._known.quarantine.hold(guest, since, condition, time.monotonic())
        self._harvest.settle(guest)

    def _end(self) -> None:
        """The deadline has come, or nothing is left to wait for."""
        for ask in list(self._flying):
            self._give_up(ask)
            self._harvest.fail(ask.guests, "libvirt did not answer in time")
        for ask in self._waiting:
            self._harvest.fail(ask.guests, "libvirt did not answer in time")

    # -- looks -----------------------------------------------------------------------------------

    def _look(self, guests: Sequence[Guest], then: Callable[[Controls], None]) -> None:
        call = guests[0].connection.start(control.look, guests)
        look = Look(call, time.monotonic() + self._known.timeout, then)
        self._looks.append(look)
        call.tell(self._ended, look)

    def _take_look(self, look: Look) -> None:
        if look not in self._looks:
            return
        self._looks.remove(look)
        try:
            found = look.call.result(0.0)
        except (libvirt.libvirtError, Unavailable):
            found = {}
        look.then(found)
