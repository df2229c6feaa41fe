# SPDX-License-Identifier: Apache-2.0
"""Two notification agents share the queues of a broker, and one of them dies."""

from __future__ import annotations

from pathlib import Path

from tests.functional import agent, split
from tests.functional.split import Agent, Hosts
from tests.services import redis
from tests.services.rabbitmq import RabbitMQ


def owned(made: Agent) -> set[str]:
    """Return the queues that an agent with one worker consumes, as its log has it."""
    said = [line for line in made.log.read_text().splitlines() if "queues consumed: " in line]
    names = said[-1].partition("queues consumed: ")[2] if said else "none"
    return set() if names == "none" else set(names.split(", "))


def test_two_agents_share_the_queues_and_one_goes_on_for_both(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    with redis.running(tmp_path / "redis") as back:
        more = f"[coordination]\nbackend_url = {back.url}?timeout=4\n"
        one = Agent.made(tmp_path / "one", broker.url, more=more)
        other = Agent.made(tmp_path / "other", broker.url, more=more)
        _live_and_die(broker.url, one, other)


def _live_and_die(url: str, one: Agent, other: Agent) -> None:
    whole = {str(number) for number in range(split.QUEUES)}

    def shared() -> bool:
        first, second = owned(one), owned(other)
        return len(first) == len(second) == split.QUEUES / 2 and first | second == whole

    with split.running(one), Hosts(url) as hosts:
        with split.started(other):
            agent.wait_until(shared, 60, "they do not share")
            before = len(hosts.sent)
            agent.wait_until(
                lambda: len(hosts.sent) > before + 400 and one.points() and other.points()
            )
        agent.wait_until(lambda: owned(one) == whole, 60, "nobody has the queues of the dead one")
        with split.running(other):
            agent.wait_until(shared, 60, "it is not taken back")
            before = len(hosts.sent)
            agent.wait_until(lambda: len(hosts.sent) > before + 400)
            hosts.__exit__()
            wanted = set(hosts.sent)
            agent.wait_until(
                lambda: wanted <= {*one.points(), *other.points()}, 60, "points are missing"
            )
            assert wanted == {*one.points(), *other.points()}
