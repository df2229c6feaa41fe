# SPDX-License-Identifier: Apache-2.0
"""Fuzzing in short, with every run of the tests, and in full under the mark `long`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings


def twice(
    body: Callable[..., None],
    *drawn: Any,
    short: int,
    long: int,
    examples: Sequence[tuple[Any, ...]] = (),
) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return two tests of one body.

    Args:
        body: takes fixtures, then what is drawn.
        drawn: strategies, for its last parameters.
        short: how many examples each run of the tests has.
        long: how many under the mark `long`.
        examples: tried before any is drawn.
    """

    def made(count: int) -> Callable[..., None]:
        test = given(*drawn)(body)
        for each in examples:
            test = example(*each)(test)
        # Fixtures are paths and installed plugins: the same for all examples.
        return settings(
            deadline=None,
            max_examples=count,
            suppress_health_check=[HealthCheck.function_scoped_fixture],
        )(test)

    return made(short), pytest.mark.long(pytest.mark.timeout(3600)(made(long)))
