# SPDX-License-Identifier: Apache-2.0
"""What of Python is an expression over a document: more than over a sample, and as strict."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from ceilo_agent.errors import Malformed, nearest
from ceilo_agent.expressions import methods, operations
from ceilo_agent.expressions.bounds import MOST_TEXT, Unusable, too_long
from ceilo_agent.expressions.document_names import DocumentNames
from ceilo_agent.expressions.functions import FUNCTIONS, OF_EACH, text_of
from ceilo_agent.expressions.grammar import Grammar
from ceilo_agent.expressions.iteration import Loop, Target, run
from ceilo_agent.expressions.source import Source
from ceilo_agent.expressions.terms import ANYTHING, Evaluate, Kind, Term
from ceilo_agent.shown import shown

_CALLED: Final = (*FUNCTIONS, *OF_EACH)
_FORMATTING: Final = {"format", "format_map"}


class DocumentGrammar(Grammar):
    """Turns the tree of an operation into one term.

    Args:
        source: of the tree.
        names: what it may read.
    """

    def __init__(self, source: Source, names: DocumentNames) -> None:
        super().__init__(source, names)
        self._document_names = names
        more: dict[type[ast.expr], Callable[[Any], Term]] = {
            ast.Constant: self._value,
            ast.Name: self._bare,
            ast.Attribute: self._attribute,
            ast.Subscript: self._subscript,
            ast.List: self._list,
            ast.Tuple: self._list,
            ast.Dict: self._mapping,
            ast.ListComp: self._comprehension,
            ast.GeneratorExp: self._comprehension,
            ast.DictComp: self._mapping_of_each,
            ast.JoinedStr: self._joined_text,
        }
        self._readers.update(more)

    # -- names and parts -------------------------------------------------------------------------

    def _bare(self, node: ast.Name) -> Term:
        offset = self._source.offset(node)
        if node.id in _CALLED:
            raise Malformed(f"'{node.id}' is a function", offset, f"write {node.id}(...)")
        return self._names.term(node.id, offset, ())

    def _attribute(self, node: ast.Attribute) -> Term:
        part = self._part(node)
        if node.attr in methods.METHODS:
            what, hint = f"'{node.attr}' is called", f"write .{node.attr}(...)"
        else:
            what = f"'.{shown(node.attr)}' is not allowed in an expression"
            hint = f"a part of a mapping is written ['{shown(node.attr)}']"
            hint = "" if node.attr.startswith("__") else hint
        raise Malformed(what, part.offset, hint)

    def _subscript(self, node: ast.Subscript) -> Term:
        value, offset = self._read(node.value).evaluate, self._source.offset(node)
        if isinstance(node.slice, ast.Slice):
            return Term(self._sliced(value, node.slice), ANYTHING, offset)
        index = self._read(node.slice)
        told = f"[{shown(self._source.written(node.slice))}]"
        at, part = index.evaluate, operations.part
        return Term(lambda s, v: part(value(s, v), at(s, v), told), ANYTHING, offset)

    def _sliced(self, value: Evaluate, node: ast.Slice) -> Evaluate:
        begin, end, step = (
            _nothing if each is None else self._read(each).evaluate
            for each in (node.lower, node.upper, node.step)
        )
        return lambda s, v: operations.sliced(s, value(s, v), (begin(s, v), end(s, v), step(s, v)))

    # -- operators -------------------------------------------------------------------------------

    def _combined(
        self, operate: Callable[[Any, Any], Any], left: Term, right: Term, at: int
    ) -> Term:
        if operate is not operations.ADD:
            return super()._combined(operate, left, right, at)
        first, second, added = left.evaluate, right.evaluate, operations.added
        return Term(lambda s, v: added(s, first(s, v), second(s, v)), ANYTHING, at)

    def _comparison(self, node: ast.Compare) -> Term:
        first = self._read(node.left).evaluate
        steps: list[tuple[operations.Test, Evaluate]] = []
        before = node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            alone = isinstance(right, ast.Constant) and right.value is None
            if isinstance(op, ast.Is | ast.IsNot) and not alone:
                raise self._refused(op, self._source.between(before, right))
            steps.append((operations.TESTS[type(op)], self._read(right).evaluate))
            before = right

        def evaluate(s: Any, v: Any) -> bool:
            left = first(s, v)
            for test, following in steps:
                right = following(s, v)
                if not test(s, left, right):
                    return False
                left = right
            return True

        return Term(evaluate, Kind.TRUTH, self._source.offset(node))

    # -- what holds values -----------------------------------------------------------------------

    def _list(self, node: ast.List | ast.Tuple) -> Term:
        parts = [self._read(each).evaluate for each in node.elts]
        return Term(lambda s, v: [p(s, v) for p in parts], Kind.OTHER, self._source.offset(node))

    def _mapping(self, node: ast.Dict) -> Term:
        offset = self._source.offset(node)
        if any(key is None for key in node.keys):
            raise Malformed("'**' is not allowed in an expression", offset)
        pairs = [
            (self._key(key), self._read(value).evaluate)
            for key, value in zip(node.keys, node.values, strict=True)
            if key is not None
        ]
        return Term(lambda s, v: {key: p(s, v) for key, p in pairs}, Kind.OTHER, offset)

    def _key(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float):
            return node.value
        offset = self._source.offset(node)
        raise Malformed("a text or a number was expected before ':'", offset)

    def _joined_text(self, node: ast.JoinedStr) -> Term:
        parts: list[Evaluate] = []
        for each in node.values:
            if isinstance(each, ast.FormattedValue):
                if each.conversion != -1 or each.format_spec is not None:
                    what = "only values can stand in { }, no formats"
                    raise Malformed(what, self._source.offset(node))
                parts.append(self._read(each.value).evaluate)
            else:
                parts.append(self._read(each).evaluate)

        def evaluate(s: Any, v: Any) -> str:
            texts = [text_of(s, part(s, v)) for part in parts]
            if sum(map(len, texts)) > MOST_TEXT:
                raise too_long()
            return "".join(texts)

        return Term(evaluate, Kind.TEXT, self._source.offset(node))

    # -- for each --------------------------------------------------------------------------------

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp) -> Term:
        loops, made = self._loops(node.generators, [node.elt])
        (each,) = made

        def evaluate(s: Any, v: Any) -> list[Any]:
            found: list[Any] = []
            run(loops, s, v, lambda: found.append(each(s, v)))
            return found

        return Term(evaluate, Kind.OTHER, self._source.offset(node))

    def _mapping_of_each(self, node: ast.DictComp) -> Term:
        if node.value is None:
            raise Malformed("'**' is not allowed in an expression", self._source.offset(node))
        loops, made = self._loops(node.generators, [node.key, node.value])
        key, value = made

        def evaluate(s: Any, v: Any) -> dict[Any, Any]:
            found: dict[Any, Any] = {}

            def add() -> None:
                name = key(s, v)
                if not isinstance(name, str | int | float):
                    raise Unusable("a key of a mapping is a text or a number")
                found[name] = value(s, v)

            run(loops, s, v, add)
            return found

        return Term(evaluate, Kind.OTHER, self._source.offset(node))

    def _loops(
        self, generators: Sequence[ast.comprehension], bodies: Sequence[ast.expr]
    ) -> tuple[list[Loop], list[Evaluate]]:
        """Return the loops of a comprehension, and what gives its parts inside them."""
        loops: list[Loop] = []
        bound: list[str] = []
        inside = sum(1 for body in bodies for _ in ast.walk(body))
        for each in generators:
            over = self._read(each.iter).evaluate
            target = self._target(each.target)
            self._document_names.bind(target.names)
            bound += target.names
            tests = tuple(self._read(test).evaluate for test in each.ifs)
            cost = inside + sum(1 for test in each.ifs for _ in ast.walk(test))
            loops.append(Loop(over, target, tests, cost))
        made = [self._read(body).evaluate for body in bodies]
        self._document_names.release(bound)
        return loops, made

    def _target(self, node: ast.expr) -> Target:
        parts = node.elts if isinstance(node, ast.Tuple | ast.List) else [node]
        names = []
        for part in parts:
            if not isinstance(part, ast.Name):
                raise Malformed("a name was expected after 'for'", self._source.offset(part))
            names.append(part.id)
        return Target(tuple(names), isinstance(node, ast.Name))

    def _for_each(self, name: str, node: ast.Call) -> Term:
        """Read ``filter(lambda x: ..., LIST)`` and ``map`` as the comprehensions they stand for."""
        offset = self._source.offset(node)
        function = node.args[0] if node.args else None
        if len(node.args) != 2 or not isinstance(function, ast.Lambda):
            raise Malformed(f"{name} takes a lambda and a list", offset)
        given = function.args
        if (
            len(given.args) != 1
            or given.vararg
            or given.kwarg
            or given.defaults
            or given.kwonlyargs
        ):
            raise Malformed(f"the lambda of {name} takes one value", offset)
        over = self._read(node.args[1]).evaluate
        names = (given.args[0].arg,)
        self._document_names.bind(names)
        body = self._read(function.body).evaluate
        self._document_names.release(names)
        variable = names[0]
        loop = Loop(over, Target(names, True), (), sum(1 for _ in ast.walk(function.body)))

        def evaluate(s: Any, v: Any) -> list[Any]:
            found: list[Any] = []

            def look() -> None:
                item = s.names[variable]
                result = body(s, v)
                if name == "map":
                    found.append(result)
                elif result:
                    found.append(item)

            run([loop], s, v, look)
            return found

        return Term(evaluate, Kind.OTHER, offset)

    # -- calls -----------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> Term:
        function = node.func
        if isinstance(function, ast.Attribute):
            return self._method(function, node)
        if not isinstance(function, ast.Name):
            raise Malformed("only functions can be called", self._source.offset(function))
        name, offset = function.id, self._source.offset(function)
        if name in OF_EACH:
            self._only_places(name, node)
            return self._for_each(name, node)
        found = FUNCTIONS.get(name)
        if found is None:
            hint = nearest(name, _CALLED) or f"there are {', '.join(sorted(_CALLED))}"
            raise Malformed(f"unknown function '{shown(name)}'", offset, hint)
        given = self._given(name, node, found.least, found.most)
        apply = found.apply
        return Term(lambda s, v: apply(s, [g(s, v) for g in given]), ANYTHING, offset)

    def _method(self, function: ast.Attribute, node: ast.Call) -> Term:
        name, part = function.attr, self._part(function)
        method = methods.METHODS.get(name)
        if method is None:
            hint = nearest(name, methods.METHODS) or f"there are {', '.join(methods.METHODS)}"
            hint = "write f'...{value}...'" if name in _FORMATTING else hint
            raise Malformed(f"unknown method '{shown(name)}'", part.offset, hint)
        subject = self._read(function.value).evaluate
        given = self._given(name, node, method.least, method.most)
        call, known = methods.call, method
        return Term(
            lambda s, v: call(name, known, s, subject(s, v), [g(s, v) for g in given]),
            ANYTHING,
            self._source.offset(node),
        )

    def _given(self, name: str, node: ast.Call, least: int, most: int) -> list[Evaluate]:
        """Return what gives the values of a call."""
        self._only_places(name, node)
        if not least <= len(node.args) <= most:
            many = f"{least}" if least == most else f"{least} to {most}"
            values = f"{many} value{'' if many == '1' else 's'}"
            what = f"{name} takes {values if most else 'nothing'}"
            raise Malformed(what, self._source.offset(node))
        return [self._read(each).evaluate for each in node.args]

    def _only_places(self, name: str, node: ast.Call) -> None:
        if node.keywords:
            place = self._source.offset(node.keywords[0].value)
            raise Malformed(f"{name} takes no named values", place)


def _nothing(_s: Any, _v: Any) -> None:
    return None


def compiled(source: Source, known: Collection[str]) -> tuple[Evaluate, Mapping[str, int]]:
    """Return what evaluates an operation, and the names it reads with the offset of the first.

    Args:
        source: of the operation.
        known: the names that may stand in it beside ``value``.

    Raises:
        Malformed: something in it is not allowed.
    """
    names = DocumentNames(known)
    term = DocumentGrammar(source, names).term()
    return term.evaluate, names.places
