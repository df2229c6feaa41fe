# SPDX-License-Identifier: Apache-2.0
"""Whatever is written and whatever a document holds: a fault, a value or a reason, and soon."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from hypothesis import strategies as st

from ceilo_agent.errors import Malformed
from ceilo_agent.expressions.value import Absent, Unusable, Value
from tests.fuzzing import twice

LONGEST = 5.0
"""Seconds of processor time that one text and one document may take, far above what they do."""

WORDS = """
    value project sample x y . .a a.b a.0 | || .__class__ .x ['a'] [0] [-1] [1:] [::2] [::0]
    0 1 2 -1 0.5 1e308 99999999999999999999 2j 'a' "b" '' f'{value}' b'a' True False None ...
    + - * / // % ** @ & ^ ~ << == != < <= > >= in not is and or if else lambda : := = ,
    ( ) [ ] { } () (1,2) [value,value] {'a':value} int( float( str( len( round( min( max( abs(
    sum( any( all( sorted( list( filter( map( bool( eval( __import__( .split( .join( .lower()
    .replace( .get( .keys() .values() .items() .strip() .count( .format( for x in lambda x:
    [x for x in value] (x for x in value) {x:x for x in value} filter(lambda x: x, value)
    # \\ ' " \x00 é \U0001f600 \ud800 _ __ !
"""
tokens = st.sampled_from([*WORDS.split(), " ", "\n"])
operations = st.sampled_from(
    [
        "value + value", "value * value", "[value, value]", "str(value)", "value ** value",
        "value['a']", "value[0]", "value[-1:]", "len(value)", "sorted(value)", "sum(value)",
        "max(value)", "int(value)", "float(value)", "value.split('a')", "','.join(value)",
        "value.replace('', 'aaaa')", "value.items()", "[x for x in value]", "round(value, 3)",
        "[[y for y in value] for x in value]", "{k: v for k, v in value.items()}",
        "value == [value]", "value in value", "value < value", "value or 1", "not value",
        "value.get('a', value)", "f'{value}{value}'", "filter(lambda x: x == value, value)",
        "map(lambda x: [x, value], value)", "value // value", "value % value", "-value",
        "value.upper()", "value.strip()", "value[0]['a']", "value if value else 0",
    ]
)  # fmt: skip
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["12", "nan", "1e999", "9" * 5000, 10**400, -(2**70)]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["a", "b", "0", ""]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def parsed(text: str) -> Value | Malformed:
    try:
        return Value.parse(text)
    except Malformed as error:
        return error


def tried(text: str, document: Any) -> None:
    began = time.process_time()
    found = parsed(text)
    if isinstance(found, Malformed):
        assert 0 <= found.offset <= len(text)
        assert found.what
    else:
        with contextlib.suppress(Absent, Unusable):
            found(document, {"project": document})
    assert time.process_time() - began < LONGEST


test_tokens, test_tokens_long = twice(
    tried,
    st.lists(tokens, max_size=12).map(lambda parts: ". | " + "".join(parts)),
    documents,
    short=400,
    long=40_000,
)
test_any_text, test_any_text_long = twice(
    tried, st.text(max_size=20), documents, short=200, long=20_000
)
test_operations, test_operations_long = twice(
    tried,
    st.lists(operations, max_size=8).map(lambda parts: " | ".join([".", *parts])),
    documents,
    short=400,
    long=40_000,
)
