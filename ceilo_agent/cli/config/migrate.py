# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent config migrate``: Ceilometer's files into ours."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from ceilo_agent import plugins
from ceilo_agent.cli.config.faults import FAULTY, tell
from ceilo_agent.definition import document
from ceilo_agent.errors import ConfigError
from ceilo_agent.pipeline.migration.draft import Remark, Weight
from ceilo_agent.pipeline.migration.migrate import Misplaced, migrate
from ceilo_agent.shown import shown

_FILE = click.Path(path_type=Path)
_WEIGHTS: Final = {
    Weight.DECIDE: ("To be decided by hand:", "to decide"),
    Weight.MEANING: ("Changed meaning:", "changed meaning"),
    Weight.DONE: ("Done:", "done"),
}
"""Headings of the report, and the words of its last line."""


def _publisher(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    """Refuse a publisher that is not there either."""
    installed = plugins.names(plugins.PUBLISHER)
    if url is not None and url.partition("://")[0] not in installed:
        raise click.BadParameter(f"'{shown(url)}' is none; there are {', '.join(installed)}")
    return url


@click.command("migrate")
@click.argument("pipeline", type=_FILE)
@click.option("--polling", metavar="FILE", type=_FILE, help="The polling.yaml that belongs to it.")
@click.option(
    "--publisher",
    metavar="URL",
    callback=_publisher,
    help="Put this in the place of publishers that this version does not have.",
)
@click.option(
    "--output", metavar="FILE", type=_FILE, help="Write to this file and not to standard output."
)
@click.option("--force", is_flag=True, help="Overwrite the file that --output names.")
def command(
    pipeline: Path, polling: Path | None, publisher: str | None, output: Path | None, force: bool
) -> int:
    """Turn PIPELINE, a pipeline.yaml of Ceilometer's, into ours.

    What there is to decide, what means something else from then on and what was done is reported
    on standard error. The exit code is 1 when what comes out does not load.
    """
    if output is not None and output.exists() and not force:
        raise click.UsageError(f"{output} exists: --force overwrites it")
    for file in (pipeline, polling):
        if file is not None:
            document.read(file)  # to fail is wrong use, and no fault of what it says
    try:
        made = migrate(pipeline, polling, publisher, str(output or "stdout"))
    except Misplaced as error:
        raise click.ClickException(str(error)) from None
    except ConfigError as error:
        return tell(fault._replace(what=f"error: {fault.what}") for fault in error.faults)
    if not made.changed and not made.faults:
        click.echo(f"{pipeline}: needs no change", err=True)
    _report(made.remarks)
    if output is None:
        click.echo(made.text, nl=False)
    else:
        _write(output, made.text, pipeline)
    return FAULTY if made.faults else 0


def _report(remarks: Sequence[Remark]) -> None:
    """Tell of what is to decide first, and how much there is of each weight last."""
    counts = []
    for weight, (heading, words) in _WEIGHTS.items():
        found = [str(remark.fault) for remark in remarks if remark.weight is weight]
        if found:
            click.echo("\n".join([heading, *found, ""]), err=True)
        counts.append(f"{len(found)} {words}")
    if remarks:
        click.echo(", ".join(counts), err=True)


def _write(path: Path, text: str, like: Path) -> None:
    """Write a file whole or not at all, readable for those who can read another one."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.touch(mode=0o600)
        part.write_text(text, "utf-8", newline="")
        shutil.copymode(like, part)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise click.ClickException(f"{path}: cannot be written: {error.strerror}") from None
