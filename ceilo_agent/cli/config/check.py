# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent config check``: all that is wrong with a pipeline file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ceilo_agent import options
from ceilo_agent.cli.config.faults import FAULTY
from ceilo_agent.definition.pipeline import PipelineFile, load, unknown_meters
from ceilo_agent.definition.places import find_pipeline_file
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.meters.catalogue import known
from ceilo_agent.pipeline.matching import Matcher


@click.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: a list of all faults on standard output, for editors.",
)
@click.pass_obj
def command(config_files: tuple[str, ...], file: Path | None, output: str) -> int:
    """Tell everything that is wrong with FILE (default: the pipeline file in force).

    The exit code is 1 when there is a fault; a warning is none.
    """
    found: PipelineFile | None = None
    faults: list[Fault] = []
    try:
        path = file or find_pipeline_file(options.parse(config_files))
        found = load(path)
        faults = unknown_meters(found, known())
    except ConfigError as error:
        faults = error.faults
    warnings = found.warnings if found else ()
    if output == "json":
        documents = [
            {**fault._asdict(), "severity": severity}
            for severity, those in (("error", faults), ("warning", warnings))
            for fault in those
        ]
        click.echo(json.dumps(documents, indent=2, ensure_ascii=False))
    else:
        for fault in faults:
            click.echo(str(fault), err=True)
        for warning in warnings:
            click.echo(str(warning._replace(what=f"warning: {warning.what}")), err=True)
        if found is not None and not faults:
            click.echo(f"{found.path}: {_summary(found)}, no faults")
    return FAULTY if faults else 0


def _summary(file: PipelineFile) -> str:
    matchers = [Matcher(source.meters) for source in file.sources]
    meters = sum(any(matcher(name) for matcher in matchers) for name in known())
    counts = (("source", len(file.sources)), ("sink", len(file.sinks)), ("meter", meters))
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts)
