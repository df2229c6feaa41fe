# SPDX-License-Identifier: Apache-2.0
"""Expressions: what they give, what they refuse and where; nothing of them runs as code."""

import ast
from pathlib import Path
from types import MappingProxyType

import pytest

from ceilo_agent import expressions
from ceilo_agent.errors import Malformed
from ceilo_agent.expressions import evaluation
from ceilo_agent.expressions.expression import (
    Condition,
    EvaluationError,
    VolumeExpression,
)
from ceilo_agent.expressions.formula import Formula
from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from tests.pages import ROOT, blocks

MITAKA_CPU = "100.0 / (10**9 * (resource_metadata.cpu_number or 1))"


def made(volume=8, meter="cpu", source="guests", project="p1", **metadata):
    meter = Meter(meter, "ns", SampleType.CUMULATIVE)
    resource = Resource("vm-1", project, None, "instance", metadata)
    return Sample(meter, resource, 1000.0, volume, source=source)


def value(text, sample=None, **metadata):
    return VolumeExpression.parse(text)(sample or made(**metadata))


def holds(text, sample=None, **metadata):
    return Condition.parse(text)(sample or made(**metadata))


def fault(kind, text):
    with pytest.raises(Malformed) as caught:
        kind.parse(text)
    error = caught.value
    assert 0 <= error.offset <= len(text)
    assert "\n" not in error.what + error.hint
    return error.offset, error.what, error.hint


# -- what they give ------------------------------------------------------------------------------


def test_mitakas_expression_of_cpu_util_works_unchanged():
    assert value(MITAKA_CPU, cpu_number=4) == 100.0 / (10**9 * 4)
    assert value(MITAKA_CPU) == 100.0 / 10**9, "without the number of CPUs it is 1"
    assert value(MITAKA_CPU, cpu_number=0) == 100.0 / 10**9
    assert value(MITAKA_CPU, cpu_number=None) == 100.0 / 10**9
    assert value(MITAKA_CPU, cpu_number=2.5) == 100.0 / (10**9 * 2.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("volume", 8),
        ("5", 5),
        (" -5.5 ", -5.5),
        ("volume * 1.8 + 32", 8 * 1.8 + 32),
        ("1 + 2 * 3 - 4", 3),
        ("100 / volume / 5", 2.5),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("volume // 3", 2),
        ("volume % 3", 2),
        ("-volume % 3", 1),
        ("volume - 10", -2),
        ("10 - volume", 2),
        ("volume - volume / 2", 4.0),
        ("volume / (volume + volume)", 0.5),
        ("+volume - -volume", 16),
        ("min(volume, 3)", 3),
        ("max(volume, 3, 11, 4)", 11),
        ("abs(volume - 20)", 12),
        ("round(volume / 3)", 3),
        ("round(volume / 3, 2)", 2.67),
        ("round(volume * 100 + 55, -2)", 900),
        ("1 if volume > 5 else 2", 1),
        ("1 if volume > 9 else 2", 2),
        ("1 if not volume else 2 if volume == 8 else 3", 2),
        ("(volume > 5) * 10", 10),
        ("volume * (unit == 'ns')", 8),
        ("0 or volume", 8),
        ("volume and 3", 3),
        ("resource_metadata.a or resource_metadata.b or 7", 7),
        ("volume\n  * 2\n", 16),
        ("\tvolume\r\n* 2", 16),
        ("0x10 + 1_000", 1016),
    ],
)
def test_values(text, expected):
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


def test_whole_numbers_stay_exact():
    largest = 2**64 - 1
    assert value("volume * 1", volume=largest) == largest
    assert value("volume % 2**32", volume=largest) == 2**32 - 1
    assert value("volume * 10**3", volume=2**53 + 1) == (2**53 + 1) * 1000
    assert type(value("volume % 2**32", volume=largest)) is int


def test_whole_numbers_beyond_64_bits_become_floats():
    assert value("volume * 2", volume=2**63) == 2.0**64
    assert type(value("volume * 2", volume=2**63)) is float
    assert type(value("-volume", volume=2**63)) is int
    assert type(value("-volume", volume=2**63 + 1)) is float
    assert type(value("volume * 2", volume=2**63 - 1)) is int


def test_a_power_beyond_128_bits_is_computed_on_floats():
    assert value("volume ** 20", volume=10**9) == 1e180
    assert value("volume ** 0.5", volume=16) == 4.0
    assert value("volume ** -1", volume=4) == 0.25


