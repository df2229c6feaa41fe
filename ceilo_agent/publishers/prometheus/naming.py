# SPDX-License-Identifier: Apache-2.0
"""What a meter is called in Prometheus, and in which unit it stands there.

The rules are those of https://prometheus.io/docs/practices/naming/: a prefix, words joined by
``_``, the base unit (seconds, bytes, ratios from 0 to 1) at the end, ``_total`` after that for a
counter. Counts of things have no unit in their name.
"""

from __future__ import annotations

import functools
import logging
import math
import re
import zlib
from typing import Final, NamedTuple

import msgspec

from ceilo_agent.meters import Entry, catalogue
from ceilo_agent.meters.catalogue import NAMESPACES
from ceilo_agent.publishers.rendering import printable
from ceilo_agent.sample import Meter, SampleType, Volume

LOG = logging.getLogger(__name__)

PREFIX: Final = "ceilo_"

INSTANCE, HOST, RESOURCE = "instance", "host", "resource"
INFOS: Final = (INSTANCE, HOST, RESOURCE)
"""What the series with metadata are called, between the prefix and ``_info``."""

COUNTERS: Final = frozenset(
    (
        *(f"hardware.cpu.{mode}" for mode in
          ("user", "nice", "system", "kernel", "idle", "wait", "interrupt")),
        *(f"hardware.disk.{way}.{what}"
          for way in ("read", "write") for what in ("bytes", "requests")),
        "perf.cpu.cycles", "perf.instructions", "perf.cache.references", "perf.cache.misses",
    )
)  # fmt: skip
"""Meters that Ceilometer calls gauges, so that the agent does, and that only grow."""


class Unit(NamedTuple):
    """A unit in terms of its base unit: ``volume * up / down``.

    Attributes:
        words: of the base unit, at the end of a name.
        up, down: whole numbers, so that whole volumes are converted without an error of rounding
            but the last.
    """

    words: tuple[str, ...]
    up: int = 1
    down: int = 1


def _units() -> dict[str, Unit]:
    seconds = {"s": 1, "ms": 10**3, "us": 10**6, "µs": 10**6, "ns": 10**9}
    # USER_HZ, the tick that Linux counts CPU time for programs in, is 1/100 s (time(7)).
    found = {unit: Unit(("seconds",), 1, down) for unit, down in {**seconds, "tick": 100}.items()}
    # OpenStack writes MB and GB and means powers of 2.
    sizes = {"B": 1}
    for power, letter in enumerate("KMGTP", 1):
        sizes |= {f"{letter}B": 1024**power, f"{letter}iB": 1024**power}
    found |= {unit: Unit(("bytes",), up) for unit, up in sizes.items()}
    bits = {"bit": 1, "kbit": 10**3, "Kbit": 10**3, "Mbit": 10**6, "Gbit": 10**9}
    found |= {unit: Unit(("bytes",), up, 8) for unit, up in bits.items()}
    found |= {
        f"{unit}/s": Unit((*base.words, "per", "second"), base.up, base.down)
        for unit, base in found.items()
        if base.words == ("bytes",)
    }
    # A second of something in each second is a share.
    found |= {f"{unit}/s": Unit(("ratio",), 1, down) for unit, down in seconds.items()}
    return found | {
        "%": Unit(("ratio",), 1, 100),
        "percent": Unit(("ratio",), 1, 100),
        "C": Unit(("celsius",)),
        "W": Unit(("watts",)),
        "J": Unit(("joules",)),
        "kWh": Unit(("joules",), 3_600_000),
        "V": Unit(("volts",)),
        "A": Unit(("amperes",)),
        "Hz": Unit(("hertz",)),
        "MHz": Unit(("hertz",), 10**6),
    }


UNITS: Final = _units()
"""By the units of meters; any other one counts things."""

_PER_SECOND: Final = Unit(("per", "second"))
_OF_ITSELF: Final = Unit(())

_ALIKE: Final = {"ratio": "percent"}
"""What a name may say in place of its unit."""

_RESERVED: Final = frozenset(("total", "count", "sum", "bucket", "info", "created"))
"""Last words that mean something else in Prometheus than a gauge's name does."""


