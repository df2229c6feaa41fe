# SPDX-License-Identifier: Apache-2.0
"""``remote-write://host:port[/path]`` writes to Prometheus, or to what takes its remote write.

The protocol is `version 1.0 <https://prometheus.io/docs/specs/prw/remote_write_spec/>`_, which
Prometheus (started with ``--web.enable-remote-write-receiver``), Mimir, Thanos and VictoriaMetrics
take. The path is ``/api/v1/write`` without one in the URL; ``ssl: true`` makes it ``https``.

Names, labels and units are those of :doc:`prometheus`, but for delta meters, which are gauges here:
every value arrives, so that ``sum_over_time`` adds them up. All series get the labels ``job`` and
``instance``. Values stand at the time when they were read, to the millisecond.

A request holds one value of each series at most, in order of time. Where the receiver refuses one,
it is found by splitting; the others arrive, and the refused ones are set aside with its reason.
What a receiver takes is its own setting. Prometheus refuses a value that is older than the last of
its series, and one that is an hour older than the last of any series: after an outage the backlog
of one agent may be too old by what another has written. So let it take values that are out of
order, for as long as it may be away (``out_of_order_time_window``, below). With that a value that
is sent again after the agent was killed is taken, too, and stored once. Without it such a value is
refused, stored once all the same, and stands among those set aside.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, ClassVar, Final
from urllib.parse import SplitResult

import msgspec

from ceilo_agent.errors import Misfit, Permanent, Retryable
from ceilo_agent.plugins import Context, Promise
from ceilo_agent.publishers.prometheus.labels import OF_INFOS, RESERVED, Labels, clean
from ceilo_agent.publishers.prometheus.naming import PREFIX, Family, Names
from ceilo_agent.publishers.prometheus.wire import HEADERS, Write, encode
from ceilo_agent.publishers.prometheus.writes import Point, Translation
from ceilo_agent.publishers.web_options import WebOptions
from ceilo_agent.publishers.web_publisher import WebPublisher
from ceilo_agent.sample import Sample

PATH: Final = "/api/v1/write"

_TOO_OLD: Final = re.compile("out of bounds|too old|too far in the past", re.IGNORECASE)
"""What receivers say of a value that is older than they take of any series."""


class RemoteWriteOptions(WebOptions, kw_only=True, forbid_unknown_fields=True):
    """What ``remote-write://...?...`` takes."""

    ssl: Annotated[bool, msgspec.Meta(description="Whether it speaks TLS (``https``).")] = False
    prefix: Annotated[
        Annotated[str, msgspec.Meta(pattern="^([a-zA-Z_][a-zA-Z0-9_]*)?$")],
        msgspec.Meta(description="What the names of all metrics begin with."),
    ] = PREFIX
    job: Annotated[str, msgspec.Meta(description="The label ``job``; empty: none.")] = "ceilo_agent"
    instance: Annotated[
        str | None,
        msgspec.Meta(
            description="The label ``instance``; empty: none; without it ``[DEFAULT] host``."
        ),
    ] = None
    labels: Annotated[
        dict[str, str], msgspec.Meta(description="More labels for all series, by name.")
    ] = {}  # noqa: RUF012 - msgspec gives each instance its own

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.labels:
            if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) or name.startswith("__"):
                raise Misfit(f"option 'labels': '{name}' is no name of a label", "labels", name)
            if name in RESERVED | OF_INFOS:
                what = f"option 'labels': series have a label '{name}' of their own"
                raise Misfit(what, "labels", name)


