# SPDX-License-Identifier: Apache-2.0
"""`ceilo-agent query`: what the embedded store holds, as a table, JSON or a plot."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import click

from ceilo_agent import options
from ceilo_agent.cli import documents
from ceilo_agent.cli.arguments import duration, output_option
from ceilo_agent.cli.plots import draw, figure
from ceilo_agent.cli.tables import show
from ceilo_agent.errors import nearest
from ceilo_agent.publishers.rendering import printable
from ceilo_agent.sample import Meter, Sample, SampleType, isotime
from ceilo_agent.store.reader import Reader, Series

NOTHING = 1
"""The exit code when nothing was found."""


@click.command("query")
@click.argument("meter", required=False)
@click.option("--resource", metavar="ID", help="Only this resource.")
@click.option(
    "--last",
    "window",
    type=duration,
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="How far to look back: 30s, 5m, 2h, 7d.",
)
@output_option("table", "json", "plot", about="How to print the samples.")
@click.option("--store", metavar="PATH", help="The store's file, instead of [store] path.")
@click.pass_context
def command(
    ctx: click.Context,
    meter: str | None,
    resource: str | None,
    window: float,
    output: str,
    store: str | None,
) -> None:
    """Show samples of METER, a name or a glob such as 'disk.device.*'; without it list the meters.

    Counters (cumulative meters) come with their rate per second. The exit code is 1 when nothing
    was found.
    """
    if meter is None and output == "plot":
        raise click.UsageError("a plot needs a METER")
    path = Path(store) if store else options.store_path(options.parse(ctx.obj or ()))
    reader = Reader(path)
    series = reader.series(meter, resource)
    if not series:
        print(_nothing(reader, meter, resource), file=sys.stderr)
        ctx.exit(NOTHING)
    if meter is None:
        _list(series, output)
        return
    since = time.time() - window
    if max(one.last for one in series) < since:
        newest = isotime(max(one.last for one in series))
        print(f"no samples in this time; the newest is of {newest} (see --last)", file=sys.stderr)
        if output == "json":
            print("[]")
        ctx.exit(NOTHING)
    samples = reader.samples(meter, resource, since)
    if output == "json":
        documents.write(samples)
    elif output == "plot":
        _plot(samples)
    else:
        _table(samples, series)


def _nothing(reader: Reader, meter: str | None, resource: str | None) -> str:
    """Say why nothing was found, with the nearest name."""
    everything = reader.series()
    if not everything:
        return f"the metric store {reader.path} holds no samples yet"
    meters = {one.meter.name for one in everything}
    resources = {one.resource.id for one in everything}
    if resource is not None and resource not in resources:
        what = f"no resource '{printable(resource)}'"
        hint = nearest(resource, resources) or "`ceilo-agent query METER` shows the resources"
    elif meter is not None and not reader.series(meter):
        what, hint = f"no meter '{printable(meter)}'", nearest(meter, meters)
    else:
        what = f"no meter '{printable(meter or '')}' of resource '{printable(resource or '')}'"
        hint = ""
    return f"{what} in {reader.path} ({hint or '`ceilo-agent query` lists the meters'})"


# -- the list of meters --------------------------------------------------------------------------


def _list(series: Sequence[Series], output: str) -> None:
    by_meter = defaultdict(list)
    for one in series:
        by_meter[one.meter].append(one)
    rows = [
        {
            "name": meter.name,
            "unit": meter.unit,
            "type": meter.type.value,
            "resources": len(those),
            "last": isotime(max(one.last for one in those)),
        }
        for meter, those in by_meter.items()
    ]
    if output == "json":
        import msgspec  # noqa: PLC0415

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows)).decode() + "\n")
        return
    show(
        ("meter", "unit", "type", ">resources", "last"),
        [tuple(printable(str(cell)) for cell in row.values()) for row in rows],
    )


# -- samples -------------------------------------------------------------------------------------


def _table(samples: Iterable[Sample], series: Sequence[Series]) -> None:
    if sys.stdout.isatty():
        for title, rows in _by_series(samples):
            counter = rows[0][0].meter.type is SampleType.CUMULATIVE
            print(title)
            show(
                ("time (UTC)", ">volume", ">rate/s")[: 3 if counter else 2],
                [
                    (isotime(sample.time)[:19], str(sample.volume), _rate(rate))[
                        : 3 if counter else 2
                    ]
                    for sample, rate in rows
                ],
            )
            print()
        return
    # A pipe gets one table, line by line, however long it is.
    resource = max(len(one.resource.id) for one in series)
    meter = max(len(one.meter.name) for one in series)
    unit = max(len(one.meter.unit) for one in series)
    form = f"{{:<32}}  {{:<{resource}}}  {{:<{meter}}}  {{:>20}}  {{:<{unit}}}  {{:>12}}"
    print(form.format("time", "resource", "meter", "volume", "unit", "rate/s").rstrip())
    for sample, rate in _with_rates(samples):
        cells = (
            isotime(sample.time),
            printable(sample.resource.id),
            printable(sample.meter.name),
            sample.volume,
            printable(sample.meter.unit),
            _rate(rate),
        )
        print(form.format(*cells).rstrip())


def _plot(samples: Iterable[Sample]) -> None:
    for title, rows in _by_series(samples):
        counter = rows[0][0].meter.type is SampleType.CUMULATIVE
        points = [
            (sample.time, float(value))
            for sample, rate in rows
            if (value := rate if counter else sample.volume) is not None
        ]
        print(f"{title}{', rate per second' if counter else ''}")
        if not points:
            print("  one reading gives no rate\n")
            continue
        for line in draw(points, from_zero=counter):
            print(line)
        values = [value for _, value in points]
        print(
            f"min {figure(min(values))}  max {figure(max(values))}  last {figure(values[-1])}   "
            f"{isotime(points[0][0])[:19]} to {isotime(points[-1][0])[11:19]} UTC\n"
        )


def _by_series(
    samples: Iterable[Sample],
) -> Iterator[tuple[str, list[tuple[Sample, float | None]]]]:
    """Yield a title and the samples, with rates, of every series."""
    for _, those in groupby(samples, key=_series_of):
        rows = list(_with_rates(those))
        meter, resource = rows[0][0].meter, rows[0][0].resource
        name = resource.metadata.get("display_name") or ""
        title = f"{meter.name} [{meter.unit}]  {resource.id}  {name}".rstrip()
        yield printable(title), rows


def _series_of(sample: Sample) -> tuple[Meter, str]:
    return sample.meter, sample.resource.id


def _with_rates(samples: Iterable[Sample]) -> Iterator[tuple[Sample, float | None]]:
    """Yield samples, series by series, with what a counter gained per second since the last one."""
    before: Sample | None = None
    for sample in samples:
        rate = None
        if (
            before is not None
            and sample.meter.type is SampleType.CUMULATIVE
            and _series_of(before) == _series_of(sample)
            # A counter that fell began anew in between.
            and sample.volume >= before.volume
        ):
            rate = (sample.volume - before.volume) / (sample.time - before.time)
        yield sample, rate
        before = sample


def _rate(rate: float | None) -> str:
    return "-" if rate is None else figure(rate).replace(",", "")
