# SPDX-License-Identifier: Apache-2.0
"""Pressure stall information (PSI) as the kernel writes it.

The format is that of Documentation/accounting/psi.rst, the same for the whole machine
(/proc/pressure) and for a control group (``<resource>.pressure``).
"""

from __future__ import annotations

from typing import Final

RESOURCES: Final = ("cpu", "memory", "io", "irq")
"""What tasks can stall on; `irq` from Linux 6.1 on, where the kernel accounts interrupts' time."""


def parse(text: bytes) -> dict[str, int | float]:
    """Return stall times in us and their share of the last 10 s in percent.

    A line is ``some avg10=0.00 avg60=0.00 avg300=0.00 total=0``.

    Args:
        text: a whole file.

    Returns:
        The times as ``some`` and ``full``, the shares as ``some.avg10`` and ``full.avg10``.

    Raises:
        ValueError: it is another format.
    """
    found: dict[str, int | float] = {}
    for line in text.decode("ascii").splitlines():
        try:
            who, recent, _, _, total = line.split()
            found[who] = int(total.removeprefix("total="))
            found[who + ".avg10"] = float(recent.removeprefix("avg10="))
        except ValueError as error:
            raise ValueError(f"no pressure: {line!r}") from error
    return found