def test_names_are_those_of_the_sample():
    sample = made(a="x")
    assert holds(
        "name == 'cpu' and unit == 'ns' and type == 'cumulative' and resource_id == 'vm-1' "
        "and project_id == 'p1' and user_id == None and source == 'guests' "
        "and resource_metadata.a == 'x' and volume == 8",
        sample,
    )


def test_fields_are_the_names_that_are_read():
    assert VolumeExpression.parse(MITAKA_CPU).fields == {"resource_metadata"}
    assert VolumeExpression.parse("volume * 2").fields == {"volume"}
    assert VolumeExpression.parse("5").fields == frozenset()
    assert Condition.parse("name == 'a' or project_id").fields == {"name", "project_id"}


def test_another_volume_can_stand_in_for_the_samples():
    expression = VolumeExpression.parse("volume * 2")
    assert expression(made(volume=3), 10) == 20
    assert expression(made(volume=3), 0) == 0
    assert expression(made(volume=3)) == 6


def test_expressions_of_one_text_are_equal():
    assert VolumeExpression.parse("volume") == VolumeExpression.parse("volume")
    assert VolumeExpression.parse("volume") != VolumeExpression.parse("volume ")
    assert VolumeExpression.parse("1") != Condition.parse("volume > 1")
    assert len({Condition.parse("volume > 1"), Condition.parse("volume > 1")}) == 1
    assert repr(Condition.parse("volume > 1")) == "Condition('volume > 1')"
    assert Formula.parse("$(a) ").text == "$(a) "


# -- metadata ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "resource_metadata.flavor.vcpus or 1",
        "resource_metadata.flavor.vcpus.more or 1",
        'resource_metadata["flavor"]["vcpus"] or 1',
        "resource_metadata.flavor or 1",
    ],
)
def test_missing_metadata_is_none_at_any_depth(text):
    assert value(text) == 1
    assert value(text, flavor=None) == 1
    assert holds(text.replace(" or 1", " == None"))


def test_metadata_is_read_by_attributes_and_by_names_in_quotes():
    metadata = {"flavor": MappingProxyType({"vcpus": 4, "a.b": 5}), "x-y": 6, "é": 7}
    assert value("resource_metadata.flavor.vcpus", **metadata) == 4
    assert value("resource_metadata.flavor['a.b']", **metadata) == 5
    assert value("resource_metadata['x-y'] + resource_metadata.é", **metadata) == 13
    assert value("resource_metadata.flavor.vcpus.more or 9", **metadata) == 9


def test_metadata_under_the_names_of_pythons_attributes_is_only_metadata():
    text = "resource_metadata.keys or 3"
    assert value(text) == 3
    assert value(text, keys=4) == 4
    assert value('resource_metadata["__class__"] or 3') == 3


@pytest.mark.parametrize("x", ["text", "8", None, [1], {"a": 1}, b"1", float("nan"), float("inf")])
@pytest.mark.parametrize(
    "text",
    [
        "resource_metadata.x",
        "resource_metadata.x * volume",
        "volume * resource_metadata.x",
        "10**9 * resource_metadata.x",
        "resource_metadata.x + resource_metadata.x",
        "resource_metadata.x % 7",
        "-resource_metadata.x",
        "max(resource_metadata.x, 1)",
        "abs(resource_metadata.x)",
        "round(resource_metadata.x)",
        "resource_metadata.x ** 2",
        "volume * (resource_metadata.x if volume else 1)",
        "(resource_metadata.y or resource_metadata.x) * 1000000000",
    ],
)
def test_metadata_that_is_no_number_gives_no_volume(text, x):
    with pytest.raises(EvaluationError) as caught:
        value(text, x=x)
    reasons = {evaluation.NO_NUMBER}
    if x == float("inf") and text == "resource_metadata.x":
        reasons = {evaluation.RANGE}
    assert caught.value.reason in reasons


def test_a_default_does_not_stand_in_for_a_text():
    with pytest.raises(EvaluationError, match="no number"):
        value("10 * (resource_metadata.x or 1)", x="4")
    assert value("10 * (resource_metadata.x or 1)", x="") == 10


def test_a_number_of_the_metadata_beyond_64_bits_is_computed_on_floats():
    """Thirty factors of 4,000 digits would take a tenth of a second for each sample."""
    assert value("(resource_metadata.x or 1) % 10 ** 30", x=2**100 + 1) == 2.0**100 % 10**30
    assert value("resource_metadata.x // 1", x=2**64 + 1) == 2.0**64
    for text in ("resource_metadata.x // 10 ** 30", "(resource_metadata.x or 1) // 10 ** 30"):
        with pytest.raises(EvaluationError, match="range"):
            value(text, x=10**4000)


