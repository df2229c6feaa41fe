# SPDX-License-Identifier: Apache-2.0
"""A series drawn with block characters, as wide as the terminal."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

HEIGHT: Final = 4
"""Lines of a plot; each tells eight levels apart."""
BLOCKS: Final = " ▁▂▃▄▅▆▇█"

_GAP: Final = 2.5
"""Points that lie further apart than this, in usual distances, have a gap between them."""

Point = tuple[float, float]
"""UTC seconds and a value."""


def draw(points: Sequence[Point], *, from_zero: bool = False) -> list[str]:
    """Return the lines of a plot of points, of which there is at least one, in order of time.

    What never changes takes half the height.

    Args:
        points: what is drawn.
        from_zero: whether the foot of the plot is 0, or the lowest value.
    """
    width = max(10, shutil.get_terminal_size().columns - 1)
    columns = _columns(points, width)
    values = [value for value in columns if value is not None]
    low, high = min(values), max(values)
    if from_zero and low > 0:
        low = 0.0
    eighths = [0 if value is None else _level(value, low, high) for value in columns]
    lines = [
        "".join(BLOCKS[min(8, max(0, level - 8 * line))] for level in eighths).rstrip()
        for line in reversed(range(HEIGHT))
    ]
    return [line for line in lines if line]


def figure(value: float) -> str:
    """Return a number short enough for a legend: 1,234,567 or 0.01234."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _level(value: float, low: float, high: float) -> int:
    """Return how many eighths of a line are filled; the lowest value still shows."""
    if high == low:
        return 4 * HEIGHT
    return 1 + round((value - low) / (high - low) * (8 * HEIGHT - 1))


def _columns(points: Sequence[Point], width: int) -> list[float | None]:
    """Return the mean value of every column's time; None where nothing was measured."""
    begin, end = points[0][0], points[-1][0]
    per_column = (end - begin) / (width - 1) or 1.0
    found: list[list[float]] = [[] for _ in range(width)]
    times = [time for time, _ in points]
    steps = [after - before for before, after in pairwise(times)]
    usual = statistics.median(steps) if steps else 0.0
    for number, (time, value) in enumerate(points):
        column = round((time - begin) / per_column)
        found[column].append(value)
        if number + 1 < len(points) and times[number + 1] - time <= _GAP * usual:
            # Fewer points than columns: a value stands until the next one.
            for between in range(column + 1, round((times[number + 1] - begin) / per_column)):
                found[between].append(value)
    return [statistics.fmean(values) if values else None for values in found]
