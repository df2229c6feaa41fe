# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent config check``: all that is wrong with a pipeline file."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import click

from ceilo_agent import options
from ceilo_agent.cli.arguments import output_option
from ceilo_agent.cli.config.faults import FAULTY, tell
from ceilo_agent.cli.config.needs import unfit_share, unmet, unshared
from ceilo_agent.cli.config.pollsters import Pollsters, examined, summary
from ceilo_agent.cli.config.roles import chosen, role_option
from ceilo_agent.definition.bus import over_bus
from ceilo_agent.definition.matching import Matcher
from ceilo_agent.definition.pipeline import PipelineFile
from ceilo_agent.definition.roles import Role
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.pipeline.checking import Report, check, taken


@click.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@role_option
@output_option(
    "text", "json", about="json: a list of all faults and warnings on standard output, for editors."
)
@click.pass_obj
def command(config_files: tuple[str, ...], file: Path | None, role: str, output: str) -> int:
    """Tell everything that is wrong with FILE (default: what is in force).

    The exit code is 1 when there is a fault; a warning is none.
    """
    reports: list[Report] = []
    unfit: list[Fault] = []
    pollsters = Pollsters()
    try:
        if Role(role) is not Role.NOTIFICATION:
            conf = options.parse(config_files)
            pollsters = examined(conf)
            unfit = unfit_share(conf)
        for path, part in chosen(config_files, file, role):
            report = check(path, part, pollsters.names)
            reports.append(_with_needs(report, part, Role(role), config_files))
        faults = [fault for report in reports for fault in report.faults]
    except ConfigError as error:
        faults = error.faults
    faults = [*faults, *pollsters.faults, *unfit]
    warnings = [warning for report in reports for warning in report.warnings]
    warnings += pollsters.warnings
    if output == "json":
        _print_json(faults, warnings)
        return FAULTY if faults else 0
    tell(faults)
    tell(warning._replace(what=f"warning: {warning.what}") for warning in warnings)
    for report in reports:
        if report.file is not None and not report.faults:
            count = len(report.warnings)
            told = f", {count} warning{'' if count == 1 else 's'}" if count else ""
            said = _summary(report.file, pollsters.names)
            click.echo(f"{report.file.path}: {said}, no faults{told}")
    if told := summary(pollsters):
        click.echo(told)
    return FAULTY if faults else 0


def _with_needs(report: Report, role: Role, asked: Role, config_files: tuple[str, ...]) -> Report:
    """Add to what there is to say of a file what does not go with the agent's options.

    Raises:
        ConfigError: the options have faults.
    """
    if report.file is None or report.faults:
        return report
    file, conf = report.file, options.parse(config_files)
    if asked is Role.POLLING and conf.polling.output == "bus":
        file = over_bus(file, conf.polling.wire_format)
    elif role is Role.POLLING or not file.sinks:
        return report
    found = [unmet(file, conf)]
    # The file of the sinks of one that polls, too, is read as that of one that does not.
    if role is asked is Role.NOTIFICATION:
        found.append(unshared(file, conf))
    faults, warnings = (sorted(fault for each in found for fault in each[n]) for n in (0, 1))
    return report._replace(faults=faults, warnings=sorted([*report.warnings, *warnings]))


def _print_json(faults: list[Fault], warnings: list[Fault]) -> None:
    documents = [
        {**fault._asdict(), "severity": severity}
        for severity, those in (("error", faults), ("warning", warnings))
        for fault in those
    ]
    click.echo(json.dumps(documents, indent=2, ensure_ascii=False))


def _summary(file: PipelineFile, own: Collection[str]) -> str:
    """Count what a file has, and the meters that it takes, the operator's own among them."""
    meters = {meter.name for source in file.sources for meter in taken(source)}
    matchers = [Matcher(source.meters) for source in file.sources]
    meters |= {name for name in own if any(takes(name) for takes in matchers)}
    counts = (("source", len(file.sources)), ("sink", len(file.sinks)), ("meter", len(meters)))
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts)
