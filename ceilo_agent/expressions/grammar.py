# SPDX-License-Identifier: Apache-2.0
"""What of Python is an expression here. What is not named is refused."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

from ceilo_agent.errors import Malformed, nearest
from ceilo_agent.expressions.arithmetic import (
    FUNCTIONS,
    OPERATORS,
    call,
    operation,
    signed,
)
from ceilo_agent.expressions.conditions import (
    EQUALITIES,
    MEMBERSHIPS,
    ORDERS,
    choice,
    comparison,
    conjunction,
    disjunction,
    negation,
)
from ceilo_agent.expressions.names import METADATA, Names, Part, no_part
from ceilo_agent.expressions.source import Source
from ceilo_agent.expressions.terms import Term, constant
from ceilo_agent.shown import shown

Operate = Callable[[Any, Any], Any]

_SIGNS: Final[dict[type[ast.unaryop], Callable[[Any], Any]]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}

_REFUSED: Final[dict[type[ast.AST], tuple[str, str]]] = {
    ast.Lambda: ("a lambda", ""),
    ast.ListComp: ("a comprehension", ""),
    ast.SetComp: ("a comprehension", ""),
    ast.DictComp: ("a comprehension", ""),
    ast.GeneratorExp: ("a comprehension", ""),
    ast.JoinedStr: ("a formatted text", ""),
    ast.NamedExpr: ("an assignment", "'==' compares"),
    ast.Dict: ("a mapping", ""),
    ast.Set: ("a set", ""),
    ast.List: ("a list", "it can stand after 'in'"),
    ast.Tuple: ("a list", "the decimal sign is a point; a list can stand after 'in'"),
    ast.Starred: ("a star before a value", ""),
    ast.Slice: ("a slice", ""),
    ast.Await: ("await", ""),
    ast.Yield: ("yield", ""),
    ast.YieldFrom: ("yield", ""),
    ast.BitAnd: ("the operator '&'", "write 'and'"),
    ast.BitOr: ("the operator '|'", "write 'or'"),
    ast.BitXor: ("the operator '^'", "a power is written '**'"),
    ast.LShift: ("the operator '<<'", "write '* 2 **'"),
    ast.RShift: ("the operator '>>'", "write '// 2 **'"),
    ast.MatMult: ("the operator '@'", "a product is written '*'"),
    ast.Invert: ("the operator '~'", "write 'not'"),
    ast.Is: ("'is'", "write '=='"),
    ast.IsNot: ("'is not'", "write '!='"),
}


class Grammar:
    """Turns the tree of an expression into one term.

    Args:
        source: of the tree.
        names: what it may read.
    """

    def __init__(self, source: Source, names: Names) -> None:
        self._source = source
        self._names = names
        self._readers: Final[dict[type[ast.expr], Callable[[Any], Term]]] = {
            ast.Constant: self._constant,
            ast.Name: self._name,
            ast.Attribute: self._name,
            ast.Subscript: self._name,
            ast.BinOp: self._operation,
            ast.UnaryOp: self._unary,
            ast.BoolOp: self._joined,
            ast.Compare: self._comparison,
            ast.IfExp: self._choice,
            ast.Call: self._call,
        }

    def term(self) -> Term:
        """Return the term of the whole.

        Raises:
            Malformed: something in it is not allowed, or gives no value.
        """
        return self._read(self._source.tree)

    def _read(self, node: ast.expr) -> Term:
        reader = self._readers.get(type(node))
        if reader is None:
            raise self._refused(node, self._source.offset(node))
        return reader(node)

    def _refused(self, part: ast.AST, offset: int) -> Malformed:
        if isinstance(part, ast.Tuple):
            found = self._source.grouped(offset, self._source.end(part))
            if found is not None and found.hint.count("_") > 1:  # one comma: a decimal sign
                return found
        words, hint = _REFUSED.get(type(part), ("this", ""))
        return Malformed(f"{words} is not allowed in an expression", offset, hint)

    def _constant(self, node: ast.Constant) -> Term:
        if node.value is None or isinstance(node.value, bool):
            what = f"{node.value} can only stand in a comparison"
            raise Malformed(what, self._source.offset(node), "with '==', '!=' or 'in'")
        return self._value(node)

    def _value(self, node: ast.Constant) -> Term:
        if node.value is not None and not isinstance(node.value, int | float | str):
            what = f"'{shown(self._source.written(node))}' is neither a number nor a text"
            raise Malformed(what, self._source.offset(node))
        return constant(node.value, self._source.offset(node))

    def _name(self, node: ast.expr) -> Term:
        parts: list[Part] = []
        root = node
        while isinstance(root, ast.Attribute | ast.Subscript):
            parts.append(self._part(root))
            root = root.value
        parts.reverse()
        if not isinstance(root, ast.Name):
            raise no_part("a value", parts[0], METADATA)
        name, offset = self._source.written(root), self._source.offset(root)
        if name in FUNCTIONS:
            raise Malformed(f"'{name}' is a function", offset, f"write {name}(...)")
        return self._names.term(name, offset, parts)

    def _part(self, node: ast.Attribute | ast.Subscript) -> Part:
        if isinstance(node, ast.Attribute):
            # Only blanks can stand behind the name.
            return Part(node.attr, self._source.end(node) - len(node.attr), True)
        index = node.slice
        if isinstance(index, ast.Constant) and isinstance(index.value, str):
            return Part(index.value, self._source.offset(index), False)
        raise Malformed("a name in quotes was expected in [ ]", self._source.offset(index))

    def _operation(self, node: ast.BinOp) -> Term:
        """Read operators from left to right: a long sum is a loop, not a depth."""
        pending = [node]
        while isinstance(pending[-1].left, ast.BinOp):
            pending.append(pending[-1].left)
        term = self._read(pending[-1].left)
        for each in reversed(pending):
            operate = OPERATORS.get(type(each.op))
            if operate is None:
                raise self._refused(each.op, self._source.between(each.left, each.right))
            try:
                right = self._read(each.right)
                term = self._combined(operate, term, right, self._source.offset(each))
            except Malformed as error:
                hint = self._hyphenated(each)
                raise Malformed(error.what, error.offset, hint or error.hint) from None
        return term

    def _combined(
        self, operate: Callable[[Any, Any], Any], left: Term, right: Term, at: int
    ) -> Term:
        """Return the term of two operands."""
        return operation(operate, left, right, at)

    def _hyphenated(self, node: ast.BinOp) -> str:
        """Say how to write a name of metadata with a hyphen, empty where there is none."""
        left = node.left
        if not isinstance(node.op, ast.Sub) or not isinstance(left, ast.Attribute):
            return ""
        if self._source.end(left) + 1 != self._source.offset(node.right):
            return ""
        offset = self._part(left).offset
        before = self._source.written(left.value)
        return f'write {before}["{self._source.following(offset)}"]'

    def _unary(self, node: ast.UnaryOp) -> Term:
        offset = self._source.offset(node)
        if isinstance(node.op, ast.Not):
            return negation(self._read(node.operand), offset)
        sign = _SIGNS.get(type(node.op))
        if sign is None:
            raise self._refused(node.op, offset)
        return signed(sign, self._read(node.operand), offset)

    def _joined(self, node: ast.BoolOp) -> Term:
        terms = [self._read(value) for value in node.values]
        join = conjunction if isinstance(node.op, ast.And) else disjunction
        return join(terms, self._source.offset(node))

    def _choice(self, node: ast.IfExp) -> Term:
        then, test, otherwise = map(self._read, (node.body, node.test, node.orelse))
        return choice(test, then, otherwise, self._source.offset(node))

    def _comparison(self, node: ast.Compare) -> Term:
        first, before = self._compared(node.left), node.left
        links: list[tuple[type[ast.cmpop], Sequence[Term]]] = []
        for op, right in zip(node.ops, node.comparators, strict=True):
            kind = type(op)
            if kind in MEMBERSHIPS:
                if right is not node.comparators[-1]:
                    raise Malformed("a list ends a comparison", self._source.offset(right))
                links.append((kind, self._listed(right)))
            elif kind in ORDERS or kind in EQUALITIES:
                links.append((kind, [self._compared(right)]))
            else:
                raise self._refused(op, self._source.between(before, right))
            before = right
        return comparison(first, links, self._source.offset(node))

    def _compared(self, node: ast.expr) -> Term:
        """Read one side of a comparison, where True, False and None may stand."""
        return self._value(node) if isinstance(node, ast.Constant) else self._read(node)

    def _listed(self, node: ast.expr) -> Sequence[Term]:
        offset = self._source.offset(node)
        if not isinstance(node, ast.Tuple | ast.List):
            raise Malformed("a list was expected after 'in'", offset, "write (A, B)")
        terms = [self._compared(item) for item in node.elts]
        if not terms:
            raise Malformed("the list after 'in' is empty", offset)
        for term in terms:
            if not term.is_constant:
                raise Malformed("a number or a text was expected in the list", term.offset)
        return terms

    def _call(self, node: ast.Call) -> Term:
        function = node.func
        there = f"there are {', '.join(FUNCTIONS)}"
        if not isinstance(function, ast.Name):
            place = self._source.offset(function)
            if type(function) in _REFUSED:
                raise self._refused(function, place)
            if isinstance(function, ast.Attribute):
                place = self._part(function).offset
            raise Malformed("only functions can be called", place, there)
        name, offset = self._source.written(function), self._source.offset(function)
        if name not in FUNCTIONS:
            raise Malformed(
                f"unknown function '{shown(name)}'", offset, nearest(name, FUNCTIONS) or there
            )
        if node.keywords:
            place = self._source.offset(node.keywords[0].value)
            raise Malformed(f"{name} takes no named values", place)
        return call(name, [self._read(each) for each in node.args], offset)
