# SPDX-License-Identifier: Apache-2.0
"""The meters of an operator's own dynamic pollsters, as the catalogues have the shipped ones."""

from __future__ import annotations

from collections.abc import Iterable

from ceilo_agent.definition.pollsters import PollsterDef
from ceilo_agent.meters.catalogue import DEFINED, Entry


def entries(pollsters: Iterable[PollsterDef]) -> list[Entry]:
    """Return an entry for each of them that an agent polls."""
    return [
        Entry(
            name=each.name,
            unit=each.unit,
            type=each.sample_type,
            kind=each.kind,
            description=each.description,
        )
        for each in pollsters
        if DEFINED in each.namespaces
    ]
