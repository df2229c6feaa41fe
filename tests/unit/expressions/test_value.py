# SPDX-License-Identifier: Apache-2.0
"""Paths into documents, and the operations behind them."""

from __future__ import annotations

import functools
import operator
import time
from typing import Any

import pytest

from ceilo_agent.errors import Malformed
from ceilo_agent.expressions.value import Absent, Unusable, Value

LINKS = [{"href": "http://a/2", "rel": "next"}, {"href": "http://a/0", "rel": "prev"}]
NEXT = "links | filter(lambda v: v.get('rel') == 'next', value) | list(value) | value[0]"

GIVES: list[tuple[str, Any, Any]] = [
    ("a", {"a": 1}, 1),
    ("a.b.c", {"a": {"b": {"c": [2]}}}, [2]),
    ("a.1.b", {"a": [{}, {"b": 3}]}, 3),
    ("OS-EXT-AZ:availability_zone", {"OS-EXT-AZ:availability_zone": "nova"}, "nova"),
    (" a . b ".replace(" . ", "."), {"a": {"b": 1}}, 1),
    (".", [1], [1]),
    # What Ceilometer's documentation writes.
    (". | value['some_field'] if 'some_field' in value else ''", {}, ""),
    ("user | value.split('$')[0].strip()", {"user": " p $u"}, "p"),
    ("user | value.split ('$') | value[0] | value.strip()", {"user": " p $u"}, "p"),
    (f"{NEXT} | value.get('href')", {"links": LINKS}, "http://a/2"),
    (f"{NEXT} | value.get('href') | value.replace('http:', 'https:')", {"links": LINKS},
     "https://a/2"),
    ("image | value or { 'id': '' } | value['id']", {"image": ""}, ""),
    ("image | value or { 'id': '' } | value['id']", {"image": {"id": "i"}}, "i"),
    ("tags | ','.join(value)", {"tags": ["a", "b"]}, "a,b"),
    # Operators.
    ("a | value + 1", {"a": 1}, 2),
    ("a | value + 'x'", {"a": "y"}, "yx"),
    ("a | value + [2]", {"a": [1]}, [1, 2]),
    ("a | -value // 2 % 3", {"a": 7}, 2),
    ("a | value ** 2 / 4", {"a": 4}, 4.0),
    ("a | 1 < value <= 3", {"a": 3}, True),
    ("a | value == 'ACTIVE' and 1 or 0", {"a": "ACTIVE"}, 1),
    ("a | 0 if value is None else value", {"a": None}, 0),
    ("a | value is not None", {"a": 1}, True),
    ("a | value not in ['x', 'y']", {"a": "z"}, True),
    ("a | {'up': 1, 'down': 0}.get(value, -1)", {"a": "down"}, 0),
    ("a | not value", {"a": []}, True),
    ("a | f'{value}/{value + 1}'", {"a": 1}, "1/2"),
    ("a | value == {'b': [1, 2]}", {"a": {"b": [1, 2]}}, True),
    # Parts.
    ("a | value[-1]", {"a": [1, 2]}, 2),
    ("a | value[1:3]", {"a": "hello"}, "el"),
    ("a | value[::-1]", {"a": [1, 2]}, [2, 1]),
    ("a | value.split('|')[1]", {"a": "b|c"}, "c"),
    # Functions.
    ("a | int(value)", {"a": "12"}, 12),
    ("a | int(value, 16)", {"a": "ff"}, 255),
    ("a | int(value)", {"a": 2.9}, 2),
    ("a | float(value)", {"a": "1.5"}, 1.5),
    ("a | str(value)", {"a": [1]}, "[1]"),
    ("a | round(value, 1)", {"a": 1.26}, 1.3),
    ("a | max(value) - min(value)", {"a": [1, 5]}, 4),
    ("a | min(value, 3)", {"a": 5}, 3),
    ("a | sum(value) + len(value) + abs(-1)", {"a": [1, 2]}, 6),
    ("a | sum(x['b'] for x in value)", {"a": [{"b": 1}, {"b": 2}]}, 3),
    ("a | any(value)", {"a": [0, 1]}, True),
    ("a | all(value)", {"a": [0, 1]}, False),
    ("a | sorted(value)[0]", {"a": ["b", "a"]}, "a"),
    ("a | map(lambda x: x * 2, value)", {"a": [1]}, [2]),
    ("a | [x + y for x in value if x > 1 for y in value]", {"a": [1, 2]}, [3, 4]),
    ("a | {k: v for k, v in value.items() if v}", {"a": {"x": 1, "y": 0}}, {"x": 1}),
    ("a | [value for value in value] + [value]", {"a": [1]}, [1, [1]]),
    # Methods.
    ("a | value.keys() + value.values()", {"a": {"x": 1}}, ["x", 1]),
    ("a | value.upper().lower().lstrip().rstrip()", {"a": " B "}, "b"),
    ("a | value.removeprefix('x').removesuffix('z')", {"a": "xyz"}, "y"),
    ("a | value.startswith('x') and value.endswith('z')", {"a": "xyz"}, True),
    ("a | value.splitlines()[0].isdigit()", {"a": "1\n2"}, True),
    ("a | value.rsplit('.', 1)[0].count('.')", {"a": "x.y.z"}, 1),
]  # fmt: skip