def test_a_truth_of_the_metadata_counts_as_0_or_1():
    assert value("resource_metadata.x + 1", x=True) == 2
    assert type(value("resource_metadata.x", x=True)) is int
    assert type(value("max(volume > 1, resource_metadata.x)", x=False)) is int


# -- conditions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("volume > 5", True),
        ("volume < 5", False),
        ("5 < volume <= 8", True),
        ("5 < volume < 8", False),
        ("1 < 2 < volume != 9", True),
        ("volume >= 8 and volume <= 8", True),
        ("volume == 8.0", True),
        ("volume != 8", False),
        ("not volume", False),
        ("volume and not volume > 9", True),
        ("name in ('cpu', 'memory')", True),
        ("name in ['memory']", False),
        ("name not in ('cpu', 'memory')", False),
        ("volume in (-8, +8)", True),
        ("1 < volume in (2, 8)", True),
        ("resource_metadata.x in (None, 1)", True),
        ("resource_metadata.x == True", False),
        ("resource_metadata.x", False),
        ("not resource_metadata.x", True),
        ("project_id", True),
        ("user_id", False),
        ("user_id == None", True),
        ("volume > 5 if name == 'cpu' else volume > 10", True),
        ("name < 'd'", True),
        ("(resource_metadata.memory or 0) > 512", False),
        ("type in ('gauge', 'delta')", False),
        ("'cpu' == name", True),
    ],
)
def test_conditions(text, expected):
    assert holds(text) is expected


def test_a_condition_gives_a_truth_of_any_metadata():
    assert holds("resource_metadata.x", x=[0]) is True
    assert holds("resource_metadata.x or volume > 9", x={}) is False
    assert holds("resource_metadata.x == resource_metadata.y", x=[1], y=[1]) is True


@pytest.mark.parametrize("x", [None, "text", [1], {}])
def test_an_order_of_unlike_values_is_a_reason_not_a_crash(x):
    with pytest.raises(EvaluationError) as caught:
        holds("resource_metadata.x > 5", x=x)
    assert caught.value.reason == evaluation.UNLIKE


def test_metadata_nested_without_end_is_a_reason_not_a_crash():
    deep, other = [], []
    deep.append(deep)
    other.append(other)
    with pytest.raises(EvaluationError):
        holds("resource_metadata.x == resource_metadata.y", x=deep, y=other)


# -- what a sample may end in --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "volume", "reason"),
    [
        ("1 / volume", 0, "division by zero"),
        ("1 // volume", 0, "division by zero"),
        ("1 % volume", 0.0, "division by zero"),
        ("volume ** -1", 0, "division by zero"),
        ("volume ** 1000", 1e9, "beyond a number's range"),
        ("10 ** volume", 10**10, "beyond a number's range"),
        ("10 ** 10 ** volume", 10, "beyond a number's range"),
        ("volume * 10", 1e308, "beyond a number's range"),
        ("volume * volume / 2", 10**200, "beyond a number's range"),
        ("volume * volume", 10**200, "beyond a number's range"),
        ("volume ** 0.5", -8, "a complex number"),
        ("volume * 1e300 - volume * 1e300", 1e300, "no number"),
        ("round(volume * 1e300)", 1e300, "beyond a number's range"),
        ("round(volume * 1e300 - volume * 1e300)", 1e300, "no number"),
        ("2 / 3 if volume else resource_metadata.x", 0, "no number"),
    ],
)
def test_what_gives_no_volume_gives_a_reason(text, volume, reason):
    with pytest.raises(EvaluationError) as caught:
        value(text, volume=volume)
    assert caught.value.reason == reason
    assert caught.value.reason in evaluation.REASONS
    assert str(caught.value) == reason


# -- what is refused, and where ------------------------------------------------------------------

NAMES = (
    "there are volume, name, unit, type, resource_id, project_id, user_id, source, "
    "resource_metadata, abs, max, min, round; a text stands in quotes"
)
FUNCTIONS = "there are abs, max, min, round"
NOT_ALLOWED = "is not allowed in an expression"