class RemoteWrite(WebPublisher):
    """A receiver of remote write."""

    promises: ClassVar[frozenset[Promise]] = frozenset(
        {Promise.IDEMPOTENT, Promise.ORDERED, Promise.DURABLE, Promise.ACKED}
    )
    Options: ClassVar[type[msgspec.Struct]] = RemoteWriteOptions
    example: ClassVar[str] = f"prometheus:9090{PATH}"

    def __init__(self, url: SplitResult, options: RemoteWriteOptions, context: Context) -> None:
        super().__init__(url, options, context)
        instance = context.host if options.instance is None else options.instance
        labels = {**options.labels, "job": options.job, "instance": instance}
        self._translation = Translation(
            Names(options.prefix, adds=False),
            tuple((name, clean(value)) for name, value in labels.items() if value),
        )
        self._told: set[Family] = set()
        self._taken: set[Write] = set()
        self._taken_before: set[Write] = set()

    def target(self) -> SplitResult:
        """Return the URL that requests go to."""
        scheme = "https" if self.options.ssl else "http"
        path = self.url.path if self.url.path not in {"", "/"} else PATH
        return SplitResult(scheme, self.url.netloc, path, "", "")

    def push(self, samples: Sequence[Sample]) -> None:
        """Write the samples.

        Raises:
            Retryable: the receiver is away, or not ready.
            Permanent: it refuses some of the samples for ever; the others are there.
        """
        points, refused = self._translation.points(samples)
        for part in _rounds(points):
            self._deliver(part, refused)
        # Only now: until here the same batch may come again.
        self._taken_before, self._taken = self._taken, set()
        self._translation.written()
        if refused:
            index, reason = min(refused.items())
            meter = samples[index].meter.name
            what = f"{len(refused)} of {len(samples)} samples refused, {meter}: {reason}"
            raise Permanent(what, refused)

    def _deliver(self, points: Sequence[Point], refused: dict[int, str]) -> None:
        """Write values of different series, in order of time; note those that are refused.

        Raises:
            Retryable: not all have been written.
        """
        points = [point for point in points if not self._is_taken(point.write)]
        if not points:
            return
        fault = self._try(points)
        if fault is None:
            return
        *older, newest = points
        if not older:
            _refuse(points, str(fault), refused)
        elif _TOO_OLD.search(str(fault)):
            # If even the newest is too old, all are; a backlog of a day is not split to the end.
            fault = self._try([newest])
            if fault is None:
                self._halves(older, refused)
            elif _TOO_OLD.search(str(fault)):
                _refuse(points, str(fault), refused)
            else:
                _refuse([newest], str(fault), refused)
                self._halves(older, refused)
        else:
            self._halves(points, refused)

    def _halves(self, points: Sequence[Point], refused: dict[int, str]) -> None:
        middle = len(points) // 2
        for part in (points[:middle], points[middle:]):
            self._deliver(part, refused)

    def _try(self, points: Sequence[Point]) -> Permanent | None:
        """Write values; return why the receiver will never take them all, None if it did.

        Raises:
            Retryable: not now.
        """
        families = {point.family for point in points if point.family is not None} - self._told
        try:
            self.web.post(encode((point.write for point in points), families), HEADERS)
        except Permanent as error:
            return error
        except Retryable as error:
            if "too old sample" in str(error):
                # Prometheus until 2.44 says 500 to what it will never take.
                return Permanent(str(error))
            raise
        self._told |= families
        self._taken.update(point.write for point in points)
        return None

    def _is_taken(self, write: Write) -> bool:
        return write in self._taken or write in self._taken_before


def _rounds(points: Iterable[Point]) -> Iterator[Sequence[Point]]:
    """Yield parts with one value of each series, the oldest of each first.

    Of two values of a series in one request Prometheus drops the one that is out of order without
    a word, and a request whose answer was lost could not be sent again: all but the last of a
    series would be out of order.
    """
    series: dict[Labels, list[Point]] = {}
    for point in points:
        series.setdefault(point.write.labels, []).append(point)
    for same in series.values():
        same.sort(key=_time)
    for number in range(max(map(len, series.values()), default=0)):
        part = [same[number] for same in series.values() if number < len(same)]
        yield sorted(part, key=_time)


def _time(point: Point) -> int:
    return point.write.time


def _refuse(points: Iterable[Point], reason: str, refused: dict[int, str]) -> None:
    for point in points:
        if point.sample is not None:
            refused[point.sample] = reason
