# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent upgrade``: what Gnocchi needs for the definition file, told and created."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ceilo_agent import options
from ceilo_agent.errors import ConfigError, DeliveryError, Fault, PluginError, nearest

if TYPE_CHECKING:
    from ceilo_agent.definition.publishers import PublisherDef
    from ceilo_agent.publishers.gnocchi.client import Client
    from ceilo_agent.publishers.gnocchi.definitions import Definitions
    from ceilo_agent.publishers.gnocchi.provision import Plan, Step

SCHEME: Final = "gnocchi"
FAILED: Final = 1
"""The exit code of `apply` where something was not done."""

_EXTRA: Final = "install ceilo_agent[gnocchi]"


@click.group("upgrade")
def command() -> None:
    """Create in Gnocchi what the agent needs there: archive policies and resource types."""


def _publisher_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--url", metavar="URL", help="This gnocchi:// URL, whatever that file says."),
        click.option(
            "--publisher",
            "name",
            metavar="NAME",
            help="This publisher of the pipeline file in force. Without it all of gnocchi://.",
        ),
    ):
        function = option(function)
    return function


@command.command("check")
@_publisher_options
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.pass_obj
def check(config_files: tuple[str, ...], name: str | None, url: str | None, as_json: bool) -> int:
    """Tell what Gnocchi lacks, and change nothing.

    The exit codes are those of oslo.upgradecheck: 0 nothing, 1 something there is other than in
    the definition file and stays so, 2 something lacks or nobody answers, 255 the check failed.
    """
    conf = options.parse(config_files)
    found = _publishers(conf, name, url)
    if not found:
        # Those who read JSON get theirs, on standard output, with no checks in it.
        click.echo("no publisher of gnocchi://, nothing to check", err=as_json)
        if not as_json:
            return 0
    checks = [each for definition in found for each in _checks(conf, definition)]
    return _run(checks, as_json=as_json)


@command.command("apply")
@_publisher_options
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")
@click.pass_obj
def apply(config_files: tuple[str, ...], name: str | None, url: str | None, dry_run: bool) -> int:
    """Create what Gnocchi lacks. What is there is never removed, and may be Ceilometer's.

    Several may do it at the same time, and again at any time. The exit code is 1 where something
    could not be done; the reason is on standard error.
    """
    conf = options.parse(config_files)
    found = _publishers(conf, name, url)
    if not found:
        click.echo("no publisher of gnocchi://, nothing to do")
    # No generator: each is to have its turn.
    return max([_upgrade(conf, definition, dry_run) for definition in found], default=0)


def _upgrade(conf: Any, definition: PublisherDef, dry_run: bool) -> int:
    from ceilo_agent.publishers.gnocchi import provision  # noqa: PLC0415 - the extra may lack

    told = definition.name

    def tell(step: Step) -> None:
        click.echo(f"{told}: {step.done}")

    refused: list[str] = []
    try:
        with _opened(conf, definition) as (client, definitions):
            for warning in definitions.warnings:
                click.echo(warning._replace(what=f"warning: {warning.what}"), err=True)
            if dry_run:
                plan = provision.plan(client, definitions)
                for step in plan.steps:
                    click.echo(f"{told}: would {step.wanted}")
                nothing = not plan.steps
            else:
                outcome = provision.apply(client, definitions, tell)
                plan, refused = outcome.plan, outcome.refused
                nothing = not outcome.done and not refused
    except DeliveryError as error:
        click.echo(f"{told}: {error}", err=True)
        return FAILED
    for remark in plan.remarks:
        click.echo(f"{told}: warning: {remark}: it stays as it is", err=True)
    refused += [_lacking(policy) for policy in plan.lacking]
    for line in refused:
        click.echo(f"{told}: {line}", err=True)
    if nothing:
        click.echo(f"{told}: nothing to do")
    return FAILED if refused else 0


def _lacking(policy: str) -> str:
    return f"archive policy '{policy}': metrics are to have it, no file defines it"


# -- the checks ------------------------------------------------------------------------------------

_Check = tuple[str, Callable[[Any], Any]]


