# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent config show``: what is in force, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import click
from oslo_config.cfg import Locations

from ceilo_agent import options
from ceilo_agent.cli.config.faults import tell
from ceilo_agent.cli.tables import show as table
from ceilo_agent.definition.in_force import load_both
from ceilo_agent.definition.matching import Matcher
from ceilo_agent.definition.pipeline import PipelineFile
from ceilo_agent.errors import ConfigError
from ceilo_agent.meters.catalogue import known

MASK: Final = "***"


@click.command("show")
@click.argument("file", required=False)
@click.pass_obj
def command(config_files: tuple[str, ...], file: str | None) -> int:
    """Show every option with its value and where that comes from, and what is polled into what.

    FILE is a pipeline file to look at in place of the one in force.
    """
    conf = options.parse(config_files, {"DEFAULT.pipeline_cfg_file": file})
    table(("option", "value", "from"), list(_options(conf)))
    try:
        found = load_both(conf)
    except ConfigError as error:
        return tell(error.faults)
    if found.polling is not found.pipeline:
        click.echo(f"\npolling file: {found.polling.path}")
    click.echo(f"\npipeline file: {found.pipeline.path}\n")
    table(("source", ">interval", ">meters", "sinks"), list(_sources(found.polling)))
    click.echo()
    table(("sink", "transformers", "publishers"), list(_sinks(found.pipeline)))
    return 0


def _options(conf: Any) -> Iterator[tuple[str, str, str]]:
    """Yield each option's name, value and origin."""
    values = options.values(conf)
    for group, declared in options.GROUPS.items():
        for option in declared:
            value = values[f"{group}.{option.dest}"]
            if isinstance(value, list):
                value = ",".join(map(str, value))
            shown = "" if value is None else str(value)
            if option.secret and shown:
                shown = MASK
            yield f"[{group}] {option.name}", shown, _origin(conf, group, option.dest)


def _origin(conf: Any, group: str, name: str) -> str:
    """Say where a value comes from."""
    location = conf.get_location(name, None if group == "DEFAULT" else group)
    if location is None:  # it has no value
        return "default"
    place, detail = location
    if place is Locations.user:
        return f"file:{detail}"
    if place is Locations.environment:
        return f"environment:{detail}"
    if place in {Locations.set_override, Locations.command_line}:
        return "command line"
    return "default"


def _sources(file: PipelineFile) -> Iterator[tuple[str, str, str, str]]:
    names = known()
    for source in file.sources:
        matcher = Matcher(source.meters)
        yield (
            source.name,
            "not polled" if source.interval is None else f"{source.interval} s",
            str(sum(map(matcher, names))),
            ", ".join(source.sinks) or "by meter",
        )


def _sinks(file: PipelineFile) -> Iterator[tuple[str, str, str]]:
    for sink in file.sinks:
        yield (
            sink.name,
            ", ".join(step.name for step in sink.transformers),
            ", ".join(publisher.name for publisher in sink.publishers),
        )
