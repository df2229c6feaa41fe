# SPDX-License-Identifier: Apache-2.0
"""What every publisher must do, whatever is behind it.

`test_conformance_faults.py` has what becomes of those that send over the network when it fails.
"""

from __future__ import annotations

import importlib.metadata
import resource
import sys
import time
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from ceilo_agent import plugins
from ceilo_agent.errors import DeliveryError
from ceilo_agent.plugins import Context, Promise, Publisher
from ceilo_agent.sample import (
    FIRST,
    UNTRACKED,
    Meter,
    Previous,
    Resource,
    Sample,
    SampleType,
)
from tests.unit.publishers.kinds import ALIASES, KINDS, OURS, Tried, trying

CPU = Meter("cpu", "ns", SampleType.CUMULATIVE)
NOW = float(int(time.time())) - 60.0
"""A minute ago: nobody takes samples of the future."""


@pytest.fixture(params=sorted(KINDS))
def tried(
    request: pytest.FixtureRequest, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Iterator[Tried]:
    with trying(request.param, tmp_path, capfd) as found:
        yield found


@pytest.fixture(params=sorted(KINDS))
def cls(request: pytest.FixtureRequest) -> type[Publisher]:
    found = plugins.load(plugins.PUBLISHER, request.param)
    assert isinstance(found, type)
    return found


def sample(number: int = 0, volume: float = 7, **changes: Any) -> Sample:
    owner = Resource("guest-1", "project", "user", "instance", {"display_name": "web"})
    values = {"meter": CPU, "resource": owner, "time": NOW + number, "volume": volume}
    return Sample(**(values | changes))


# -- the class -----------------------------------------------------------------------------------


def test_every_installed_publisher_of_ours_is_here() -> None:
    entries = importlib.metadata.entry_points(group=plugins.PUBLISHER)
    ours = [entry.name for entry in entries if entry.value.startswith("ceilo_agent.")]
    assert sorted([*OURS, *ALIASES]) == sorted(ours)


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_an_alias_is_the_same_class(alias: str) -> None:
    named = (plugins.load(plugins.PUBLISHER, name) for name in (alias, ALIASES[alias]))
    assert next(named) is next(named)


def test_it_is_a_publisher_with_a_docstring(cls: type[Publisher]) -> None:
    assert issubclass(cls, Publisher)
    assert cls.__doc__
    assert sys.modules[cls.__module__].__doc__


def test_its_promises_are_promises(cls: type[Publisher]) -> None:
    assert isinstance(cls.promises, frozenset)
    assert all(isinstance(promise, Promise) for promise in cls.promises)


def test_its_options_are_described_optional_and_closed(cls: type[Publisher]) -> None:
    assert issubclass(cls.Options, msgspec.Struct)
    assert cls.Options.__struct_config__.forbid_unknown_fields
    hints = typing.get_type_hints(cls.Options, include_extras=True)
    for field in msgspec.structs.fields(cls.Options):
        assert not field.required, field.name
        descriptions = [
            part.description
            for part in typing.get_args(hints[field.name])
            if isinstance(part, msgspec.Meta) and part.description
        ]
        assert len(descriptions) == 1, field.name
    with pytest.raises(TypeError):
        cls.Options("positional")


def test_an_unknown_option_is_refused(cls: type[Publisher]) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `nonsense`"):
        msgspec.convert({"nonsense": "1"}, cls.Options, strict=False)


def test_options_of_the_wrong_type_are_refused(cls: type[Publisher]) -> None:
    for field in msgspec.structs.fields(cls.Options):
        with pytest.raises(msgspec.ValidationError, match=field.name):
            msgspec.convert({field.name: [object()]}, cls.Options, strict=False)


def test_to_make_one_touches_nothing(
    cls: type[Publisher], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with trying(_scheme(cls), tmp_path, capfd) as found:
        url = urlsplit(found.kind.url(found.place))._replace(query="")
    cls(url, cls.Options(), Context("here", MappingProxyType({}))).close()
    assert list(tmp_path.iterdir()) == []


def _scheme(cls: type[Publisher]) -> str:
    (found,) = [name for name in KINDS if plugins.load(plugins.PUBLISHER, name) is cls]
    return found


# -- a batch -------------------------------------------------------------------------------------


def test_a_batch_of_one(tried: Tried) -> None:
    tried.publisher.open()
    tried.publisher.push([sample()])
    assert tried.arrived([sample()])


def test_no_samples_are_no_fault(tried: Tried) -> None:
    tried.publisher.open()
    tried.publisher.push([])
    tried.publisher.push(())
    tried.publisher.push([sample()])
    assert tried.arrived([sample()])


def test_a_batch_of_ten_thousand(tried: Tried) -> None:
    resources = [Resource(f"guest-{n}", "p", "u", "instance", {"n": n}) for n in range(100)]
    meters = [Meter(f"meter.{n}", "B", SampleType.GAUGE) for n in range(100)]
    batch = [
        Sample(meter, resource, NOW - 100 + place, place)
        for place, resource in enumerate(resources)
        for meter in meters
    ]
    tried.publisher.open()
    tried.push(batch)
    assert tried.arrived(batch)


def test_batches_in_order_stay_in_order(tried: Tried) -> None:
    batches = [[sample(2 * n - 40, n), sample(2 * n - 39, n)] for n in range(20)]
    tried.publisher.open()
    for batch in batches:
        tried.push(batch)
    assert tried.arrived([one for batch in batches for one in batch])


@pytest.mark.parametrize("kind", SampleType)
@pytest.mark.parametrize("previous", [FIRST, UNTRACKED, Previous(60.0, 5)])
def test_every_type_of_meter(tried: Tried, kind: SampleType, previous: Any) -> None:
    one = sample(meter=Meter("m", "B", kind), previous=previous, started=NOW - 9, source="poll")
    tried.publisher.open()
    tried.publisher.push([one])
    assert tried.arrived([one])


@pytest.mark.parametrize(
    "volume", [0, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 0.1, 1e-300, 1e300, -0.5, 3.0]
)
def test_volumes_arrive_exactly(tried: Tried, volume: float) -> None:
    one = sample(volume=volume, meter=Meter("m", "B", SampleType.GAUGE))
    tried.publisher.open()
    tried.publisher.push([one])
    assert tried.arrived([one])
    if not tried.kind.latest:
        (found,), (expected,) = tried.received(), tried.expected([one])
        assert type(found["volume"]) is type(expected["volume"])


def test_what_is_absent_is_absent(tried: Tried) -> None:
    one = sample(resource=Resource("host-1", None, None, "host", {}))
    tried.publisher.open()
    tried.publisher.push([one])
    assert tried.arrived([one])


def test_metadata_that_are_null_are_no_fault(tried: Tried) -> None:
    names = ("display_name", "image", "flavor", "host", "mac", "parameters", "vcpus")
    kinds = ("instance", "instance_disk", "instance_network_interface", "host", "other")
    batch = [
        sample(resource=Resource(f"r-{kind}", "p", None, kind, dict.fromkeys(names)))
        for kind in kinds
    ]
    tried.publisher.open()
    tried.push(batch)
    assert tried.arrived(batch)


def test_utf8_everywhere(tried: Tried) -> None:
    word = "Ä 日本 \U0001f680 \u2028\N{NO-BREAK SPACE}\"\\'<&%"
    owner = Resource(word, word, word, word, {word: {word: [word, 1, None, True]}})
    one = sample(resource=owner, meter=Meter(word, word, SampleType.GAUGE))
    tried.publisher.open()
    tried.publisher.push([one])
    assert tried.arrived([one])


@pytest.mark.parametrize("word", ["a\nb\r\x1b[31m\x07", "\udc80", "", " ", "x" * 10_000])
def test_odd_words_do_not_break_a_batch(tried: Tried, word: str) -> None:
    owner = Resource("odd" + word, word, word, "instance", {"name": word})
    batch = [sample(0), sample(1, resource=owner), sample(2)]
    tried.publisher.open()
    tried.push(batch)
    if word == "\udc80":
        assert len(tried.received()) == len(tried.expected(batch))
    else:
        assert tried.arrived(batch)


def test_metadata_of_any_mapping(tried: Tried) -> None:
    flavor = MappingProxyType({"name": "small", "ram": 512})
    metadata = MappingProxyType({"flavor": flavor, "tags": ("a", "b"), "f": 0.5, "big": 2**64})
    plain = {"flavor": dict(flavor), "tags": ["a", "b"], "f": 0.5, "big": 2**64}
    owner = Resource("guest-1", None, None, "instance", metadata)
    tried.publisher.open()
    tried.publisher.push([sample(resource=owner)])
    assert tried.arrived([sample(resource=Resource("guest-1", None, None, "instance", plain))])


def test_samples_are_only_read(tried: Tried) -> None:
    batch = (sample(0), sample(1))
    tried.publisher.open()
    tried.publisher.push(batch)
    assert batch == (sample(0, resource=batch[0].resource), sample(1, resource=batch[1].resource))


# -- its life ------------------------------------------------------------------------------------


def test_opened_and_closed_twice(tried: Tried) -> None:
    for number in range(2):
        tried.publisher.open()
        tried.publisher.push([sample(number)])
        if not tried.kind.latest:
            tried.publisher.close()
            tried.publisher.close()
    assert tried.arrived([sample(0), sample(1)])


def test_closed_without_ever_being_opened(tried: Tried) -> None:
    tried.another().close()


def test_another_goes_on_where_the_first_ended(tried: Tried) -> None:
    tried.publisher.open()
    tried.publisher.push([sample(0)])
    tried.publisher.close()
    tried.publisher = tried.another()
    tried.publisher.open()
    tried.publisher.push([sample(1)])
    assert tried.arrived([sample(0), sample(1)])


def test_a_push_that_failed_leaves_nothing_and_may_be_repeated(tried: Tried) -> None:
    if tried.kind.edge is not None or tried.kind.latest or not tried.kind.disk:
        pytest.skip(f"{tried.name} writes no file")
    tried.publisher.open()
    tried.publisher.push([sample(0)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        for _ in range(2):
            with pytest.raises(DeliveryError):
                tried.publisher.push([sample(1), sample(2)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    tried.publisher.push([sample(1), sample(2)])
    tried.publisher.push([sample(3)])
    assert tried.arrived([sample(n) for n in range(4)])


def test_what_is_promised_idempotent_stores_a_batch_once(tried: Tried) -> None:
    if Promise.IDEMPOTENT not in tried.publisher.promises:
        pytest.skip(f"{tried.name} does not promise it")
    tried.publisher.open()
    batch = [sample(0), sample(1)]
    tried.publisher.push(batch)
    tried.publisher.push(batch)
    assert tried.arrived(batch)


def test_what_is_promised_acked_is_there_when_push_returns(tried: Tried) -> None:
    if Promise.ACKED not in tried.publisher.promises:
        pytest.skip(f"{tried.name} does not promise it")
    tried.publisher.open()
    for number in range(3):
        tried.publisher.push([sample(number)])
        assert tried.arrived([sample(n) for n in range(number + 1)])


def test_push_declares_what_it_may_raise(cls: type[Publisher]) -> None:
    assert isinstance(cls.push, types.FunctionType)
    assert "Raises:" in (cls.push.__doc__ or "")
