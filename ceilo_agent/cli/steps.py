# SPDX-License-Identifier: Apache-2.0
"""Shows what a dynamic pollster asked and what became of the answers, for who writes one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, TextIO

from ceilo_agent.inspection.api.steps import Shown, Step
from ceilo_agent.publishers.rendering import printable

LONGEST: Final = 200
"""Letters of a value that are shown."""


def show_step(step: Step, file: TextIO | None = None) -> None:
    """Print a request and the first entries of its answer.

    Args:
        step: to show.
        file: where it goes, standard output without one.
    """
    from rich.console import Console  # noqa: PLC0415 - not for `--help`
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=file or sys.stdout, highlight=False, soft_wrap=True)
    # In one piece, since several threads ask. To a reader that is gone rich answers SystemExit,
    # which would end one of them, and the poll would wait for its answer.
    with suppress(SystemExit):
        console.print(Text("\n").join(Text(line, style=style) for style, line in _lines(step)))


def _lines(step: Step) -> Iterator[tuple[str, str]]:
    """Yield the lines with their styles."""
    yield "bold", printable(step.asked)
    yield "dim", f"  for {', '.join(step.pollsters)}"
    if step.handler:
        status = "" if step.status is None else f"status {step.status}, "
        yield "", f"  {status}{step.size} bytes in {step.seconds:.3f} s, read as {step.handler}"
    for name, number in step.entries.items():
        yield "", f"  {name}: {number} {'entry' if number == 1 else 'entries'}"
    for one in step.shown:
        yield from _entry(one, f"{one.pollster}: " if len(step.pollsters) > 1 else "")
    for name, number in step.entries.items():
        told = sum(one.pollster == name for one in step.shown)
        if number > told:
            yield "dim", f"    {name}: {number - told} more are not shown"
    for fault in step.faults:
        yield "red", f"  {printable(fault)}"


def _entry(one: Shown, whose: str) -> Iterator[tuple[str, str]]:
    resource = whose + (f"{printable(one.resource)}: " if one.resource else "")
    value = f"value {_short(one.value)}"
    if one.skipped:
        yield "yellow", f"    {resource}{value}: no sample: {printable(one.skipped)}"
        return
    for meter, volume in one.volumes.items():
        yield "green", f"    {resource}{value} -> {printable(meter)} = {volume}"
    for name, told in _metadata(one.metadata):
        yield "dim", f"      {name}: {told}"
    for fault in one.faults:
        yield "red", f"      {printable(fault)}"


def _metadata(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in metadata.items():
        yield printable(str(name)), _short(value)


def _short(value: Any) -> str:
    text = printable(json.dumps(value, default=str, ensure_ascii=False))
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
