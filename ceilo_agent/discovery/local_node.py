# SPDX-License-Identifier: Apache-2.0
"""The machine that the agent runs on."""

from __future__ import annotations

from ceilo_agent.plugins import Discovery, Listing, Target


class LocalNode(Discovery):
    """Finds one target, this host, under the name that the agent gives it."""

    def discover(self, deadline: float) -> Listing:  # noqa: ARG002 - nothing is asked
        """List this host."""
        return Listing([Target(self.context.host)])
