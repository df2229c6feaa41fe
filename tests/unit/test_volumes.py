# SPDX-License-Identifier: Apache-2.0
"""What counts as a number."""

import math

import pytest

from ceilo_agent.volumes import fit, is_volume


@pytest.mark.parametrize("value", [0, -1, 1.5, -0.0, 2**64 - 1, -(2**63), 1e308])
def test_numbers(value):
    assert is_volume(value)
    assert fit(value) is value


@pytest.mark.parametrize("value", [None, "1", True, math.nan, math.inf, -math.inf, 1j, [1]])
def test_what_is_no_number(value):
    assert not is_volume(value)
    assert fit(value) is None


def test_integers_beyond_64_bits_become_floats_as_long_as_those_reach():
    assert not is_volume(2**64)
    assert (fit(2**64), type(fit(2**64))) == (2.0**64, float)
    assert fit(-(2**63) - 1) == -(2.0**63)
    assert fit(10**400) is None