def _checks(conf: Any, definition: PublisherDef) -> Iterator[_Check]:
    """Yield the checks of one publisher for oslo.upgradecheck; Gnocchi is asked once."""
    from oslo_upgradecheck.upgradecheck import Code, Result  # noqa: PLC0415

    from ceilo_agent.publishers.gnocchi import provision  # noqa: PLC0415

    asked: list[Plan] = []

    def answers(_: Any) -> Any:
        try:
            with _opened(conf, definition) as (client, definitions):
                asked.append(provision.plan(client, definitions))
        except (ConfigError, DeliveryError) as error:
            return Result(Code.FAILURE, str(error))
        return Result(Code.SUCCESS)

    def part(kind: str, choose: Callable[[Plan], tuple[list[Step], list[str], list[str]]]) -> Any:
        if not asked:
            return Result(Code.FAILURE, "not known")
        steps, remarks, lacking = choose(asked[0])
        if steps:
            how = "run 'ceilo-agent upgrade apply', with --dry-run for all of it"
            lacking = [f"{provision.summary(steps, kind)}: {how}", *lacking]
        if lacking:
            return Result(Code.FAILURE, "; ".join(lacking))
        if remarks:
            return Result(Code.WARNING, f"{'; '.join(remarks)}: it stays as it is")
        return Result(Code.SUCCESS)

    def policies(_: Any) -> Any:
        return part(
            "archive policies",
            lambda p: (p.policies, p.policy_remarks, [_lacking(e) for e in p.lacking]),
        )

    def types(_: Any) -> Any:
        return part("resource types", lambda p: (p.types, p.type_remarks, []))

    yield f"{definition.name}: Gnocchi answers", answers
    yield f"{definition.name}: archive policies", policies
    yield f"{definition.name}: resource types", types


def _run(checks: list[_Check], *, as_json: bool) -> int:
    """Run checks as other services of OpenStack do, and return the exit code."""
    from oslo_config import cfg  # noqa: PLC0415
    from oslo_upgradecheck import upgradecheck  # noqa: PLC0415

    class Commands(upgradecheck.UpgradeCommands):
        _upgrade_checks = tuple(checks)

    return int(
        upgradecheck.main(
            cfg.ConfigOpts(),
            "ceilo_agent",
            Commands(),
            ["upgrade", "check", *(["--json"] if as_json else [])],
            default_config_files=[],
        )
    )


# -- the publishers --------------------------------------------------------------------------------


def _publishers(conf: Any, name: str | None, url: str | None) -> list[PublisherDef]:
    """Return the publishers of gnocchi:// that were asked for.

    Raises:
        ConfigError: the pipeline file or the URL has mistakes.
        PluginError: what they need is not installed.
    """
    try:
        import oslo_upgradecheck  # noqa: F401, PLC0415
    except ImportError as error:
        raise PluginError(f"upgrade needs oslo.upgradecheck: {_EXTRA}") from error
    if url is not None:
        if name is not None:
            raise click.UsageError("--publisher and --url exclude each other")
        return [_from_url(url)]
    from ceilo_agent.definition.in_force import files  # noqa: PLC0415
    from ceilo_agent.definition.pipeline import load  # noqa: PLC0415
    from ceilo_agent.definition.roles import Role  # noqa: PLC0415

    # An agent that polls for others (`[polling] output` = bus) uses none of them, but may share
    # its options with those that do.
    bus = conf.polling.output == "bus"
    ((path, role),) = files(conf, Role.NOTIFICATION if bus else Role.LOCAL)[-1:]
    file = load(path, role)
    everyone = [*file.publishers.values(), *(p for sink in file.sinks for p in sink.publishers)]
    found = {each.name: each for each in everyone if each.scheme == SCHEME}
    if name is None:
        return list(found.values())
    if name not in found:
        hint = nearest(name, found) or f"there are {', '.join(sorted(found)) or 'none'}"
        what = f"no publisher of gnocchi:// is named '{name}' ({hint})"
        raise click.BadParameter(what, param_hint="--publisher")
    return [found[name]]


def _from_url(url: str) -> PublisherDef:
    from ceilo_agent.definition.document import Document  # noqa: PLC0415
    from ceilo_agent.definition.nodes import Position, ScalarNode  # noqa: PLC0415
    from ceilo_agent.definition.publishers import Publishers  # noqa: PLC0415
    from ceilo_agent.definition.reader import Reader  # noqa: PLC0415

    if not url.startswith(f"{SCHEME}:"):
        raise click.BadParameter("a URL of gnocchi:// was expected", param_hint="--url")
    node = ScalarNode(url, url, Position(0, 0))
    reader = Reader("--url", Document(node, []))
    made = Publishers(reader).read(node)
    if made is None or reader.faults:
        raise ConfigError(reader.faults or [Fault("--url", 0, 0, "cannot be used")])
    return made


@contextmanager
def _opened(conf: Any, definition: PublisherDef) -> Iterator[tuple[Client, Definitions]]:
    """Give a client of a publisher's Gnocchi, and its definition file."""
    from ceilo_agent.cli.configuration import context as context_of  # noqa: PLC0415
    from ceilo_agent.publishers.gnocchi.access import client_of  # noqa: PLC0415
    from ceilo_agent.publishers.gnocchi.definitions import Definitions  # noqa: PLC0415

    file = definition.options.resources_definition_file
    definitions = Definitions.load(Path(file) if file else None)
    context = context_of(conf)
    with closing(client_of(definition.url, definition.options, context)) as client:
        yield client, definitions
