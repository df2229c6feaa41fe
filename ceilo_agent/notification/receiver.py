# SPDX-License-Identifier: Apache-2.0
"""Accepts messages: into the pipeline, whose commit is their acknowledgement, or set aside."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ceilo_agent.messaging.message import Message, Reason
from ceilo_agent.notification.growing import Growing
from ceilo_agent.notification.intake import Intake, Letter, Part, lag
from ceilo_agent.notification.letters import Letters

LOG = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.2
"""Seconds between two looks whether what was accepted is on disk."""

LETTERS_EVERY: Final = 2.0
"""Seconds between two tries to write what is set aside."""


class Counters(msgspec.Struct):
    """What came in since the start.

    Attributes:
        messages: that were done: accepted or set aside.
        samples: that were accepted.
        repeated: messages that were accepted before.
        letters: what was set aside, by reason.
    """

    messages: int = 0
    samples: int = 0
    repeated: int = 0
    letters: Counter[str] = msgspec.field(default_factory=Counter)


class Receiver:
    """Takes messages from any thread, one call after another.

    Args:
        intake: reads them.
        letters: keeps what cannot be read.
        accept: takes batches, in one transaction.
        stored: says whether all that was accepted is on disk.

    Attributes:
        counters: what came in.
        lag: seconds between sending and acceptance of the newest message; None: nothing came.
    """

    def __init__(
        self,
        intake: Intake,
        letters: Letters,
        accept: Callable[..., None],
        stored: Callable[[], bool],
    ) -> None:
        self.counters = Counters()
        self.lag: float | None = None
        self.intake = intake
        self.letters = letters
        self._accept = accept
        self._stored = stored
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._fault: str | None = None
        self._growing = Growing(
            "messages that could not be taken: %s; `ceilo-agent letters list` shows them"
        )

    def take(self, messages: Sequence[Message]) -> bool:
        """Accept messages; False: not all of them can be now, and they must come again.

        What of them was accepted is known when it does.
        """
        with self._lock:
            for part in self.intake.parts(messages):
                if self._stopping.is_set() or not self._take(part):
                    return False
            return True

    def replay(self) -> int:
        """Try letters once more that an operator marked; return how many were.

        While messages are being taken, it is left to the next call: that may take as long as a
        disk is full.
        """
        if not self._lock.acquire(blocking=False):
            return 0
        try:
            kept = self.letters.again()
            for part in self.intake.parts([each.message for each in kept]):
                if not self._take(part):
                    return 0
            if kept:
                self.letters.settle([each.number for each in kept])
                LOG.info("%d messages that were set aside were tried again", len(kept))
            return len(kept)
        except (OSError, sqlite3.Error) as error:
            self._tell_fault(f"{self.letters.path}: {error}")
            return 0
        finally:
            self._lock.release()

    def stop(self) -> None:
        """Take no more; what waits for a disk goes back."""
        self._stopping.set()

    def tell(self, *, now: bool = False) -> None:
        """Tell what was set aside since it was last told, not too often."""
        self._growing.tell(self.counters.letters, now=now)

    def _take(self, part: Part) -> bool:
        """Accept a part, or set aside what of it brings a failure about."""
        letters = list(part.letters)
        try:
            self._accept(*part.batches)
        except Exception as error:
            if len(part.messages) > 1:
                singles = [one for each in part.messages for one in self.intake.parts([each])]
                return all(map(self._take, singles))
            LOG.exception("what came could not be transformed")
            words = f"the pipeline fails with it: {type(error).__name__}: {error}"
            letters = [Letter(part.messages[0], Reason.MALFORMED, words)]
            part = part._replace(batches=(), ids=())
        if letters and not self._keep(letters):
            return False
        if not self._wait_stored():
            return False
        self.intake.accepted(part)
        self.lag = lag(part) if part.sent is not None else self.lag
        self.counters.messages += len(part.messages)
        self.counters.samples += part.samples
        self.counters.repeated += part.repeated
        self.counters.letters.update(letter.reason.value for letter in letters)
        return True

    def _keep(self, letters: Sequence[Letter]) -> bool:
        """Set letters aside, and wait until they are on disk; say whether they are.

        What came with them is accepted already: to have all of it come again would double that.
        """
        while True:
            try:
                self.letters.put(letters)
            except (OSError, sqlite3.Error) as error:
                self._tell_fault(f"{self.letters.path} cannot be written: {error}")
            else:
                return True
            if self._stopping.wait(LETTERS_EVERY):
                return False

    def _wait_stored(self) -> bool:
        """Wait until what was accepted is on disk: before that it is not acknowledged."""
        while not self._stored():
            self._tell_fault("what came cannot be written to disk; it is not acknowledged")
            if self._stopping.wait(LOOK_EVERY):
                return False
        if self._fault is not None:
            LOG.info("what comes can be written again")
            self._fault = None
        return True

    def _tell_fault(self, fault: str) -> None:
        if fault != self._fault:
            LOG.warning("%s", fault)
        self._fault = fault
