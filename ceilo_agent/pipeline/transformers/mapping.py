# SPDX-License-Identifier: Apache-2.0
"""`source` and `target`, which most transformers take: which meters, and what they become.

The two keys, and what stands in them, are those of Ceilometer's pipeline files.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from typing import Annotated, ClassVar, Final, Self

import msgspec
from msgspec import Meta

from ceilo_agent.errors import Malformed, Misfit
from ceilo_agent.expressions.expression import VolumeExpression
from ceilo_agent.plugins import NeverMatches, Parsed
from ceilo_agent.sample import Meter, SampleType
from ceilo_agent.shown import shown

_REMEMBERED: Final = 4096
"""Meters kept; foreign producers name them, so that their number has no bound."""


class Pattern(Parsed):
    """A regular expression, in the syntax of Python's `re`.

    Attributes:
        text: as the operator wrote it.
        compiled: its compiled form.
    """

    words: ClassVar[str] = "a regular expression"

    def __init__(self, text: str, compiled: re.Pattern[str]) -> None:
        self.text = text
        self.compiled = compiled

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the pattern.

        Raises:
            Malformed: it is empty, or no regular expression.
        """
        if not text:
            raise Malformed("an empty pattern matches at every place")
        try:
            return cls(text, _compiled(text))
        except re.error as error:
            raise Malformed(f"no regular expression: {error.msg}", error.pos or 0) from error
        except (OverflowError, RecursionError) as error:
            raise Malformed("the regular expression is too large") from error

    def check(self, replacement: str) -> None:
        """Check that a replacement refers to groups of this pattern only.

        Raises:
            ValueError: it does not.
        """
        try:
            # The empty alternative makes a match, so that `re` reads the whole replacement; the
            # line break ends a comment of a verbose pattern.
            _compiled(f"{self.text}\n|", self.compiled.flags).sub(replacement, "")
        except (re.error, IndexError) as error:
            groups = self.compiled.groups
            held = {0: "no group", 1: "one group"}.get(groups, f"{groups} groups")
            raise ValueError(
                f"the replacement '{replacement}' is wrong: {error} "
                f"(the pattern '{self.text}' has {held})"
            ) from error

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"