@pytest.mark.parametrize(("text", "document", "expected"), GIVES, ids=[each[0] for each in GIVES])
def test_it_gives(text: str, document: Any, expected: Any) -> None:
    found = Value.parse(text)(document)
    assert found == expected
    assert type(found) is type(expected)


OURS = {
    "a.1.b": "a place in a list",
    "a | value.split('|')[1]": "a bar in quotes",
    "a | value.keys() + value.values()": "lists, not views",
    "a | map(lambda x: x * 2, value)": "a list, not an iterator",
}
"""What Ceilometer cannot do, or does otherwise."""


@pytest.mark.parametrize(
    ("text", "document"), [each[:2] for each in GIVES if each[0] not in OURS], ids=str
)
def test_ceilometer_gives_the_same(text: str, document: Any) -> None:
    path, *operations = text.split("|")
    keys = [] if path.strip() == "." else path.strip().split(".")
    value = functools.reduce(operator.getitem, keys, document)
    for operation in operations:
        value = eval(operation.strip(), {"value": value})
    assert Value.parse(text)(document) == value


ABSENT: list[tuple[str, Any]] = [
    ("a", {}),
    ("a.b", {"a": {}}),
    ("a.b", {"a": None}),
    ("a.b", {"a": "text"}),
    ("a.2", {"a": [1]}),
    ("a", None),
    ("a | value['b']", {"a": {}}),
    ("a | value['b']['c']", {"a": {"b": None}}),
    (f"{NEXT} | value['href']", {"links": []}),
]


@pytest.mark.parametrize(("text", "document"), ABSENT)
def test_it_leads_nowhere(text: str, document: Any) -> None:
    with pytest.raises(Absent):
        Value.parse(text)(document)


FAILS: list[tuple[str, Any, str]] = [
    ("value + 'x'", 1, "a text and a number cannot be added: str() makes a text"),
    ("1 / value", 0, "division by zero"),
    ("value * 2", "a", "no number"),
    ("value ** value", 10_000, "beyond a number's range"),
    ("value ** 0.5", -1, "a complex number"),
    ("value < 'a'", 1, "values that cannot be compared"),
    ("'a' in value", None, "null holds nothing that 'in' could find"),
    ("1 in value", "a", "a number is never part of a text"),
    ("value['a']", [1], "a list takes a whole number in [ ], not a text"),
    ("value[0]", 1, "a number has no parts"),
    ("value.lower()", [1], "a list has no lower()"),
    ("value.split(1)", "a", "split() does not take a number there"),
    ("value.split('')", "a", "an empty separator"),
    ("','.join(value)", [1], "join() takes a list of texts"),
    ("int(value)", "12 %", "a text is not a whole number"),
    ("float(value)", "nan", "NaN and infinity are no numbers"),
    ("int(value)", None, "int takes a number or a text, not null"),
    ("len(value)", 1, "a number has no length"),
    ("max(value)", [], "max of an empty list"),
    ("sorted(value)", [1, "a"], "sorted takes numbers alone or texts alone"),
    ("[x for x in value]", "abc", "'for' takes a list, not a text"),
    ("[a for a, b in value]", [[1]], "an item of the list has not 2 parts"),
    ("value[::0]", [1], "the step of a slice is 0"),
    ("round(value, 99)", 1, "round takes a whole number of digits from -20 to 20"),
    ("sample['id']", 1, "there is no 'sample' here"),
]


