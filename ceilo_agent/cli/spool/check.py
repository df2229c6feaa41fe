# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent spool check``: are the logs whole, and do their counters add up."""

from __future__ import annotations

from typing import Final

import click

from ceilo_agent.cli.arguments import spool_option
from ceilo_agent.cli.spool.chosen import Spool, is_left_over, spool
from ceilo_agent.delivery.audit import audit
from ceilo_agent.delivery.spool import Place, Reader, Unreadable

FINDINGS: Final = 1
"""The exit code: something is wrong, or left over."""


@click.command("check")
@spool_option
@click.pass_obj
def command(config_files: tuple[str, ...], spool_dir: str | None) -> int:
    """Look whether the logs are whole: the file, every row, the counters, what is left over.

    Nothing is changed. The exit code is 1 when there is a finding.
    """
    found = spool(config_files, spool_dir)
    if not found.places:
        click.echo(found.nothing)
    faulty = [place for place in found.places if _check(place, found)]
    return FINDINGS if faulty else 0


def _check(place: Place, found: Spool) -> bool:
    """Print what is found of one log; return whether there is a finding."""
    findings = [f"{path}: set aside since it was damaged" for path in place.damaged()]
    findings += [
        f"{path}: damaged; what of it is whole is not saved yet" for path in place.wounded()
    ]
    said = ""
    if place.file.exists():
        try:
            with Reader(place) as reader:
                result = audit(reader)
            findings += [f"{place.file}: {finding}" for finding in result.findings]
            said = f"{place.file}: {result.rows} rows, {result.samples} samples, whole"
        except Unreadable as error:
            findings.append(str(error))
    if is_left_over(place, found) and place.file.exists():
        findings.append(
            f"{place.directory}: its worker is gone; the next start goes on with what waits"
        )
    for finding in findings:
        click.echo(finding)
    if said and not findings:
        click.echo(said)
    return bool(findings)
