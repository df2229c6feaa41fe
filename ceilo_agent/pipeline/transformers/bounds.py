# SPDX-License-Identifier: Apache-2.0
"""The samples that a transformer can remember: with a volume and a date."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ceilo_agent.sample import Sample
from ceilo_agent.volumes import fit

YEAR_10000: Final = 253_402_300_800.0
"""Seconds since 1970; no date can be written from there on."""

NO_VOLUME: Final = "its volume is no number"
NO_TIME: Final = "its time is no date"
REPEATED: Final = "it came before"
TOO_LARGE: Final = "it makes a number that is too large"


def is_time(time: Any) -> bool:
    """Return whether a sample's time is a date of the years up to 9999."""
    return type(time) in (int, float) and -YEAR_10000 < time < YEAR_10000


def keepable(sample: Sample) -> Sample:
    """Return a sample, whose volume must `fit`, as one whose volume can be kept."""
    volume = fit(sample.volume)
    if volume is sample.volume:
        return sample
    assert volume is not None
    return msgspec.structs.replace(sample, volume=volume)
