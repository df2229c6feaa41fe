# SPDX-License-Identifier: Apache-2.0
"""Reads guests, cycle by cycle, and keeps what one cycle learned for the next."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from ceilo_agent.discovery.libvirt.guest import Guest
from ceilo_agent.inspection.libvirt.bulk import Reading
from ceilo_agent.inspection.libvirt.experience import Experience
from ceilo_agent.inspection.libvirt.lines import Lines
from ceilo_agent.inspection.libvirt.rows import Row
from ceilo_agent.plugins import Missing

LOG = logging.getLogger(__name__)


class Reader:
    """Reads the guests of one hypervisor.

    Args:
        uri: of the hypervisor.
        timeout: seconds that a call about a guest that does not answer may take.
    """

    def __init__(self, uri: str, timeout: float) -> None:
        self.uri = uri
        self._lines = Lines(uri)
        self._known = Experience(timeout)
        self._slow = False

    def read(
        self, guests: Sequence[Guest], groups: int, deadline: float
    ) -> tuple[list[Row], list[Missing]]:
        """Read the groups of all guests before `deadline` (CLOCK_MONOTONIC).

        A guest that vanished, stopped or was started anew since it was listed is in neither list.

        Returns:
            The rows, and the guests that gave nothing or only a part.

        Raises:
            Unavailable: no guest can be read.
        """
        self._known.begin(guests, time.monotonic())
        reading = Reading(self._lines, self._known, guests, groups, deadline)
        try:
            found = reading.run()
        finally:
            present = {guest.uuid for guest in guests}
            self._lines.tidy(present, suspects=bool(self._known.quarantine))
        self._tell(slow=reading.slow)
        return found

    def close(self) -> None:
        """Let go of the connections; never blocks."""
        self._lines.close()

    def _tell(self, *, slow: bool) -> None:
        if slow and not self._slow:
            LOG.warning("libvirt at %s is slow to answer, and no guest is the cause", self.uri)
        elif self._slow and not slow:
            LOG.info("libvirt at %s answers as usual again", self.uri)
        self._slow = slow
