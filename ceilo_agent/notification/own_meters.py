# SPDX-License-Identifier: Apache-2.0
"""The notification agent's meters of itself: samples like any other, through its own pipeline.

They are in no source's batch: sources take them by their names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ceilo_agent.meters.catalogue import catalogue
from ceilo_agent.sample import FIRST, Batch, Meter, Previous, Resource, Sample, SampleType, Volume

KIND: Final = "notification_agent"


class Figures(NamedTuple):
    """What one worker says of itself; counted since its start. None: it is not known.

    Attributes:
        backlog: messages that wait at the brokers for it.
        lag: how old the newest message was when it was accepted, seconds.
        messages: accepted or set aside.
        samples: accepted.
        repeated: messages that came once more.
        letters: messages that were set aside.
        waiting: samples that wait for its publishers now.
    """

    backlog: int | None
    lag: float | None
    messages: int
    samples: int
    repeated: int
    letters: int
    waiting: int


class OwnMeters:
    """Makes samples of figures, every so many seconds.

    Args:
        host: that it runs on.
        worker: its number.
        interval: seconds.
        figures: returns them as they are now.
        started: when the worker did, UTC seconds.
    """

    def __init__(
        self,
        host: str,
        worker: int | str,
        interval: float,
        figures: Callable[[], Figures],
        started: float,
    ) -> None:
        self._interval = interval
        self._figures = figures
        self._started = started
        self._resource = Resource(
            f"{host}-notification-{worker}", None, None, KIND, {"host": host, "worker": str(worker)}
        )
        entries = catalogue("notification").meters
        self._meters = {e.read: Meter(e.name, e.unit, e.type) for e in entries}
        self._due = float("-inf")
        self._last: tuple[float, Figures] | None = None

    def batch(self, now: float, clock: float) -> Batch | None:
        """Return a batch when it is time for one.

        Args:
            now: UTC seconds.
            clock: the same moment on CLOCK_BOOTTIME, seconds.
        """
        if clock < self._due:
            return None
        self._due = clock + self._interval
        figures = self._figures()
        last, self._last = self._last, (clock, figures)
        before = dict(zip(figures._fields, last[1], strict=True)) if last else {}
        elapsed = clock - last[0] if last else 0.0
        made = []
        for name, volume in zip(figures._fields, figures, strict=True):
            if volume is not None:
                pair = _previous(elapsed, before.get(name))
                made.append(self._sample(self._meters[name], now, volume, pair))
        return Batch(None, made)

    def _sample(
        self, meter: Meter, now: float, volume: Volume, previous: Previous | None
    ) -> Sample:
        started = self._started if meter.type is SampleType.CUMULATIVE else None
        return Sample(meter, self._resource, now, volume, previous or FIRST, started)


def _previous(elapsed: float, volume: Volume | None) -> Previous | None:
    return Previous(elapsed, volume) if volume is not None and elapsed > 0 else None
