# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent config test``: does the pipeline file do what its tests say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from ceilo_agent import options
from ceilo_agent.cli.arguments import output_option
from ceilo_agent.cli.config.faults import FAULTY, tell
from ceilo_agent.cli.configuration import own_meters
from ceilo_agent.definition.pipeline import CaseDef, load
from ceilo_agent.definition.places import find_pipeline_file
from ceilo_agent.definition.scalars import resolve
from ceilo_agent.errors import ConfigError
from ceilo_agent.pipeline.differences import Difference
from ceilo_agent.pipeline.testing import Result, Runner

MOST_SHOWN: Final = 20
"""Differences of one test that are shown as text."""

_KINDS: Final = (("", False, False), ("missing", True, False), ("unexpected", False, True))
"""Of differences, in the order in which they are shown: title, nothing came, nothing expected."""

_PLAIN: Final = re.compile(r"[A-Za-z_/][\w./-]*")
"""Texts that YAML takes for text without quotes, if they are no word such as `true`."""


@click.command("test")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("-k", "chosen", metavar="TEXT", help="Run only the tests whose names hold TEXT.")
@output_option(
    "text", "json", about="json: one object with every test and its differences on standard output."
)
@click.pass_obj
def command(
    config_files: tuple[str, ...], file: Path | None, chosen: str | None, output: str
) -> int:
    """Run the tests of FILE (default: the pipeline file in force) and of the file beside it.

    Nothing is polled or published. The exit code is 1 when a test fails or the file has faults.
    """
    try:
        conf = options.parse(config_files)
        found = load(file or find_pipeline_file(conf))
        own = own_meters(conf)
    except ConfigError as error:
        if output == "json":
            faults = [fault._asdict() for fault in error.faults]
            click.echo(_json({"passed": 0, "failed": 0, "tests": [], "faults": faults}))
        else:
            tell(error.faults)
        return FAULTY
    cases = [case for case in found.tests if chosen is None or chosen in case.name]
    if found.tests and not cases:
        raise click.BadParameter(f"no test's name holds '{chosen}'", param_hint="-k")
    runner = Runner(found, own)
    results = []
    for case in cases:
        result = runner.run(case)
        results.append(result)
        if output == "text" and not result.passed:
            for line in _report(result):
                click.echo(line)
    passed = sum(result.passed for result in results)
    failed = len(results) - passed
    if output == "json":
        tests = [_as_document(result) for result in results]
        click.echo(_json({"passed": passed, "failed": failed, "tests": tests, "faults": []}))
    elif not found.tests:
        click.echo(f"{found.path}: no tests")
    else:
        click.echo(f"{passed} passed, {failed} failed")
    return FAULTY if failed else 0


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, default=repr)


def _place(case: CaseDef) -> str:
    return f"{case.file}:{case.position.line}:{case.position.column}"


def _as_document(result: Result) -> dict[str, Any]:
    case = result.case
    return {
        "name": case.name,
        "file": case.file,
        "line": case.position.line,
        "column": case.position.column,
        "passed": result.passed,
        "differences": [difference._asdict() for difference in result.differences],
        "failures": result.failures,
        "dropped": result.dropped,
        "hints": result.hints,
        "notes": result.notes,
    }


def _report(result: Result) -> Iterator[str]:
    """Yield the lines of a test that failed."""
    yield f"{_place(result.case)}: failed: {result.case.name}"
    shown = result.differences[:MOST_SHOWN]
    for title, missing, unexpected in _KINDS:
        lines = [
            line
            for each in shown
            if (each.got is None, each.expected is None) == (missing, unexpected)
            for line in _lines(each)
        ]
        if lines and title:
            yield f"  {title}:"
        yield from lines
    if (more := len(result.differences) - MOST_SHOWN) > 0:
        yield f"  ... and {more} more"
    for title, notes in (
        ("error", result.failures),
        ("dropped", result.dropped),
        ("note", result.notes),
        ("hint", result.hints),
    ):
        yield from (f"  {title}: {note}" for note in notes)


def _lines(difference: Difference) -> Iterator[str]:
    if difference.expected is not None:
        yield f"  - expected {flow(difference.expected)}"
    if difference.got is not None:
        yield f"  + got      {flow(difference.got)}"


def flow(value: Any) -> str:
    """Return a value as YAML in one line, fit to be put under `expect`."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(str(key))}: {flow(v)}" for key, v in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, str) and _PLAIN.fullmatch(value) and resolve(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False, default=repr)
