# SPDX-License-Identifier: Apache-2.0
"""What one target gave."""

from __future__ import annotations

from typing import Final

import msgspec

from ceilo_agent.inspection.api.crew import Outcome
from ceilo_agent.plugins import Missing, Observation, Target

MOST_REASONS: Final = 3
"""That are told of one target."""


class Reading(msgspec.Struct, eq=False):
    """What was read of a target so far.

    Attributes:
        target: which one.
        observations: of it.
        reasons: why there are not more, each once, in order.
        outcome: as far as its endpoint goes.
    """

    target: Target
    observations: list[Observation] = []
    reasons: dict[str, None] = {}
    outcome: Outcome = Outcome.DONE

    def lacks(self, reason: str) -> None:
        """Take note of why something is missing; texts that differ by entry do not belong here."""
        self.reasons[reason] = None

    @property
    def missing(self) -> Missing | None:
        """What the target lacks, None for nothing."""
        if not self.reasons:
            return None
        told = list(self.reasons)
        text = "; ".join(told[:MOST_REASONS])
        if len(told) > MOST_REASONS:
            text += "; and more"
        return Missing(self.target.id, self.target.id, text, partial=bool(self.observations))