@pytest.mark.parametrize(
    ("text", "offset", "what", "hint"),
    [
        # attribute walks and calls
        ("volume.__class__", 7, "'volume' has no part '__class__'",
         "only resource_metadata has parts"),
        ("volume.__class__.__mro__[1]", 25, "a name in quotes was expected in [ ]", ""),
        ("volume.real", 7, "'volume' has no part 'real'", "only resource_metadata has parts"),
        ("volume . real", 9, "'volume' has no part 'real'", "only resource_metadata has parts"),
        ("(1).real", 4, "a value has no part 'real'", "only resource_metadata has parts"),
        ("'a'.join(name)", 4, "only functions can be called", FUNCTIONS),
        ("name.upper()", 5, "only functions can be called", FUNCTIONS),
        ("resource_metadata.x.pop()", 20, "only functions can be called", FUNCTIONS),
        (
            "resource_metadata.__class__",
            18,
            "'__class__' is no name of metadata",
            'write resource_metadata["NAME"] for any name',
        ),
        ("resource_metadata[0]", 18, "a name in quotes was expected in [ ]", ""),
        ("resource_metadata['a':'b']", 18, "a name in quotes was expected in [ ]", ""),
        (
            "resource_metadata * 2",
            0,
            "one entry of resource_metadata was expected",
            "write resource_metadata.NAME",
        ),
        ("__import__('os')", 0, "unknown function '__import__'", FUNCTIONS),
        ("1 + eval('1')", 4, "unknown function 'eval'", FUNCTIONS),
        ("mix(1, 2)", 0, "unknown function 'mix'", "did you mean 'min'?"),
        ("(lambda: 1)()", 1, f"a lambda {NOT_ALLOWED}", ""),
        ("(volume)()", 1, "unknown function 'volume'", FUNCTIONS),
        ("'a'()", 0, "only functions can be called", FUNCTIONS),
        # names
        ("volme", 0, "unknown name 'volme'", "did you mean 'volume'?"),
        ("2 * metadata.x", 4, "unknown name 'metadata'", "did you mean 'resource_metadata'?"),
        ("timestamp", 0, "unknown name 'timestamp'", NAMES),
        ("\uff56olume", 0, "unknown name '\uff56olume'", "did you mean 'volume'?"),
        ("min", 0, "'min' is a function", "write min(...)"),
        (
            "$(cpu) * 2",
            0,
            "'$' stands before a meter: an expression of one sample has none",
            "its volume is 'volume'",
        ),
        # forms
        ("lambda: 1", 0, f"a lambda {NOT_ALLOWED}", ""),
        ("2 * [x for x in volume]", 4, f"a comprehension {NOT_ALLOWED}", ""),
        ("max(x for x in volume)", 3, f"a comprehension {NOT_ALLOWED}", ""),
        ("{x for x in volume}", 0, f"a comprehension {NOT_ALLOWED}", ""),
        ("{x: 1 for x in volume}", 0, f"a comprehension {NOT_ALLOWED}", ""),
        ("f'{volume}'", 0, f"a formatted text {NOT_ALLOWED}", ""),
        ("(volume := 2)", 1, f"an assignment {NOT_ALLOWED}", "'==' compares"),
        ("{'a': 1}", 0, f"a mapping {NOT_ALLOWED}", ""),
        ("{1}", 0, f"a set {NOT_ALLOWED}", ""),
        ("[1]", 0, f"a list {NOT_ALLOWED}", "it can stand after 'in'"),
        (
            "volume / 0,5",
            0,
            f"a list {NOT_ALLOWED}",
            "the decimal sign is a point; a list can stand after 'in'",
        ),
        ("max(*volume, 1)", 4, f"a star before a value {NOT_ALLOWED}", ""),
        ("min(1, volume, key=abs)", 19, "min takes no named values", ""),
        ("max(1, **resource_metadata)", 9, "max takes no named values", ""),
        ("(yield)", 1, f"yield {NOT_ALLOWED}", ""),
        ("(await volume)", 1, f"await {NOT_ALLOWED}", ""),
        ("volume & 2", 7, f"the operator '&' {NOT_ALLOWED}", "write 'and'"),
        ("(volume) | (2)", 9, f"the operator '|' {NOT_ALLOWED}", "write 'or'"),
        ("volume ^ 2", 7, f"the operator '^' {NOT_ALLOWED}", "a power is written '**'"),
        ("volume << 2", 7, f"the operator '<<' {NOT_ALLOWED}", "write '* 2 **'"),
        ("volume >> 2", 7, f"the operator '>>' {NOT_ALLOWED}", "write '// 2 **'"),
        ("volume @ 2", 7, f"the operator '@' {NOT_ALLOWED}", "a product is written '*'"),
        ("1 + ~volume", 4, f"the operator '~' {NOT_ALLOWED}", "write 'not'"),
        ("1 if volume is 2 else 3", 12, f"'is' {NOT_ALLOWED}", "write '=='"),
        ("1 if volume is not None else 3", 12, f"'is not' {NOT_ALLOWED}", "write '!='"),
        ("2j * volume", 0, "'2j' is neither a number nor a text", ""),
        ("volume * b'a'", 9, "'b'a'' is neither a number nor a text", ""),
        ("volume * ...", 9, "'...' is neither a number nor a text", ""),
        ("volume + True", 9, "True can only stand in a comparison", "with '==', '!=' or 'in'"),
        ("volume or None", 10, "None can only stand in a comparison", "with '==', '!=' or 'in'"),
        ("volume # of what", 7, "a comment cannot stand in an expression", ""),
        # syntax
        ("", 0, "the expression is empty", ""),
        ("  \n ", 0, "the expression is empty", ""),
        ("volume *", 8, "ends too early", ""),
        ("  volume * \n", 10, "ends too early", ""),
        ("volume * * 2", 9, "unexpected '*'", ""),
        ("volume 2", 7, "unexpected '2'", ""),
        ("volume; 1", 6, "unexpected ';'", ""),
        ("volume = 2", 7, "unexpected '='", "'==' compares"),
        ("volume && 2", 8, "unexpected '&'", "write 'and'"),
        ("volume ? 1 : 2", 7, "unexpected '?'", "write A if CONDITION else B"),
        ("import os", 0, "unexpected 'import'", ""),
        ("(volume", 0, "'(' is never closed", ""),
        ("max(volume, (1)", 3, "'(' is never closed", ""),
        ("volume)", 6, "')' closes nothing", ""),
        ("1) + (2", 1, "')' closes nothing", ""),
        ("(volume]", 7, "']' closes nothing", ""),
        ("unit == 'B", 8, "this quote is never closed", ""),
        ("unit == 'B\\'", 8, "this quote is never closed", ""),
        ("1 if volume", 0, "'if' without 'else'", ""),
        ("volume \x00", 7, "unexpected character '\\x00'", ""),
        ("volume\ud800", 6, "unexpected character '\\ud800'", ""),
        ("volume\xa0+ 1", 6, "unexpected '\\xa0'", ""),
        # places after characters of several bytes, and in later lines
        ("'é' == 'é' or volme", 14, "unknown name 'volme'", "did you mean 'volume'?"),
        ("\n  volume *\n  volme\n", 14, "unknown name 'volme'", "did you mean 'volume'?"),
        ("volume *\r\n\tvolme", 11, "unknown name 'volme'", "did you mean 'volume'?"),
        ("resource_metadata['é\U0001f600'].__a__", 24, "'__a__' is no name of metadata",
         'write resource_metadata["NAME"] for any name'),
        # kinds
        ("volume > 5", 0, "gives true or false, a number was expected", ""),
        ("not volume", 0, "gives true or false, a number was expected", ""),
        ("name", 0, "gives a text, a number was expected", ""),
        ("'a'", 0, "gives a text, a number was expected", ""),
        ("'a' * 10", 0, "gives a text, a number was expected", ""),
        ("10 * 'a'", 5, "gives a text, a number was expected", ""),
        ("'%d' % volume", 0, "gives a text, a number was expected", ""),
        ("volume + name", 9, "gives a text, a number was expected", ""),
        ("-name", 1, "gives a text, a number was expected", ""),
        ("max(volume, name)", 12, "gives a text, a number was expected", ""),
        ("volume if volume > 5 else name", 26, "gives a text, a number was expected", ""),
        ("(volume or user_id) + 1", 11, "gives a text, a number was expected", ""),
        ("volume > 5 and volume", 0, "gives true or false, a number was expected", ""),
        ("1 if name > 5 else 2", 12, "a text cannot be compared with a number", ""),
        # functions
        ("1 + max(volume)", 4, "max takes at least two numbers", ""),
        ("min()", 0, "min takes at least two numbers", ""),
        ("abs(1, 2)", 0, "abs takes one number", ""),
        ("round()", 0, "round takes one number, and may take how many digits", ""),
        ("round(volume, 21)", 14, "round takes a whole number of digits from -20 to 20", ""),
        ("round(volume, 1.0)", 14, "round takes a whole number of digits from -20 to 20", ""),
        ("round(volume, volume)", 14, "round takes a whole number of digits from -20 to 20", ""),
        # constants
        ("10**10**10", 0, "beyond a number's range", ""),
        ("volume + 10**10**10", 9, "beyond a number's range", ""),
        ("2 * 1e999", 4, "beyond a number's range", ""),
        ("9" * 400, 0, "beyond a number's range", ""),
        ("1e308 * 10", 0, "beyond a number's range", ""),
        ("volume / 0", 9, "division by zero", ""),
        ("volume // (1 - 1)", 11, "division by zero", ""),
        ("volume % 0.0", 9, "division by zero", ""),
        ("volume + 0 ** -1", 9, "division by zero", ""),
        ("volume + (-8) ** 0.5", 9, "a complex number", ""),
        # size
        ("1" * 1001, 1000, "is longer than 1,000 characters", ""),
        ("+".join("1" * 101), 0, "has more than 200 names, numbers and operators", ""),
        ("-" * 31 + "1", 30, "is nested more than 30 deep", ""),
        ("(" * 500 + ")" * 500, 60, "is nested too deeply", ""),
    ],
)  # fmt: skip
def test_refused_expressions(text, offset, what, hint):
    assert fault(VolumeExpression, text) == (offset, what, hint)


