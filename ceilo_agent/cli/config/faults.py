# SPDX-License-Identifier: Apache-2.0
"""The exit code of the commands that look for faults."""

from __future__ import annotations

from typing import Final

FAULTY: Final = 1
"""Something is wrong with the file."""
