# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent config graph``: a pipeline file as a picture."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from ceilo_agent.cli.arguments import output_option
from ceilo_agent.cli.config.drawing import ASCII, BOX, WIDTH, drawing
from ceilo_agent.cli.config.faults import tell
from ceilo_agent.cli.config.roles import chosen, role_option
from ceilo_agent.errors import ConfigError
from ceilo_agent.pipeline.checking import check
from ceilo_agent.pipeline.graph import draw
from ceilo_agent.pipeline.mermaid import mermaid


@click.command("graph")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@role_option
@output_option("text", "mermaid", about="mermaid: a flowchart for pages that draw it.")
@click.pass_obj
def command(config_files: tuple[str, ...], file: Path | None, role: str, output: str) -> int:
    """Draw FILE (default: what is in force): sources, sinks with their transformers, publishers.

    The exit code is 1 when the file has a fault; it is not drawn then.
    """
    try:
        reports = [check(path, part) for path, part in chosen(config_files, file, role)]
    except ConfigError as error:
        return tell(error.faults)
    if faults := [fault for report in reports for fault in report.faults]:
        return tell(faults)
    *polling, report = reports
    graph = draw(report, *polling)
    encoding = sys.stdout.encoding or "ascii"
    style = BOX if _can("".join(BOX), encoding) else ASCII
    text = mermaid(graph) if output == "mermaid" else drawing(graph, style, _width())
    # Names may hold what the terminal cannot show.
    click.echo(text.encode(encoding, "replace").decode(encoding), nl=False)
    return 0


def _width() -> int:
    """Return the cells of a line: those of the terminal, or what the environment says."""
    if sys.stdout.isatty():
        return shutil.get_terminal_size((WIDTH, 24)).columns
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isascii() and columns.isdecimal() and int(columns) else WIDTH


def _can(text: str, encoding: str) -> bool:
    """Return whether an encoding has all characters of a text."""
    return text.encode(encoding, "replace").decode(encoding) == text
