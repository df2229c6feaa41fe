# SPDX-License-Identifier: Apache-2.0
"""`ceilo-agent poll --once`: read everything once, show it, exit."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from ceilo_agent import options
from ceilo_agent.cli import documents, logs
from ceilo_agent.cli.arguments import output_option, words
from ceilo_agent.cli.leave import leave
from ceilo_agent.cli.tables import show
from ceilo_agent.cli.trial import NOTHING, Trial
from ceilo_agent.errors import nearest
from ceilo_agent.publishers.rendering import printable
from ceilo_agent.sample import Batch, Sample, isotime

ONCE: Final = 20.0
"""The interval to poll as if by: it gives each call the longest deadline there is."""


@click.command("poll")
@click.option("--once", is_flag=True, default=True, help="Poll one time (the only way there is).")
@click.option(
    "--namespaces",
    type=words,
    metavar="NAME,...",
    help="What to poll: compute, host, central.",
)
@click.option("--meter", "meters", multiple=True, metavar="PATTERN", help="Only these meters.")
@click.option(
    "--pollster",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Poll by the definitions of this file alone, and show each step.",
)
@click.option(
    "--resource",
    "resources",
    multiple=True,
    metavar="URL",
    help="With --pollster: a base URL to poll.",
)
@output_option("table", "json", about="How to print the samples.")
@click.pass_obj
def command(
    config_files: tuple[str, ...],
    once: bool,  # noqa: ARG001
    namespaces: list[str] | None,
    meters: tuple[str, ...],
    pollster: str | None,
    resources: tuple[str, ...],
    output: str,
) -> int:
    """Poll once, print the samples, exit.

    The exit code is 1 when something could not be read; the reason is on standard error.
    """
    trial = None
    if pollster is not None or resources:
        trial = Trial(pollster, resources, namespaces, sys.stderr if output == "json" else None)
        namespaces = ["central"]
    conf = options.parse(config_files, {"polling.namespaces": namespaces})
    logs.setup(conf, logging.WARNING)
    if trial is None:
        _check_meters(meters, conf)
    samples, whole = _poll(conf, meters or ("*",), trial)
    if output == "json":
        documents.write(samples)
    else:
        _table(samples)
    sys.stdout.flush()
    if whole and not samples:
        click.echo(trial.why_nothing() if trial else NOTHING, err=True)
    return leave(0 if samples and whole else 1, ended=whole)


def _check_meters(patterns: Sequence[str], conf: Any) -> None:
    from ceilo_agent.cli.configuration import directories  # noqa: PLC0415
    from ceilo_agent.definition.matching import Matcher  # noqa: PLC0415
    from ceilo_agent.meters.catalogue import known  # noqa: PLC0415 - not for `--help`
    from ceilo_agent.meters.elsewhere import elsewhere  # noqa: PLC0415

    meters = set(known()) if patterns else set()
    if patterns and "central" in conf.polling.namespaces:
        from ceilo_agent.definition.pollsters import load_dirs  # noqa: PLC0415

        meters |= {each.name for each in load_dirs(directories(conf), shipped=False)}
    for pattern in patterns:
        if not any(map(Matcher([pattern]), meters)):
            hint = elsewhere(pattern) or nearest(pattern, meters)
            what = f"no meter matches '{pattern}'" + (f" ({hint})" if hint else "")
            raise click.BadParameter(what, param_hint="--meter")


def _poll(
    conf: Any, patterns: Sequence[str], trial: Trial | None = None
) -> tuple[list[Sample], bool]:
    """Return the samples, and whether nothing was missing."""
    from ceilo_agent.cli.configuration import context as context_of  # noqa: PLC0415
    from ceilo_agent.definition.matching import Matcher  # noqa: PLC0415
    from ceilo_agent.polling.making import Making, Selected  # noqa: PLC0415

    if "compute" in conf.polling.namespaces:
        from ceilo_agent.cli.hypervisor import settle  # noqa: PLC0415

        settle(conf)
    batches: list[Batch] = []
    context = context_of(conf)
    source = Selected("poll", ONCE, Matcher(patterns))
    if trial is not None:
        context = trial.context(context)
        source = source._replace(resources=trial.resources)
    made = Making(context, batches.append).plan(conf.polling.namespaces, [source]).fresh
    for lane in made:
        if trial is not None:
            trial.watch(lane.inspector)
        lane.poll_all()
        lane.close()
    whole = all(lane.whole for lane in made)
    return [sample for batch in batches for sample in batch.samples], whole


def _table(samples: Sequence[Sample]) -> None:
    rows = [
        (
            isotime(sample.time),
            printable(str(sample.resource.metadata.get("display_name", ""))),
            printable(sample.resource.id),
            sample.meter.name,
            str(sample.volume),
            sample.meter.unit,
        )
        for sample in samples
    ]
    show(("time", "name", "resource", "meter", ">volume", "unit"), rows)