COMPARE = 'compare it, as in unit == "B"'


@pytest.mark.parametrize(
    ("text", "offset", "what", "hint"),
    [
        ("volume", 0, "gives a number, true or false was expected", "compare it, as in volume > 0"),
        ("volume * 2", 0, "gives a number, true or false was expected",
         "compare it, as in volume > 0"),
        ("5", 0, "gives a number, true or false was expected", "compare it, as in volume > 0"),
        ("'a'", 0, "gives a text, true or false was expected", COMPARE),
        ("name", 0, "gives a text, true or false was expected", COMPARE),
        ("name == 'a' or 'b'", 15, "gives a text, true or false was expected", COMPARE),
        ("resource_metadata.x or 1", 23, "is always true, whatever the sample", ""),
        ("1 > 2", 0, "is always false, whatever the sample", ""),
        ("not 0", 0, "is always true, whatever the sample", ""),
        ("True", 0, "True can only stand in a comparison", "with '==', '!=' or 'in'"),
        ("name == cpu", 8, "unknown name 'cpu'", NAMES),
        ("name = 'cpu'", 5, "unexpected '='", "'==' compares"),
        ("unit === 'B'", 7, "unexpected '='", "'==' compares"),
        ("name == 5", 8, "a text cannot be compared with a number", ""),
        ("volume == '5'", 10, "a number cannot be compared with a text", ""),
        ("volume == True", 10, "a number cannot be compared with true or false", ""),
        ("volume == None", 10, "a number cannot be compared with nothing", ""),
        ("0 < volume < name", 13, "a number cannot be compared with a text", ""),
        ("volume > None", 9, "None is neither above nor below anything",
         "'==' and '!=' compare it"),
        ("True < resource_metadata.x", 0, "True is neither above nor below anything",
         "'==' and '!=' compare it"),
        ("type == 'gauges'", 8, "the type is never 'gauges'", "did you mean 'gauge'?"),
        ("type in ('gauge', 'x')", 18, "the type is never 'x'",
         "it is gauge, cumulative, delta"),
        ("name in 'cpu'", 8, "a list was expected after 'in'", "write (A, B)"),
        ("name in ('cpu')", 9, "a list was expected after 'in'", "write (A, B)"),
        ("'nova' in name", 10, "a list was expected after 'in'", "write (A, B)"),
        ("name in ()", 8, "the list after 'in' is empty", ""),
        ("name in ('a', unit)", 14, "a number or a text was expected in the list", ""),
        ("name in ('a', 5)", 14, "a text cannot be compared with a number", ""),
        ("volume in (1, (2, 3))", 14,
         f"a list {NOT_ALLOWED}", "the decimal sign is a point; a list can stand after 'in'"),
        ("volume in (1, 2) == True", 10, "a list ends a comparison", ""),
        ("name is 'cpu'", 5, f"'is' {NOT_ALLOWED}", "write '=='"),
        ("volume > 5 and volume.x", 22, "'volume' has no part 'x'",
         "only resource_metadata has parts"),
    ],
)  # fmt: skip
def test_refused_conditions(text, offset, what, hint):
    assert fault(Condition, text) == (offset, what, hint)