def _compiled(text: str, flags: int = 0) -> re.Pattern[str]:
    """Return a compiled pattern; what Python may change in its syntax one day is not told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return re.compile(text, flags)


Name = Annotated[str, Meta(pattern=r"\S")]
"""Of a meter that comes out."""


class MapFrom(msgspec.Struct, frozen=True):
    """What is replaced, in the name and in the unit."""

    name: Annotated[
        Pattern | None, Meta(description="Regular expression: what to replace in the meter's name.")
    ] = None
    unit: Annotated[
        Pattern | None, Meta(description="Regular expression: what to replace in the unit.")
    ] = None


class MapTo(msgspec.Struct, frozen=True):
    """What stands there instead."""

    name: Annotated[
        str | None, Meta(description="The replacement in the name; `\\1` is the first group.")
    ] = None
    unit: Annotated[
        str | None, Meta(description="The replacement in the unit; `\\1` is the first group.")
    ] = None


class Source(msgspec.Struct, frozen=True):
    """Which of the samples a transformer takes, and what of their names and units is replaced."""

    unit: Annotated[
        str | None, Meta(description="Only samples in this unit; the others pass unchanged.")
    ] = None
    map_from: Annotated[
        MapFrom | None, Meta(description="What to replace in the name and the unit.")
    ] = None


class Target(msgspec.Struct, frozen=True):
    """What comes out. What is not given stays as it was."""

    name: Annotated[
        Name | None,
        Meta(description="The name of the meter that comes out."),
    ] = None
    unit: Annotated[str | None, Meta(description="Its unit.")] = None
    type: Annotated[SampleType | None, Meta(description="Its type.")] = None
    scale: Annotated[
        int | float | VolumeExpression | None,
        Meta(description="A number to multiply by, or an expression."),
    ] = None
    max: Annotated[
        int | float | None, Meta(description="The highest volume; what is above is set to it.")
    ] = None
    map_to: Annotated[
        MapTo | None, Meta(description="What to put in place of what `source.map_from` found.")
    ] = None

    def __post_init__(self) -> None:
        """Refuse a scale that leaves nothing of a volume."""
        if self.scale == 0:
            raise ValueError("a scale of 0 makes every volume 0")


class Mapping(msgspec.Struct, frozen=True):
    """The parameters that all transformers with a source and a target share."""

    source: Annotated[Source | None, Meta(description="Which samples are taken.")] = None
    target: Annotated[Target | None, Meta(description="What comes out.")] = None

    def __post_init__(self) -> None:
        """Refuse a `map_from` and a `map_to` that do not fit each other."""
        check_maps(self.source, self.target.map_to if self.target else None)


def check_maps(source: Source | None, to: MapTo | None) -> None:
    """Check that what is replaced and what replaces it are both there and fit.

    Raises:
        Misfit: they do not.
    """
    found = (source.map_from if source else None) or MapFrom()
    to = to or MapTo()
    for key, pattern, replacement in (
        ("name", found.name, to.name),
        ("unit", found.unit, to.unit),
    ):
        if pattern is None and replacement is not None:
            what = f"target.map_to.{key} needs source.map_from.{key}"
            raise Misfit(what, "target", "map_to", key)
        if pattern is not None and replacement is None:
            what = f"source.map_from.{key} needs target.map_to.{key}"
            raise Misfit(what, "source", "map_from", key)
        if pattern is not None and replacement is not None:
            try:
                pattern.check(replacement)
            except ValueError as error:
                raise Misfit(str(error), "target", "map_to", key) from error


class MeterMap(dict[Meter, Meter | None]):
    """Meters that come out by those that go in, made as they are asked for: ``meters[meter]``.

    None stands for a meter that the transformer does not take: its unit is not `source.unit`.
    A name or a unit is what `map_to` makes of it; without a map (or if nothing is left of it) the
    one of `target`; else its own. A map that does not match leaves it as it is.

    Args:
        source: of the parameters.
        target: of the parameters.
        kind: the type that comes out; None: the one of the target, else its own.
    """

    def __init__(
        self, source: Source | None, target: Target | None, kind: SampleType | None = None
    ) -> None:
        super().__init__()
        self._source = source or Source()
        self._target = target or Target()
        self._from = self._source.map_from or MapFrom()
        self._to = self._target.map_to or MapTo()
        self._kind = kind or self._target.type

    def __missing__(self, meter: Meter) -> Meter | None:
        """Return what a meter becomes that was not asked for before."""
        if len(self) >= _REMEMBERED:
            self.clear()
        made = self[meter] = self._make(meter) if self._takes(meter) else None
        return made

    def outcome(self, meters: Collection[Meter]) -> Collection[Meter]:
        """Return the meters that come out where these go in.

        Raises:
            NeverMatches: it takes none of them, or changes the name or unit of none as it should.
        """
        taken = [meter for meter in meters if self._takes(meter)]
        if meters and not taken:
            raise NeverMatches(f"no meter that reaches it has the unit '{self._source.unit}'")
        for key, pattern in (("name", self._from.name), ("unit", self._from.unit)):
            if pattern is not None and taken:
                texts = [getattr(meter, key) for meter in taken]
                if not any(map(pattern.compiled.search, texts)):
                    raise NeverMatches(
                        f"'{shown(pattern.text)}' of map_from matches the {key} of no meter that "
                        "reaches it"
                    )
        return [self[meter] or meter for meter in meters]

    def _takes(self, meter: Meter) -> bool:
        return self._source.unit is None or self._source.unit == meter.unit

    def _make(self, meter: Meter) -> Meter:
        name = _replaced(self._from.name, self._to.name, meter.name) or self._target.name
        unit = _replaced(self._from.unit, self._to.unit, meter.unit) or self._target.unit
        return Meter(
            meter.name if name is None else name,
            meter.unit if unit is None else unit,
            self._kind or meter.type,
        )


def _replaced(pattern: Pattern | None, replacement: str | None, text: str) -> str | None:
    if pattern is None or replacement is None:
        return None
    return pattern.compiled.sub(replacement, text)