@pytest.mark.parametrize(
    ("path", "document", "where"),
    [
        ("a.b", {"a": {"x": "secret", "y": 1}}, "a mapping with 'x', 'y'"),
        ("a.b", {"a": dict.fromkeys("stuvwxyz")}, "a mapping with 's', 't', 'u', 'v', 'w', ..."),
        ("a.b", {"a": {"long" * 10: 1}}, "a mapping with 'longlonglonglonglonglonglonglo'"),
        ("a.b", {"a": {}}, "a mapping"),
        ("a.7", {"a": ["secret"]}, "a list"),
        ("a.b", {"a": "secret"}, "a text"),
        ("a.b", {"a": None}, "null"),
    ],
)
def test_a_path_that_leads_nowhere_tells_where_it_ends(path, document, where):
    with pytest.raises(Absent) as caught:
        Value.parse(path)(document)
    assert str(caught.value) == f"nothing at '{path}': it ends at {where}"


@pytest.mark.parametrize(("operation", "value", "words"), FAILS, ids=[each[0] for each in FAILS])
def test_it_fails_in_words(operation: str, value: Any, words: str) -> None:
    with pytest.raises(Unusable) as caught:
        Value.parse(f". | {operation}")(value)
    assert str(caught.value) == f"'. | {operation}': {words}"


MALFORMED: list[tuple[str, int, str]] = [
    ("", 0, "a path was expected"),
    ("a..b", 2, "a name is missing in the path"),
    ("a[0].b", 1, "'[' cannot stand in a path"),
    ("a |", 2, "an operation was expected"),
    ("a | | value", 2, "an operation was expected"),
    ("a | valeu", 4, "unknown name 'valeu'"),
    ("é | 'ü' + valeu", 10, "unknown name 'valeu'"),
    ("a | value.__class__", 10, "'.__class__' is not allowed in an expression"),
    ("a | value.__class__()", 10, "unknown method '__class__'"),
    ("a | value.format(1)", 10, "unknown method 'format'"),
    ("a | __import__('os')", 4, "unknown function '__import__'"),
    ("a | eval(value)", 4, "unknown function 'eval'"),
    ("a | open('/etc/passwd')", 4, "unknown function 'open'"),
    ("a | lambda: 1", 4, "a lambda is not allowed in an expression"),
    ("a | (lambda v: v)(value)", 5, "only functions can be called"),
    ("a | value.get('b')()", 4, "only functions can be called"),
    ("a | filter(len, value)", 4, "filter takes a lambda and a list"),
    ("a | map(lambda x, y: x, value)", 4, "the lambda of map takes one value"),
    ("a | value.split(sep=',')", 20, "split takes no named values"),
    ("a | value.split(*value)", 16, "a star before a value is not allowed in an expression"),
    ("a | int()", 4, "int takes 1 to 2 values"),
    ("a | value.upper(1)", 4, "upper takes nothing"),
    ("a | value.upper", 10, "'upper' is called"),
    ("a | len", 4, "'len' is a function"),
    ("a | value is 1", 10, "'is' is not allowed in an expression"),
    ("a | value | 1 & 2", 14, "the operator '&' is not allowed in an expression"),
    ("a | (x := value)", 5, "an assignment is not allowed in an expression"),
    ("a | {value}", 4, "a set is not allowed in an expression"),
    ("a | {**value}", 4, "'**' is not allowed in an expression"),
    ("a | f'{value!r}'", 4, "only values can stand in { }, no formats"),
    ("a | f'{value:>99999999}'", 4, "only values can stand in { }, no formats"),
    ("a | x for x in value", 6, "unexpected 'for'"),
    ("a | [x for x in value] + [x]", 26, "unknown name 'x'"),
    ("a | 'a' * 99999999", 4, "gives a text, a number was expected"),
    ("a | 9 ** 9 ** 9 ** 9", 9, "beyond a number's range"),
    ("a | value +", 11, "ends too early"),
    ("a | value['b'", 9, "'[' is never closed"),
    ("a | 'b", 4, "this quote is never closed"),
    ("a | value # b", 10, "a comment cannot stand in an expression"),
    ("a | (" + "(" * 99, 64, "is nested too deeply"),
    ("a | " + "+".join(["value"] * 150), 0, "has more than 200 names, numbers and operators"),
    ("a | value + " + "1" * 1000, 1000, "is longer than 1,000 characters"),
]


