# SPDX-License-Identifier: Apache-2.0
"""What every publisher that sends over the network must do when that fails.

The other side is a real server on loopback (`tests.services.faulty`) that fails as it is told to.
Those that do not send (console, file, local, the page for Prometheus) have tests of their own for
what can fail on this machine.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ceilo_agent.delivery.log import Limits, Log, Offer
from ceilo_agent.delivery.memory import MemoryQueue
from ceilo_agent.delivery.outlet import Outlet
from ceilo_agent.delivery.queues import Counters, Queue
from ceilo_agent.errors import Permanent, Retryable
from ceilo_agent.plugins import Promise
from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from tests.services import certificates, faulty
from tests.unit.publishers.kinds import KINDS, NETWORKED, Tried, trying

NOW = float(int(time.time())) - 600.0
CPU = Meter("cpu", "ns", SampleType.CUMULATIVE)
BAD = Meter("bad.meter", "ns", SampleType.CUMULATIVE)
GUEST = Resource("guest-1", "project", "user", "instance", {"display_name": "web"})

ON_THIS_MACHINE = {"console", "file", "local", "prometheus"}
"""Kinds that send nothing over the network."""

OVER_A_BROKER = {"notifier"}
"""Tried with a real one, in ``tests/functional/test_bus.py``."""


@pytest.fixture(params=sorted(NETWORKED))
def tried(
    request: pytest.FixtureRequest, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Iterator[Tried]:
    with trying(request.param, tmp_path, capfd, timeout=5.0) as found:
        found.publisher.open()
        yield found


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificate:
    return certificates.certificate(tmp_path_factory.mktemp("tls"))


def samples(count: int, first: int = 0, meter: Meter = CPU) -> list[Sample]:
    return [Sample(meter, GUEST, NOW + n, 1000 + n) for n in range(first, first + count)]


def server(tried: Tried) -> faulty.Server:
    assert tried.place.server is not None
    return tried.place.server


def warm(tried: Tried) -> list[Sample]:
    """Push once, so that the next push is of the kind that is made all day."""
    batch = samples(2)
    tried.publisher.push(batch)
    assert tried.arrived(batch)
    return batch


def test_every_kind_is_tried_or_sends_nothing() -> None:
    ours = {name for name in KINDS if name not in NETWORKED}
    assert ours <= ON_THIS_MACHINE | OVER_A_BROKER or not set(NETWORKED)


# -- one push ------------------------------------------------------------------------------------


def test_a_refused_connection_is_tried_again(tried: Tried) -> None:
    first = warm(tried)
    server(tried).stop()
    batch = samples(3, 10)
    for _ in range(2):
        with pytest.raises(Retryable, match="Connection refused"):
            tried.publisher.push(batch)
    server(tried).start()
    tried.publisher.push(batch)
    assert tried.arrived(first + batch)


def test_a_server_that_is_away_at_the_start_is_no_fault_of_the_configuration(
    tried: Tried,
) -> None:
    server(tried).stop()
    other = tried.another()
    with contextlib.suppress(Retryable):
        other.open()
    server(tried).start()
    other.open()
    other.push(samples(1))
    other.close()
    assert tried.arrived(samples(1))


def test_a_server_that_hangs_is_left_in_time(
    tried: Tried, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = warm(tried)
    other = tried.another(timeout=0.5)
    other.open()
    server(tried).usual, usual = faulty.hang, server(tried).usual
    began = time.monotonic()
    with pytest.raises(Retryable):
        other.push(samples(1, 10))
    assert time.monotonic() - began < 5.0
    server(tried).usual = usual
    other.push(samples(1, 10))
    other.close()
    assert tried.arrived(first + samples(1, 10))


def test_a_slow_server_is_waited_for(tried: Tried) -> None:
    first = warm(tried)
    usual = server(tried).usual

    def slow(exchange: faulty.Exchange) -> None:
        exchange.wait(0.3)
        usual(exchange)

    server(tried).usual = slow
    tried.publisher.push(samples(2, 10))
    assert tried.arrived(first + samples(2, 10))


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503, 504])
def test_a_refusal_that_may_pass_is_tried_again(tried: Tried, status: int) -> None:
    first = warm(tried)
    usual = server(tried).usual
    server(tried).usual = faulty.status(status, b"not so")
    for _ in range(2):
        with pytest.raises(Retryable, match=str(status)) as caught:
            tried.publisher.push(samples(2, 10))
        assert caught.value.retry_after is None
    server(tried).usual = usual
    tried.publisher.push(samples(2, 10))
    assert tried.arrived(first + samples(2, 10))


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_handed_on(tried: Tried, status: int) -> None:
    warm(tried)
    server(tried).usual = faulty.status(status, b"later", {"Retry-After": "7"})
    with pytest.raises(Retryable) as caught:
        tried.publisher.push(samples(2, 10))
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_of_the_samples_is_permanent(tried: Tried, status: int) -> None:
    warm(tried)
    server(tried).usual = faulty.status(status, b"bad samples")
    with pytest.raises(Permanent, match=str(status)):
        tried.publisher.push(samples(2, 10))


@pytest.mark.parametrize(
    "behaviour",
    [
        faulty.garbage(),
        faulty.cut_request,
        faulty.cut_before_reply,
        faulty.cut_amid_reply,
        faulty.status(301, b"", {"Location": "http://elsewhere/"}),
        faulty.status(302, b"", {"Location": "http://elsewhere/"}),
    ],
    ids=["garbage", "dies at once", "dies before the answer", "dies amid it", "moved", "found"],
)
def test_what_is_no_answer_is_tried_again(tried: Tried, behaviour: faulty.Behaviour) -> None:
    first = warm(tried)
    usual = server(tried).usual
    server(tried).usual = behaviour
    for _ in range(2):
        with pytest.raises(Retryable):
            tried.publisher.push(samples(2, 10))
    server(tried).usual = usual
    tried.publisher.push(samples(2, 10))
    assert tried.arrived(first + samples(2, 10))


def test_a_server_that_took_the_samples_and_died_before_it_said_so(tried: Tried) -> None:
    first = warm(tried)
    usual, lost = server(tried).usual, samples(2, 10)

    def die(exchange: faulty.Exchange) -> None:
        usual(exchange.mute())
        exchange.cut()

    server(tried).usual = die
    with pytest.raises(Retryable):
        tried.publisher.push(lost)
    server(tried).usual = usual
    tried.publisher.push(lost)
    doubled = [] if Promise.IDEMPOTENT in tried.publisher.promises else lost
    assert tried.arrived(first + lost + doubled)


def test_a_connection_that_idled_away_is_no_fault(tried: Tried) -> None:
    usual = server(tried).usual
    for number in range(3):
        server(tried).usual = faulty.closing(usual)
        tried.publisher.push(samples(1, number))
        while server(tried).open:
            time.sleep(0.001)
    assert tried.arrived(samples(3))


def test_a_wrong_certificate_is_refused_and_told(
    tried: Tried, certificate: certificates.Certificate
) -> None:
    server(tried).context = certificates.tls(certificate)
    other = tried.another()
    with contextlib.suppress(Retryable):
        other.open()
    with pytest.raises(Retryable, match="certificate"):
        other.push(samples(1))
    other.close()
    assert server(tried).requests == []


def test_the_right_certificate_is_taken(
    tried: Tried, certificate: certificates.Certificate
) -> None:
    server(tried).context = certificates.tls(certificate)
    other = tried.another(verify_ssl=str(certificate.cert))
    other.open()
    other.push(samples(2))
    other.close()
    assert tried.arrived(samples(2))


def test_a_request_that_was_taken_in_part(tried: Tried) -> None:
    if tried.kind.partial is None:
        pytest.skip(f"{tried.name}: no answer says that")
    warm(tried)
    server(tried).usual = tried.kind.partial
    with pytest.raises(Permanent) as caught:
        tried.publisher.push(samples(5, 10))
    named = len(caught.value.refused or {})
    assert named + caught.value.lost == 1


# -- behind an outlet ----------------------------------------------------------------------------


def log(tmp_path: Path) -> Log:
    made = Log(tmp_path / "spool", Limits(), fsync=False, clock=time.time, monotonic=time.monotonic)
    made.open()
    made.enroll(["tried"])
    return made


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def adds_up(queue: Queue) -> Counters:
    found = queue.counters
    done = found.delivered + found.set_aside + found.dropped
    assert found.offered == done + queue.waiting, found
    return found


@contextlib.contextmanager
def delivering(tried: Tried, queue: Queue) -> Iterator[Outlet]:
    outlet = Outlet("tried", tried.another(timeout=5.0), queue)
    outlet.open()
    outlet.start()
    try:
        yield outlet
    finally:
        outlet.close(time.monotonic() + 10)


def refusing(tried: Tried, bad: str) -> faulty.Behaviour:
    """Refuse requests that hold a bad sample, with 400; the rest as usual."""
    usual, holds = server(tried).usual, tried.kind.holds
    assert holds is not None

    def behave(exchange: faulty.Exchange) -> None:
        request = exchange.peek()
        if any(bad in one["name"] for one in holds(request)):
            faulty.status(400, b"a bad sample")(exchange)
        else:
            usual(exchange)

    return behave


@contextlib.contextmanager
def offered(kind: str, tmp_path: Path, batch: list[Sample]) -> Iterator[Any]:
    """A queue of either kind that holds a batch."""
    if kind == "memory":
        queue = MemoryQueue("tried")
        queue.offer(batch)
        yield queue
    else:
        made = log(tmp_path)
        made.offer([Offer(["tried"], batch)])
        yield made.queue("tried")
        made.close()


@pytest.mark.parametrize("kind", ["memory", "log"])
def test_one_bad_sample_is_found_and_the_others_arrive(
    tried: Tried, tmp_path: Path, kind: str
) -> None:
    server(tried).usual = refusing(tried, "bad")
    good = samples(20)
    with offered(kind, tmp_path, [*good[:7], *samples(1, 7, BAD), *good[7:]]) as queue:
        with delivering(tried, queue):
            until(lambda: not queue.waiting)
        aside = int(kind == "log")
        assert adds_up(queue) == Counters(21, 20, set_aside=aside, dropped=1 - aside)
    assert tried.arrived(good)


@pytest.mark.parametrize("kind", ["memory", "log"])
def test_a_request_taken_in_part_is_counted_in_part(
    tried: Tried, tmp_path: Path, kind: str
) -> None:
    if tried.kind.partial is None:
        pytest.skip(f"{tried.name}: no answer says that")
    server(tried).script(tried.kind.partial)
    with offered(kind, tmp_path, samples(10)) as queue:
        with delivering(tried, queue):
            until(lambda: not queue.waiting)
        assert adds_up(queue) == Counters(offered=10, delivered=9, dropped=1)
    assert len(server(tried).requests) == 1


def test_after_an_outage_all_arrive_in_order(tried: Tried) -> None:
    usual = server(tried).usual
    server(tried).usual = faulty.status(503)
    queue = MemoryQueue("tried")
    with delivering(tried, queue):
        for number in range(5):
            queue.offer(samples(10, 10 * number))
        until(lambda: bool(server(tried).requests))
        server(tried).usual = usual
        until(lambda: not queue.waiting)
    assert adds_up(queue) == Counters(offered=50, delivered=50)
    assert tried.arrived(samples(50))


def test_what_only_memory_holds_at_the_end_is_dropped_and_counted(tried: Tried) -> None:
    server(tried).stop()
    queue = MemoryQueue("tried")
    outlet = Outlet("tried", tried.another(timeout=0.5), queue)
    outlet.open()
    outlet.start()
    queue.offer(samples(10))
    began = time.monotonic()
    outlet.close(time.monotonic() + 0.5)
    assert time.monotonic() - began < 5.0
    assert adds_up(queue) == Counters(offered=10, dropped=10)


def test_what_is_durable_waits_on_disk_over_the_end(tried: Tried, tmp_path: Path) -> None:
    if Promise.DURABLE not in tried.publisher.promises:
        pytest.skip(f"{tried.name} does not promise it")
    server(tried).stop()
    first = log(tmp_path)
    queue: Any = first.queue("tried")
    outlet = Outlet("tried", tried.another(timeout=0.5), queue)
    outlet.open()
    outlet.start()
    for number in range(5):
        first.offer([Offer(["tried"], samples(10, 10 * number))])
    outlet.close(time.monotonic() + 0.5)
    assert adds_up(queue) == Counters(offered=50)
    first.close()

    server(tried).start()
    second = log(tmp_path)
    queue = second.queue("tried")
    with delivering(tried, queue):
        until(lambda: not queue.waiting)
    assert adds_up(queue) == Counters(offered=50, delivered=50)
    second.close()
    assert tried.arrived(samples(50))
