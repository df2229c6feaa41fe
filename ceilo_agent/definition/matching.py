# SPDX-License-Identifier: Apache-2.0
"""Which meters a source, a step or a test takes."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import Final

from ceilo_agent.definition.meters import is_glob

_REMEMBERED: Final = 4096
"""Answers kept; names may come from foreign producers, so that their number has no bound."""

_SEVERAL: Final = re.compile(r"(.+\.)\{[\w-]+\}")


class Matcher:
    """Says of a meter's name whether it is taken.

    Patterns are shell globs, case-sensitive; those after ``!`` exclude. A name that is excluded is
    not taken; else one that is included is; where all patterns exclude, the rest is taken.

    Args:
        patterns: as in the file, checked there.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        included = [pattern for pattern in self.patterns if not pattern.startswith("!")]
        excluded = [pattern[1:] for pattern in self.patterns if pattern.startswith("!")]
        self._excluded = _Patterns(excluded)
        self._included = _Patterns(included or ["*"] if excluded else included)
        self._answers: dict[str, bool] = {}

    def __call__(self, name: str) -> bool:
        """Return whether the meter of this name is taken."""
        answer = self._answers.get(name)
        if answer is None:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            answer = self._included.match(name) and not self._excluded.match(name)
            self._answers[name] = answer
        return answer

    def __repr__(self) -> str:
        return f"Matcher({', '.join(self.patterns)})"


class _Patterns:
    """Names, which cost the same however many they are, and globs, which are tried in turn."""

    def __init__(self, patterns: list[str]) -> None:
        globs = [pattern for pattern in patterns if is_glob(pattern)]
        self._names = frozenset(patterns).difference(globs)
        # A dynamic pollster `a.{b}` makes several meters, which are asked for by its name.
        globs += [found[1] + "*" for name in self._names if (found := _SEVERAL.fullmatch(name))]
        self._globs = re.compile("|".join(map(fnmatch.translate, globs)) or r"(?!)")

    def match(self, name: str) -> bool:
        """Return whether one of them matches a name."""
        return name in self._names or self._globs.match(name) is not None