def test_a_long_sum_is_not_deep():
    assert value("+".join(["volume"] * 100), volume=1) == 100


def test_a_wrong_escape_is_told_where_it_stands():
    assert fault(Condition, r"name == 'a\xq'") == (
        10,
        "a backslash in a text begins no character",
        "",
    )


@pytest.mark.parametrize(
    "text",
    [
        "(" * 500 + "1" + ")" * 499,
        "[" * 999,
        "-" * 999 + "1",
        "not " * 249 + "1",
        "~" * 999 + "1",
        "volume" + ".a" * 490,
        "volume" + "[0]" * 330,
        "volume" + "()" * 490,
        "1 if 1 else " * 83 + "1",
        "lambda:" * 142 + "1",
        "+".join("1" * 500),
        "1**" * 300 + "1",
        "9" * 1000,
        "1 < " * 249 + "1",
        "f'{" * 300,
        "f" + "'" * 999,
        "{1:" * 333,
        "a" * 1000,
    ],
)
def test_nasty_texts_are_refused_like_others(text):
    fault(VolumeExpression, text)
    fault(Condition, text)
    fault(Formula, text)
    fault(Formula, "$(a)+" + text[:990])


# -- formulas ------------------------------------------------------------------------------------


def formula(text, **samples):
    return Formula.parse(text)({name.replace("_", "-"): s for name, s in samples.items()})


