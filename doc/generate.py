# SPDX-License-Identifier: Apache-2.0
"""Writes the pages that follow from the code.

``python doc/generate.py`` writes them; with ``--check`` it compares, prints the name of each page
that is out of date, and exits with 1 if there is any.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from ceilo_agent.cli.meters import rows
from ceilo_agent.meters.catalogue import NAMESPACES, Catalogue, catalogue

SOURCE = Path(__file__).resolve().parent / "source"

TITLES = {
    "compute": "compute: the guests of the local hypervisor",
    "host": "host: the machine that the agent runs on",
}

INTRODUCTION = """\
An agent reads these meters. ``ceilo-agent meters`` prints the same list, and ``ceilo-agent meters
--output json`` gives it to programs. Meters marked with ✓ are Ceilometer's: name, unit, type and
resource id are the same there.

A value that the other side does not give is absent, never zero.
"""


def main() -> int:
    """Write or check every page."""
    parser = argparse.ArgumentParser(description="Write the pages that follow from the code.")
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    stale = 0
    for name, text in pages().items():
        path = SOURCE / name
        if check:
            if not path.is_file() or path.read_text("utf-8") != text:
                print(f"{path}: out of date; run python doc/generate.py", file=sys.stderr)
                stale += 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    return 1 if stale else 0


def pages() -> dict[str, str]:
    """Return the text of each page by its name below doc/source."""
    return {"meters.rst": "\n".join(meters())}


def meters() -> Iterator[str]:
    """Yield the lines of the page of meters."""
    yield ".. Written by doc/generate.py from ceilo_agent/meters/*.yaml. Do not edit."
    yield ""
    yield from _heading("Meters", "=")
    yield INTRODUCTION
    for namespace in NAMESPACES:
        yield from _namespace(catalogue(namespace))


def _namespace(found: Catalogue) -> Iterator[str]:
    yield from _heading(TITLES[found.namespace], "-")
    ours = {entry.name for entry in found.meters if not entry.ceilometer}
    for kind, about in found.kinds.items():
        listed = [row for row in rows(found.namespace) if row["resource_type"] == kind]
        if not listed:
            continue
        yield from _heading(kind, "~")
        yield f"{_escaped(about.description.strip())} Resource id: ``{about.id}``."
        yield ""
        yield from _table(
            ("Name", "Unit", "Type", "Ceilometer", "Description"),
            (
                (
                    f"``{row['name']}``",
                    _escaped(row["unit"]),
                    row["type"],
                    "" if row["name"] in ours else "✓",
                    _escaped(row["description"]),
                )
                for row in listed
            ),
        )
    yield from _heading(f"Left out of {found.namespace}", "~")
    yield "What the other side gives and no meter reports."
    yield ""
    yield from _table(
        ("Fields", "Reason"),
        (
            (", ".join(f"``{field}``" for field in left.fields), _escaped(left.reason))
            for left in found.left_out
        ),
    )


def _heading(text: str, line: str) -> Iterator[str]:
    yield text
    yield line * len(text)
    yield ""


def _table(header: tuple[str, ...], lines: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield ".. list-table::"
    yield "   :header-rows: 1"
    yield ""
    for cells in (header, *lines):
        for number, cell in enumerate(cells):
            yield f"   {'  ' if number else '* '}- {cell}".rstrip()
    yield ""


def _escaped(text: str) -> str:
    """Return plain text as reStructuredText that shows just that."""
    for sign in "\\*`|_%":
        text = text.replace(sign, "\\" + sign)
    return text


if __name__ == "__main__":
    sys.exit(main())
