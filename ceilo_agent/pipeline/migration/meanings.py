# SPDX-License-Identifier: Apache-2.0
"""What the parameters of Ceilometer's transformers meant there and mean here.

Each check reads the parameters as they will be, and tells what an operator would not see otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ceilo_agent.pipeline.migration.changes import Path
from ceilo_agent.pipeline.migration.draft import Draft, Weight

Parameters = Mapping[str, Any]

_TWICE: Final = "a sample that is delivered twice counts once; Ceilometer gave a 0 for the second"


def tell_meanings(draft: Draft, path: Path, name: str, parameters: Parameters) -> None:
    """Tell what one transformer does otherwise than in Ceilometer.

    Args:
        draft: the file.
        path: of the step.
        name: of the transformer.
        parameters: as they will be.
    """
    if name in _CHECKS:
        _CHECKS[name](draft, path, parameters)


def _inside(parameters: Parameters, key: str) -> Parameters:
    value = parameters.get(key)
    return value if isinstance(value, Mapping) else {}


def _rate_of_change(draft: Draft, path: Path, parameters: Parameters) -> None:
    target = _inside(parameters, "target")
    if isinstance(target.get("scale"), int | float):
        draft.tell(
            Weight.MEANING,
            (*path, "parameters", "target", "scale"),
            "the rate is multiplied by the number here; in Ceilometer by the number and by the "
            "sample's volume, a fault",
        )
    if not target.get("type"):
        draft.tell(
            Weight.MEANING,
            path,
            "rate_of_change: the rate is a gauge; it had the type of what went in",
        )
    _unit(draft, path, parameters)
    draft.tell_once(Weight.MEANING, path, f"rate_of_change: {_TWICE}")


def _delta(draft: Draft, path: Path, parameters: Parameters) -> None:
    _unit(draft, path, parameters)
    if parameters.get("growth_only"):
        draft.tell_once(
            Weight.MEANING,
            (*path, "parameters", "growth_only"),
            "growth_only: of a counter that began again comes what it gained since; Ceilometer "
            "left that out",
        )
    draft.tell_once(Weight.MEANING, path, f"delta: {_TWICE}")


def _aggregator(draft: Draft, path: Path, parameters: Parameters) -> None:
    where = (*path, "parameters")
    if parameters.get("size"):
        draft.tell(
            Weight.MEANING,
            (*where, "size"),
            "size: so many samples of a group close its window; in Ceilometer of all groups "
            "together",
        )
    elif parameters.get("retention_time"):
        if "size" not in parameters:
            draft.tell(
                Weight.MEANING,
                (*where, "retention_time"),
                "retention_time: a window is this long; in Ceilometer the default 'size: 1' "
                "closed it with each message",
            )
        draft.tell_once(
            Weight.MEANING,
            (*where, "retention_time"),
            "aggregator: a window begins at a multiple of retention_time and is closed by a timer; "
            "its output has the window's time. In Ceilometer it began with the first sample, and "
            "only another sample closed it",
        )
    target, taken = _inside(parameters, "target"), _inside(parameters, "source")
    if target.get("name") or (target.get("map_to") and taken.get("map_from")):
        draft.tell_once(
            Weight.MEANING,
            (*where, "target"),
            "aggregator: a gauge with another name comes out; in Ceilometer it never did",
        )
    _unit(draft, path, parameters)


def _arithmetic(draft: Draft, path: Path, parameters: Parameters) -> None:
    del parameters
    draft.tell_once(
        Weight.MEANING,
        path,
        "arithmetic: the meters of one cycle belong together, and what comes out has their time; "
        "Ceilometer also took those of different cycles",
        "'window' says by how many seconds their times may differ",
    )


def _unit(draft: Draft, path: Path, parameters: Parameters) -> None:
    if _inside(parameters, "source").get("unit"):
        draft.tell(
            Weight.MEANING,
            (*path, "parameters", "source", "unit"),
            "source.unit: samples in another unit pass unchanged; Ceilometer did not look at it "
            "here",
            "leave it out to take all",
        )


_CHECKS: Final[Mapping[str, Callable[[Draft, Path, Parameters], None]]] = {
    "aggregator": _aggregator,
    "arithmetic": _arithmetic,
    "delta": _delta,
    "rate_of_change": _rate_of_change,
}