@pytest.mark.parametrize(("text", "offset", "what"), MALFORMED, ids=[m[0][:40] for m in MALFORMED])
def test_it_is_refused_at_its_place(text: str, offset: int, what: str) -> None:
    with pytest.raises(Malformed) as caught:
        Value.parse(text)
    assert (caught.value.what, caught.value.offset) == (what, offset)


COSTLY: list[tuple[str, Any]] = [
    (" | ".join([".", *["[value, value]"] * 50]), 1),
    (" | ".join([".", *["value + value"] * 60]), "text"),
    (" | ".join([".", *["value + value"] * 60]), [1]),
    (" | ".join([".", *["[value, value]"] * 40, "str(value)"]), 1),
    (" | ".join([".", *["[value, value]"] * 40, "[value == [value[0], value[1]], 1]"]), 1),
    (" | ".join([".", *["value.replace('a', 'aaaaaaaaaa')"] * 20]), "a"),
    (" | ".join([".", *["','.join([value, value])"] * 30]), "a"),
    (" | ".join([".", *["f'{value}{value}'"] * 30]), "a"),
    (". | [[[[x for x in value] for x in value] for x in value] for x in value]", [0] * 1000),
    (". | [x for x in value for y in value for z in value]", [0] * 1000),
    (". | [x in value for x in value]", [str(number) for number in range(100_000)]),
    (". | [sorted(value) for x in value]", list(range(5000))),
    (". | [value.split('a') for x in value.split('b')]", "ab" * 50_000),
    (". | value.split('a')", "a" * 10_000_000),
    (". | value.splitlines()", "\n" * 10_000_000),
    (" | ".join([".", *["value * value"] * 60]), 3),
]


@pytest.mark.parametrize(("text", "document"), COSTLY, ids=[each[0][:40] for each in COSTLY])
def test_what_would_cost_much_ends_soon(text: str, document: Any) -> None:
    began = time.process_time()
    with pytest.raises(Unusable):
        Value.parse(text)(document)
    assert time.process_time() - began < 10, "far above what it takes, far below what it would"


def test_a_document_is_left_as_it_is() -> None:
    document = {"a": [3, 1], "b": {"c": 1}}
    for text in ("a | sorted(value)", "a | value + [1]", "a | value[::-1]", "a | list(value)"):
        Value.parse(text)(document)
    assert document == {"a": [3, 1], "b": {"c": 1}}


def test_names_are_told_with_their_places() -> None:
    found = Value.parse("a | value + sample['x'] | project['id'] + sample['y']")
    assert found.names == {"sample": 12, "project": 26}
    names = {"sample": {"x": "1", "y": "2"}, "project": {"id": "p"}}
    assert found({"a": "0"}, names) == "p2"


def test_an_expression_reads_names_alone() -> None:
    found = Value.expression("'/v3/projects/' + str(sample['project_id'])")
    assert found(None, {"sample": {"project_id": 7}}) == "/v3/projects/7"
    with pytest.raises(Malformed):
        Value.expression("v3/projects")


def test_two_are_equal_if_their_texts_are() -> None:
    assert Value.parse("a | value + 1") == Value.parse("a | value + 1")
    assert Value.parse("a") != Value.parse("b")
    assert len({Value.parse("a"), Value.parse("a")}) == 1
    assert repr(Value.parse("a.b")) == "Value('a.b')"