class Family(NamedTuple):
    """A metric: all series of one name.

    Attributes:
        base: the name without ``_total``; no two metrics share one.
        counter: whether it only grows, between restarts; else it is a gauge.
        help: one line of meaning.
        unit: how volumes are converted.
        adds: whether its value is the sum of the volumes.
    """

    base: str
    counter: bool
    help: str
    unit: Unit
    adds: bool = False

    @property
    def name(self) -> str:
        """The name of its series."""
        return f"{self.base}_total" if self.counter else self.base

    def value(self, volume: Volume) -> float:
        """Return a volume in the base unit.

        Raises:
            OverflowError: it is beyond what a double can hold.
        """
        if self.unit.up == self.unit.down:
            return float(volume)
        value = volume * self.unit.up / self.unit.down
        if not math.isfinite(value):
            raise OverflowError
        return value


class Names:
    """Finds the metric of each meter; no two meters share one.

    The meters of the agent have their names in any case. Of others that come to one name the first
    keeps it, and the next ones are told and get a name of their own.

    Args:
        prefix: what all names begin with.
        adds: whether the volumes of delta meters are added up to a counter; else they are gauges.
    """

    def __init__(self, prefix: str = PREFIX, *, adds: bool) -> None:
        self._prefix = prefix
        self._adds = adds
        self._found: dict[Meter, Family] = {}
        self._owners: dict[str, Meter | None] = {
            self.info(kind) + end: None for kind in INFOS for end in ("", "_info")
        }
        for entry in _known().values():
            meter = Meter(entry.name, entry.unit, entry.type)
            self._owners[self._family(meter).base] = meter

    def info(self, kind: str) -> str:
        """Return the name of the series with metadata of a kind, without ``_info``."""
        return self._prefix + kind

    def family(self, meter: Meter) -> Family:
        """Return the metric of a meter."""
        found = self._found.get(meter)
        if found is None:
            found = self._found[meter] = self._apart(meter, self._family(meter))
        return found

    def _family(self, meter: Meter) -> Family:
        adds = meter.type is SampleType.DELTA and self._adds
        counter = adds or meter.type is SampleType.CUMULATIVE or meter.name in COUNTERS
        unit = UNITS.get(meter.unit)
        words = [word for word in re.split("[^a-zA-Z0-9]+", meter.name) if word] or ["meter"]
        if meter.unit.endswith("/s") and words[-1] == "rate" and len(words) > 1:
            words.pop()
        if unit is None:
            unit = _PER_SECOND if meter.unit.endswith("/s") else _OF_ITSELF
        words = _with_unit(words, unit, counter=counter)
        base = self._prefix + "_".join(words)
        if base[0].isdigit():
            base = f"_{base}"
        return Family(base, counter, _help(meter, adds=adds), unit, adds)

    def _apart(self, meter: Meter, family: Family) -> Family:
        owner = self._owners.setdefault(family.base, meter)
        if owner == meter:
            return family
        mark = zlib.crc32("\0".join(msgspec.structs.astuple(meter)).encode("utf-8", "replace"))
        apart = family._replace(base=f"{family.base}_{mark:08x}")
        LOG.warning(
            "the meter %s would have the name %s in Prometheus, as %s has: it is called %s there",
            _shown(meter),
            family.name,
            "the metadata" if owner is None else f"the meter {_shown(owner)}",
            apart.name,
        )
        return apart


def _shown(meter: Meter) -> str:
    return f"'{printable(meter.name)}' ({meter.type.value}, unit '{printable(meter.unit)}')"


def _with_unit(words: list[str], unit: Unit, *, counter: bool) -> list[str]:
    """Return the words of a name with those of the unit at their end, once."""
    if counter and words[-1] == "total" and len(words) > 1:
        words = words[:-1]
    if unit.words and len(words) > 1:
        said = {unit.words[0], _ALIKE.get(unit.words[0])}
        places = [place for place, word in enumerate(words) if word in said]
        if places:
            words = [word for place, word in enumerate(words) if place != places[-1]]
    words = [*words, *unit.words]
    if counter or words[-1] not in _RESERVED or len(words) == 1:
        return words
    *first, thing, last = words
    if last == "count":
        return [*first, thing if thing.endswith("s") else f"{thing}s"]
    return [*first, last, thing]


def _help(meter: Meter, *, adds: bool) -> str:
    entry = _known().get(meter.name)
    parts = [entry.description.strip()] if entry else []
    if adds:
        parts.append("Added up since the series began.")
    unit = f" in {meter.unit}" if meter.unit else ""
    return " ".join([*parts, f"(meter {meter.name}{unit})"])


@functools.cache
def _known() -> dict[str, Entry]:
    return {entry.name: entry for each in NAMESPACES for entry in catalogue(each).meters}
