# SPDX-License-Identifier: Apache-2.0
"""Whatever is written and whatever a sample holds: a fault, a value or a reason, and soon."""

import math
import time
from types import SimpleNamespace

import pytest
from hypothesis import strategies as st

from ceilo_agent.errors import Malformed
from ceilo_agent.expressions import evaluation
from ceilo_agent.expressions.expression import (
    Condition,
    EvaluationError,
    VolumeExpression,
)
from ceilo_agent.expressions.formula import Formula
from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from tests.fuzzing import twice

KINDS = (VolumeExpression, Condition, Formula)
LONGEST = 0.5
"""Seconds of processor time that one text and one sample may take, far above what they do."""

WORDS = """
    volume name unit type resource_id project_id user_id source resource_metadata $(a) $(b-c) $
    .x .__class__ ["x"] [0] resource_metadata.x resource_metadata.y.z
    0 1 2 10 0.5 1e308 9999999999 1e999 2j 'a' "b" '%1000000d' f'{1}' b'a' True False None ...
    + - * / // % ** @ & | ^ ~ << >> == != < <= > >= in not is and or if else lambda : := = , ;
    ( ) [ ] { } () (1,2) min max abs round min( max( round( eval( __import__( for await yield * **
    # \\ ' " \x00 é \U0001f600 \ud800 \xa0 \uff56 _ __ !
"""
tokens = st.sampled_from([*WORDS.split(), " ", "\n", "\t"])

numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)


def sample(volume, x, y):
    resource = Resource("vm-1", "p", None, "instance", {"x": x, "y": y})
    return Sample(Meter("a", "B", SampleType.GAUGE), resource, 0.0, volume)


def soon(function, *given):
    """Call a function, again if it took long: the garbage of others may have been collected."""
    for _ in range(3):
        begin = time.process_time()
        made = function(*given)
        if time.process_time() - begin < LONGEST:
            return made
    raise AssertionError(f"longer than {LONGEST} s")


def evaluate(made, given):
    """Return what an expression gives, None where it gives a reason."""

    def call():
        try:
            return made({"a": given, "b-c": given} if isinstance(made, Formula) else given)
        except EvaluationError as error:
            return error

    found = soon(call)
    if isinstance(found, EvaluationError):
        assert found.reason in evaluation.REASONS
        return None
    if isinstance(made, Condition):
        assert type(found) is bool
    else:
        assert type(found) in (int, float)
        assert math.isfinite(found)
        assert type(found) is float or -(2**63) <= found < 2**64
    return found


def parse(kind, text):
    """Return what a text is, None where it is refused."""

    def call():
        try:
            return kind.parse(text)
        except Malformed as error:
            return error

    found = soon(call)
    if not isinstance(found, Malformed):
        return found
    assert 0 <= found.offset <= len(text)
    assert found.what
    assert (found.what + found.hint).isprintable()
    return None


def of_tokens(text, volume, x, y):
    for kind in KINDS:
        made = parse(kind, text)
        if made is not None:
            evaluate(made, sample(volume, x, y))


test_tokens, test_tokens_long = twice(
    of_tokens,
    st.lists(tokens, max_size=25).map("".join),
    numbers,
    anything,
    anything,
    short=150,
    long=50_000,
    examples=[
        ("volume ** volume ** volume ** volume", 2**70, None, None),
        ("$(a) ** $(a) ** $(a)", 2**70, None, None),
        ("resource_metadata.x * resource_metadata.x", 1, "a" * 1000, None),
        ("resource_metadata.x ** resource_metadata.y", 1, 10**4000, 10**4000),
        ("resource_metadata.x < resource_metadata.y", 1, [[]], [[]]),
    ],
)


def of_texts(text):
    for kind in KINDS:
        parse(kind, text)
        parse(kind, f"$(a) + {text}")


test_texts, test_texts_long = twice(
    of_texts,
    st.text(max_size=30),
    short=150,
    long=50_000,
    examples=[("\r\n",), ("\x0c1",), ("'\\N{",)],
)


def of_one_thing_many_times(first, second, times):
    for kind in KINDS:
        parse(kind, (first + second) * times)
        parse(kind, first * times + "1" + second * times)


test_one_thing_many_times, test_one_thing_many_times_long = twice(
    of_one_thing_many_times, tokens, tokens, st.integers(1, 600), short=40, long=5_000
)


LEAVES = st.sampled_from(
    ["volume", "resource_metadata.x", "(resource_metadata.y or 2)", "3", "0.5"]
)


def larger(inner):
    operators = st.sampled_from(["+", "-", "*", "/", "//", "%", "or", "and"])
    orders = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    condition = st.tuples(inner, orders, inner).map(" ".join)
    one, two = st.sampled_from(["abs", "round", "-", "+"]), st.sampled_from(["min", "max"])
    return st.one_of(
        st.tuples(inner, operators, inner).map("({0[0]} {0[1]} {0[2]})".format),
        st.tuples(inner, condition, inner).map("({0[0]} if {0[1]} else {0[2]})".format),
        st.tuples(two, inner, inner).map("{0[0]}({0[1]}, {0[2]})".format),
        st.tuples(one, inner).map("{0[0]}({0[1]})".format),
    )


small = st.integers(-1000, 1000) | st.floats(-1e6, 1e6)


def of_what_python_gives(text, volume, x, y):
    made = parse(VolumeExpression, text)
    names = {"volume": volume, "resource_metadata": SimpleNamespace(x=x, y=y)}
    try:
        expected = eval(text, {}, names)
    except (ZeroDivisionError, OverflowError):
        expected = None
    if isinstance(expected, float) and not math.isfinite(expected):
        expected = None
    if type(expected) is int and not -(2**63) <= expected < 2**64:
        expected = float(expected)
    if made is None:  # a part of constants alone that gives nothing
        with pytest.raises(Malformed, match="division by zero"):
            VolumeExpression.parse(text)
        return
    found = evaluate(made, sample(volume, x, y))
    assert found == expected
    assert type(found) is type(expected)


test_an_expression_gives_what_python_gives, test_an_expression_gives_what_python_gives_long = twice(
    of_what_python_gives,
    st.recursive(LEAVES, larger, max_leaves=8),
    small,
    small,
    small | st.none(),
    short=150,
    long=20_000,
    examples=[
        ("100.0 / (1000000000 * (resource_metadata.y or 1))", 1, 1, None),
        ("round(volume / resource_metadata.y)", 1, 0, 9.2e-304),
    ],
)
