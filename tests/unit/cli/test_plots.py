# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from ceilo_agent.cli.plots import HEIGHT, draw, figure


@pytest.fixture(autouse=True)
def twenty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "21")


def test_a_ramp_rises_from_the_lowest_to_the_highest_block() -> None:
    lines = draw([(60.0 * n, float(n)) for n in range(20)])
    assert len(lines) == HEIGHT
    assert lines[-1][0] == "▁"
    assert lines[0][-1] == "█"
    heights = [sum(" ▁▂▃▄▅▆▇█".index(line.ljust(20)[n]) for line in lines) for n in range(20)]
    assert heights == sorted(heights)
    assert (heights[0], heights[-1]) == (1, 8 * HEIGHT)


def test_fewer_points_than_columns_leave_no_holes_but_a_gap_in_time_does() -> None:
    times = [0.0, 60, 120, 600, 660]
    lowest = draw([(time, 1.0) for time in times])[-1]
    assert len(lowest) == 20
    assert "  " in lowest
    assert lowest.strip(" ") == lowest
    assert len(lowest.split()) == 2


def test_more_points_than_columns_are_averaged() -> None:
    # 0 and 10 in turn: the mean is 5 in every column.
    lines = draw([(float(n), 10.0 * (n % 2)) for n in range(4000)])
    assert all(set(line) <= set(" ▁▂▃▄▅▆▇█") and len(line) <= 20 for line in lines)


@pytest.mark.parametrize("points", [[(5.0, 3.0)], [(5.0, 3.0), (5.0, 3.0)], [(1.0, -2), (9.0, -2)]])
def test_a_single_value_is_drawn_half_high(points: list[tuple[float, float]]) -> None:
    lines = draw(points)
    assert len(lines) == HEIGHT // 2
    assert all(line[0] == "█" for line in lines)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.012341, "0.01234"),
        (999.94, "999.9"),
        (1e9, "1,000,000,000"),
        (-1234.6, "-1,235"),
    ],
)
def test_figures_are_short(value: float, text: str) -> None:
    assert figure(value) == text
