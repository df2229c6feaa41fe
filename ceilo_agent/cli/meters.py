# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent meters``: every meter that an agent can poll."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Final

import click

from ceilo_agent.cli.arguments import output_option
from ceilo_agent.cli.tables import show
from ceilo_agent.errors import nearest
from ceilo_agent.meters.catalogue import NAMESPACES, catalogue
from ceilo_agent.meters.elsewhere import elsewhere

HEADER: Final = ("namespace", "name", "unit", "type", "description")
"""The columns of the table."""


def rows(namespace: str | None = None, pattern: str = "*") -> list[dict[str, str]]:
    """Return what there is to say of each meter, in the catalogues' order.

    Args:
        namespace: only the meters of this one; None: of all.
        pattern: only the meters whose name matches this glob.
    """
    return [
        {
            "name": entry.name,
            "unit": entry.unit,
            "type": entry.type.value,
            "namespace": each,
            "description": entry.description,
            "resource_type": entry.kind,
        }
        for each in ([namespace] if namespace else NAMESPACES)
        for entry in catalogue(each).meters
        if fnmatchcase(entry.name, pattern)
    ]


@click.command()
@output_option("table", "json", about="How to print them.")
@click.option("--namespace", type=click.Choice(NAMESPACES), help="Only the meters of this one.")
@click.argument("pattern", default="*")
def command(output: str, namespace: str | None, pattern: str) -> None:
    """List the meters whose name matches PATTERN (a glob, such as 'disk.*'; default: all)."""
    found = rows(namespace, pattern)
    if not found:
        hint = elsewhere(pattern) or nearest(pattern, [row["name"] for row in rows(namespace)])
        raise click.ClickException(f"no meter matches '{pattern}'" + (f" ({hint})" if hint else ""))
    if output == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        show(HEADER, [[row[column] for column in HEADER] for row in found])
