# SPDX-License-Identifier: Apache-2.0
"""Steps of `poll --pollster` that several threads show."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from typing import Final

from ceilo_agent.cli.steps import show_step
from ceilo_agent.inspection.api.steps import Step

THREADS: Final = 8
EACH: Final = 20

GONE: Final = """
from ceilo_agent.cli.steps import show_step
from ceilo_agent.inspection.api.steps import Step
for number in range(3):
    show_step(Step(("load",), f"GET {number}"))
"""


class Slow(io.StringIO):
    """Takes what one write brings, and lets the other threads on in between."""

    def write(self, text: str) -> int:
        written = super().write(text)
        threading.Event().wait(0.001)
        return written


def test_the_lines_of_a_step_stay_together() -> None:
    file = Slow()

    def show(thread: int) -> None:
        for number in range(EACH):
            show_step(Step((f"of-{thread}-{number}",), f"GET {thread}-{number}"), file)

    threads = [threading.Thread(target=show, args=(each,)) for each in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = file.getvalue().splitlines()
    assert len(lines) == 2 * THREADS * EACH
    for asked, pollsters in zip(lines[::2], lines[1::2], strict=True):
        assert pollsters == f"  for of-{asked.removeprefix('GET ')}"


def test_a_reader_that_is_gone_ends_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", GONE], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
