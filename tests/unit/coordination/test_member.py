# SPDX-License-Identifier: Apache-2.0
"""How members are called."""

import pytest

from ceilo_agent import options
from ceilo_agent.coordination.groups import parsed
from ceilo_agent.coordination.member import MOST, Member, newest


def test_a_member_is_read_as_it_was_written():
    member = Member.new("a|b host.example", 7)
    assert Member.parse(str(member)) == member


def test_two_runs_of_an_agent_are_two_members():
    assert Member.new("a", 1) != Member.new("a", 1)


@pytest.mark.parametrize(
    "text", ["", "a", "a|1", "|1|x", "a|0|x", "a|11|x", "a|-1|x", "a|one|x", "a|1|", "a|²|x"]
)
def test_what_is_no_member_of_ours_is_refused(text):
    with pytest.raises(ValueError, match=r"member|unpack|literal"):
        Member.parse(text)


def test_members_of_other_programs_are_passed_over():
    ours = Member.new("a", 1)
    assert list(parsed([b"other", str(ours).encode(), b"\xff\xfe|1|x|", b"x|y|z"])) == [ours]


def test_the_weight_of_a_name_is_that_of_its_last_run():
    members = [Member("a", 5, "2"), Member("a", 1, "1"), Member("b", 1, "3")]
    assert newest(members) == {"a": 5, "b": 1}


def test_every_weight_that_may_be_configured_is_understood():
    (weight,) = (option for option in options.GROUPS["coordination"] if option.name == "weight")
    assert weight.type.max == MOST
