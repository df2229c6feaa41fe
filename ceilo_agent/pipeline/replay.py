# SPDX-License-Identifier: Apache-2.0
"""Gives steps after a restart what they were given before it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ceilo_agent.delivery.log import Log
from ceilo_agent.messaging.packing import unpack
from ceilo_agent.pipeline.statetables import Row, State
from ceilo_agent.plugins import StatefulTransformer
from ceilo_agent.sample import Sample

LOG = logging.getLogger(__name__)


class Kept(NamedTuple):
    """A step whose state is kept: its name for people, and the transformer."""

    name: str
    transformer: StatefulTransformer


class Replay:
    """Takes steps from their last dump to the last call that was written down.

    Args:
        steps: by identity; empty as they were made.
        known: what the file has of each, None for nothing.
        log: takes what is damaged.

    Attributes:
        told: the last moment that each step was told.
        samples: how many were given to them again.
        size: bytes of the calls that they were told again.
    """

    def __init__(
        self, steps: Mapping[str, Kept], known: Mapping[str, State | None], log: Log
    ) -> None:
        self.told: dict[str, float | None] = dict.fromkeys(steps)
        self.samples = 0
        self.size = 0
        self._steps = steps
        self._known = known
        self._log = log

    def load(self) -> list[str]:
        """Load the dumps; return the steps whose dump is of no use. Those begin empty."""
        useless = []
        for identity, state in self._known.items():
            if state is None or state.dump is None:
                continue
            self.told[identity] = state.dumped
            if not self._load(self._steps[identity], state.dump, state.sound):
                useless.append(identity)
        return useless

    def run(self, rows: Sequence[Row], remember: Callable[[str, Sample], object]) -> None:
        """Tell the steps what they were told since; what comes out went on before.

        Args:
            rows: the calls, in order; those before a step's dump are remembered only.
            remember: takes a step and each sample that it was given.
        """
        for row in rows:
            try:
                if row.samples is None:
                    raise ValueError("they are not what was written")  # noqa: TRY301
                samples = unpack(row.samples)
            except ValueError as error:
                place = self._log.keep_aside(row.samples or b"")
                path = self._log.directory
                LOG.warning("%s: samples of a step are lost: %s (%s)", path, error, place)
                continue
            for sample in samples:
                remember(row.step, sample)
            state = self._known[row.step]
            if state is None or row.seq > state.upto:
                self.size += len(row.samples)
                self.samples += len(samples)
                self._tick(row.step, row.now)
                self._call(row.step, _giving(samples))
        for identity, state in self._known.items():
            self._tick(identity, None if state is None else state.now)

    def _load(self, kept: Kept, dump: bytes, sound: bool) -> bool:
        empty = kept.transformer.dump()
        reason = "it is not what was written"
        if sound:
            try:
                kept.transformer.load(dump)
            except Exception as error:  # the author's: it may say so with any
                reason = f"{type(error).__name__}: {error}"
            else:
                return True
        kept.transformer.load(empty)
        LOG.warning(
            "%s: the state of %s cannot be taken up (%s): set aside as %s, it begins empty",
            self._log.directory,
            kept.name,
            reason,
            self._log.keep_aside(dump),
        )
        return False

    def _tick(self, identity: str, now: float | None) -> None:
        if now is not None and now != self.told[identity]:
            self.told[identity] = now
            self._call(identity, lambda step: step.tick(now))

    def _call(self, identity: str, what: Callable[[StatefulTransformer], object]) -> None:
        """Tell a step something once more; it may fail as it did before."""
        try:
            what(self._steps[identity].transformer)
        except Exception:
            LOG.exception("%s failed when it was told again", self._steps[identity].name)


def _giving(samples: Sequence[Sample]) -> Callable[[StatefulTransformer], object]:
    return lambda step: step(samples)
