# SPDX-License-Identifier: Apache-2.0
"""Samples as one JSON list on standard output, a sample a line."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from ceilo_agent.publishers.rendering import json_lines
from ceilo_agent.sample import Sample


def write(samples: Iterable[Sample]) -> None:
    """Write the list as it comes, `[]` for none."""
    before = "[\n"
    for line in json_lines(samples):
        sys.stdout.write(before + line.decode().rstrip("\n"))
        before = ",\n"
    sys.stdout.write("\n]\n" if before != "[\n" else "[]\n")