def test_a_formula_reads_the_volumes_of_its_meters():
    made_of = Formula.parse("100 * $(memory.usage) / $(memory)")
    assert made_of.meters == ("memory.usage", "memory")
    samples = {"memory": made(volume=512), "memory.usage": made(volume=128), "cpu": made()}
    assert made_of(samples) == 25.0
    assert made_of.fields == {"volume"}


def test_a_hyphen_belongs_to_the_name_of_a_meter():
    assert Formula.parse("$(a-b) - $(é.c) - $(a-b)").meters == ("a-b", "é.c")
    assert formula("$(a-b)-1", a_b=made(volume=3)) == 2


def test_a_formula_reads_metadata_of_each_sample():
    text = "$(a) / ($(a).resource_metadata.x or 1) + $(b).resource_metadata['f']['y']"
    assert formula(text, a=made(volume=6, x=2), b=made(volume=0, f={"y": 5})) == 8
    assert formula("$(a).resource_metadata.x", a=made(x=3)) == 3


def test_a_formula_without_a_value_gives_a_reason():
    for text, volume, reason in (
        ("1 / $(a)", 0, "division by zero"),
        ("$(a) * $(a).resource_metadata.x", 1, "no number"),
        ("$(a) ** 0.5", -1, "a complex number"),
        ("$(a) + $(b)", 1, "a meter is missing"),
    ):
        with pytest.raises(EvaluationError) as caught:
            formula(text, a=made(volume=volume))
        assert caught.value.reason == reason


def test_a_meter_in_quotes_is_a_text():
    text = "$(a) if $(a).resource_metadata.x == '$(b)' else -1"
    assert Formula.parse(text).meters == ("a",)
    assert formula(text, a=made(x="$(b)")) == 8


METERS = "an expression of meters, $(name), was expected"


@pytest.mark.parametrize(
    ("text", "offset", "what", "hint"),
    [
        ("5", 0, METERS, ""),
        ("volume * 2", 0, METERS, ""),
        ("'$(a)'", 0, METERS, ""),
        ("$(a) * volume", 7, "'volume' belongs to no meter here", "write $(a)"),
        ("$(a) * unit", 7, "'unit' belongs to no meter here", "write $(a).resource_metadata.NAME"),
        ("$(cpu) + cpu", 9, "unknown name 'cpu'", "write $(cpu)"),
        ("$(a.b) + volme", 9, "unknown name 'volme'", "write $(volme)"),
        ("$(é.b) +\n volme", 10, "unknown name 'volme'", "write $(volme)"),
        ("$(a)b", 0, "unknown name '$(a)b'", FUNCTIONS),
        ("1 + b$(a)", 4, "unknown name 'b$(a)'", FUNCTIONS),
        ("$(a)(5)", 0, "unknown function '$(a)'", FUNCTIONS),
        ("$(a) $(b)", 5, "unexpected '$'", ""),
        ("1 + $(cpu util)", 4, "'$' begins no meter", "a meter is written $(name)"),
        ("1 + $()", 4, "'$' begins no meter", "a meter is written $(name)"),
        ("$cpu + $(b)", 0, "'$' begins no meter", "a meter is written $(name)"),
        ("$(a).volume", 5, "'$(a)' has no part 'volume'",
         "only $(name).resource_metadata has parts"),
        ("$(a).metadata.x", 5, "'$(a)' has no part 'metadata'",
         "did you mean 'resource_metadata'?"),
        ("$(a).__class__", 5, "'$(a)' has no part '__class__'",
         "only $(name).resource_metadata has parts"),
        ("$(a)['resource_metadata'].x", 5, "'$(a)' has no part 'resource_metadata'",
         "did you mean 'resource_metadata'?"),
        ("$(a) > 5", 0, "gives true or false, a number was expected", ""),
        ("$(a) / 0", 7, "division by zero", ""),
        ("$(a", 1, "'(' is never closed", ""),
        ("_" * 4 + " + $(a)", 0, "unknown name '____'", FUNCTIONS),
    ],
)  # fmt: skip
def test_refused_formulas(text, offset, what, hint):
    assert fault(Formula, text) == (offset, what, hint)


