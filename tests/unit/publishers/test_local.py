# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import threading
from pathlib import Path

import msgspec
import pytest

from ceilo_agent.errors import ConfigError
from ceilo_agent.publishers.local import Local
from ceilo_agent.sample import Sample
from ceilo_agent.store.reader import Reader
from tests.unit.publishers.kinds import build
from tests.unit.store.samples import CPU, cycle, guest


def test_without_a_path_it_takes_the_agents_store(tmp_path: Path) -> None:
    publisher = build("local://", tmp_path)
    publisher.open()
    publisher.push(cycle(0))
    publisher.close()
    assert Reader(tmp_path / "default.db").statistics().samples == 6


def test_its_options_bound_the_store(tmp_path: Path) -> None:
    publisher = build(f"local://{tmp_path}/s.db?max_age=60&max_bytes=1048576", tmp_path)
    publisher.open()
    publisher.push(cycle(-1_000_000))
    publisher.push([*cycle(0), Sample(CPU, guest(), 0.0, math.nan)])
    assert isinstance(publisher, Local)
    assert publisher.counters.deleted_by_age == 6
    assert publisher.counters.dropped == 1
    publisher.close()


@pytest.mark.parametrize("query", ["max_age=59", "max_bytes=1048575", "max_bytes=1G", "max_age="])
def test_options_out_of_range_are_refused(tmp_path: Path, query: str) -> None:
    options = dict([query.split("=")])
    with pytest.raises(msgspec.ValidationError, match=query.partition("=")[0]):
        msgspec.convert(options, Local.Options, strict=False)


def test_a_path_in_the_hosts_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'store.db' stands .* \(write local:///store.db\)"):
        build("local://store.db", tmp_path).open()


def test_it_may_be_opened_pushed_and_closed_by_different_threads(tmp_path: Path) -> None:
    publisher = build("local://?max_age=2000000000", tmp_path)
    publisher.open()
    for step in (lambda: publisher.push(cycle(0)), lambda: publisher.push(cycle(1))):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    thread = threading.Thread(target=publisher.close)
    thread.start()
    thread.join()
    assert Reader(tmp_path / "default.db").statistics().samples == 12


def test_two_publishers_of_one_store_are_refused(tmp_path: Path) -> None:
    first, second = build("local://", tmp_path), build("local://", tmp_path)
    first.open()
    with pytest.raises(ConfigError, match="writes this store"):
        second.open()
    first.close()