# -- the page about expressions -------------------------------------------------------------------

PAGE = {block.name: block.text for block in blocks(ROOT / "doc" / "source" / "expressions.rst")}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("expressions", VolumeExpression), ("conditions", Condition), ("formulas", Formula)],
)
def test_the_expressions_of_the_page_are_right(name, kind):
    lines = PAGE[name].splitlines()
    assert len(lines) >= 3
    for line in lines:
        kind.parse(line)


def test_the_page_tells_mistakes_in_the_words_of_the_program():
    for line in PAGE["expression-mistakes"].splitlines():
        text, _, said = line.partition("  ")
        _, what, hint = fault(VolumeExpression, text)
        assert said.strip() == what + (f" ({hint})" if hint else "")


def test_the_page_names_every_name_function_and_reason():
    page = (ROOT / "doc" / "source" / "expressions.rst").read_text("utf-8")
    for reason in evaluation.REASONS:
        assert f"* - ``{reason}``\n" in page
    for name in NAMES.removeprefix("there are ").partition(";")[0].split(", "):
        assert f"``{name}" in page


# -- nothing runs as code ------------------------------------------------------------------------


def test_no_module_of_the_expressions_makes_code():
    files = sorted(Path(expressions.__file__).parent.glob("*.py"))
    assert len(files) > 5
    for path in files:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "compile", "__import__", "getattr"}


# -- where it goes wrong inside brackets, and what was meant ---------------------------------------


@pytest.mark.parametrize(
    ("text", "at", "what", "hint"),
    [
        ("(volume = 3)", "= 3", "unexpected '='", "'==' compares"),
        ("  ( volume = 3 )", "= 3", "unexpected '='", "'==' compares"),
        ("(volume 3)", "3)", "unexpected '3'", ""),
        ("(volume > )", ")", "unexpected ')'", ""),
        ("((volume > 1) = 3)", "= 3", "unexpected '='", "'==' compares"),
        ('not (resource_metadata.x = "a)")', "= ", "unexpected '='", "'==' compares"),
        ("max(volume, 3 4) > 1", "4)", "unexpected '4'", ""),
        ("(1 < 2) and max(volume = 3, 2) > 1", "= 3", "unexpected '='", "'==' compares"),
        ("resource_metadata[name = 3]", "= 3", "unexpected '='", "'==' compares"),
        ('(name == "(") & & volume', "& volume", "unexpected '&'", "write 'and'"),
        ("(name == volume = 3) and (volume 4)", "= 3", "unexpected '='", "'==' compares"),
    ],
)
def test_a_fault_inside_brackets_is_told_where_it_goes_wrong(text, at, what, hint):
    assert fault(Condition, text) == (text.index(at), what, hint)


@pytest.mark.parametrize(
    ("kind", "text", "at", "hint"),
    [
        (Condition, 'display_name == "x"', 0, "resource_metadata.display_name reads metadata"),
        (Condition, 'flavor.name == "x"', 0, "resource_metadata.flavor.name reads metadata"),
        (Condition, 'resource_metadata.a-b-c == "x"', 20, 'write resource_metadata["a-b-c"]'),
        (
            Condition,
            'resource_metadata.display-name == "x"',
            26,
            'write resource_metadata["display-name"]',
        ),
        (Condition, "volume > 1,073,741,824", 9, "write 1_073_741_824"),
        (Condition, "volume > (1,741,824)", 10, "write 1_741_824"),
        (Formula, "100 * memory.usage / memory", 6, "write $(memory.usage)"),
        (Formula, "100 * $(memory.usage) / memory.x", 24, "write $(memory.x)"),
        (Formula, "100 * $(memory.usage) / memory", 24, "write $(memory)"),
    ],
)
def test_what_was_meant_is_said(kind, text, at, hint):
    offset, _, said = fault(kind, text)
    assert (offset, said) == (at, hint)


def test_digits_may_be_grouped_by_underscores():
    assert value("volume / 1_073_741_824", made(2**30)) == 1.0
    assert fault(VolumeExpression, "volume * 1,8")[2].startswith("the decimal sign is a point")


def test_a_difference_of_metadata_needs_no_blanks():
    assert value("resource_metadata.a-resource_metadata.b", a=5, b=3) == 2
    assert value("resource_metadata.a-volume", a=10) == 2
