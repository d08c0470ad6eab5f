"""Conditions over features, in words: `distance > 1500 and carrier in ('AA', 'UA')`.

A text is parsed once, checked, and made into small functions of its own; nothing in it is ever run as Python.

What is missing, null or not finite makes every comparison with it false, and so do values that do not compare (text
with a number); `not` of that is true. A feature alone holds unless it is missing, false, 0 or empty text. `None` is
the way to ask for what is missing: `carrier == None`.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

Features = Mapping[str, object]
"""A prediction's features by name, as they were decoded."""

Holds = Callable[[Features], bool]

_ALLOWED: Final = "expected comparisons, and, or, not, in, literals and feature names"
_DEEPEST: Final = 32
Compare = Callable[[Any, Any], bool]
_COMPARISONS: Final[Mapping[type[ast.cmpop], Compare]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt,
    ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_WORDS: Final[Mapping[type[ast.AST], str]] = {
    ast.Attribute: "an attribute", ast.BinOp: "arithmetic", ast.BoolOp: "a comparison of a condition",
    ast.Call: "a call", ast.Compare: "a comparison of a comparison", ast.Constant: "no number and no text",
    ast.Dict: "a mapping", ast.IfExp: "an if", ast.JoinedStr: "an f-string", ast.Lambda: "a function",
    ast.List: "a list", ast.NamedExpr: "an assignment", ast.Set: "a set", ast.Subscript: "a subscript",
    ast.Tuple: "a list", ast.UnaryOp: "arithmetic",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Predicate:
    """A condition over features; two that are written alike are equal."""

    text: str
    names: frozenset[str]
    """The features that it looks at."""
    holds: Holds = field(repr=False, compare=False)
    """Whether it is met by a prediction's features."""

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> Predicate:
    """The condition that a text spells.

    Raises:
        ValueError: it is anything but comparisons, `and`, `or`, `not`, `in`, literals and feature names; says what
            and where.
    """
    text = text.strip()
    if len(text.splitlines()) > 1:
        raise ValueError("expected a condition on one line")
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"{_ALLOWED}, got something else at character {error.offset or 1}") from None
    except (ValueError, RecursionError, MemoryError):
        raise ValueError(f"{_ALLOWED}, got what cannot be read at all") from None
    holds = _Compiler(text).condition(tree, _DEEPEST)
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return Predicate(text, names, holds)


@dataclass(frozen=True, slots=True)
class _Feature:
    name: str


@dataclass(frozen=True, slots=True)
class _Literal:
    value: object


_Operand = _Feature | _Literal


@dataclass(frozen=True)
class _Compiler:
    """Makes a checked tree into functions. The text is kept to say where something is."""

    text: str

    def condition(self, tree: ast.expr, depth: int) -> Holds:
        if not depth:
            raise self._refused(tree, "too many conditions within each other")
        match tree:
            case ast.BoolOp(op=op, values=values):
                parts = tuple(self.condition(value, depth - 1) for value in values)
                return _all(parts) if isinstance(op, ast.And) else _any(parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return _not(self.condition(operand, depth - 1))
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                pairs = zip(ops, [left, *comparators], comparators, strict=False)
                return _all(tuple(self._comparison(*pair) for pair in pairs))
            case _:
                return _alone(self._operand(tree))

    def _comparison(self, op: ast.cmpop, left: ast.expr, right: ast.expr) -> Holds:
        if isinstance(op, ast.In | ast.NotIn):
            return _member(self._operand(left), self._items(right), negated=isinstance(op, ast.NotIn))
        if type(op) not in _COMPARISONS:
            raise self._refused(right, "`is`, which should be ==,")
        return _compared(_COMPARISONS[type(op)], self._operand(left), self._operand(right))

    def _items(self, tree: ast.expr) -> Sequence[object]:
        """The literals of a list after `in`."""
        if not isinstance(tree, ast.List | ast.Tuple | ast.Set) or not tree.elts:
            raise self._refused(tree, "`in` without a list of literals")
        found = [(element, self._operand(element)) for element in tree.elts]
        for element, one in found:
            if isinstance(one, _Feature):
                raise self._refused(element, "a feature within a list of literals")
        return [one.value for _, one in found if isinstance(one, _Literal)]

    def _operand(self, tree: ast.expr) -> _Operand:
        match tree:
            case ast.Name(id=name):
                return _Feature(name)
            case ast.Constant(value=None):
                return _Literal(None)
            case ast.Constant(value=str() | int() | float() as value) if _kind(value) is not None:
                return _Literal(value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if (
                type(value) is not bool
            ):
                return _Literal(-value)
            case _:
                raise self._refused(tree, _WORDS.get(type(tree), "something else"))

    def _refused(self, tree: ast.expr, found: str) -> ValueError:
        before = self.text.encode()[: tree.col_offset].decode()  # Python counts bytes
        return ValueError(f"{_ALLOWED}, got {found} at character {len(before) + 1}")


def _all(parts: Sequence[Holds]) -> Holds:
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        first, second = parts
        return lambda features: first(features) and second(features)
    return lambda features: all(part(features) for part in parts)


def _any(parts: Sequence[Holds]) -> Holds:
    if len(parts) == 2:
        first, second = parts
        return lambda features: first(features) or second(features)
    return lambda features: any(part(features) for part in parts)


def _not(part: Holds) -> Holds:
    return lambda features: not part(features)


def _alone(operand: _Operand) -> Holds:
    if isinstance(operand, _Literal):
        met = bool(operand.value)
        return lambda _: met
    name = operand.name

    def holds(features: Features) -> bool:
        found = features.get(name)
        return _kind(found) is not None and bool(found)

    return holds


def _compared(compare: Compare, left: _Operand, right: _Operand) -> Holds:
    """A comparison of two operands, by the shortest way for those at hand."""
    if isinstance(left, _Literal) and isinstance(right, _Literal):
        met = _compare(compare, left.value, right.value)
        return lambda _: met
    if isinstance(left, _Feature) and isinstance(right, _Feature):
        first, second = left.name, right.name
        return lambda features: _compare(compare, features.get(first), features.get(second))
    if isinstance(left, _Feature) and isinstance(right, _Literal):
        return _compared_with(compare, left.name, right.value)
    assert isinstance(left, _Literal)
    assert isinstance(right, _Feature)
    return _compared_with(lambda found, literal: compare(literal, found), right.name, left.value)


def _compared_with(compare: Compare, name: str, literal: object) -> Holds:
    if literal is None:
        # Equal to None is what is missing, unlike it what is not; before and after it there is nothing.
        if not _orders(compare):
            wanted = compare(None, None)
            return lambda features: (_kind(features.get(name)) is None) is wanted
        return lambda _: False
    if isinstance(literal, str):

        def text_holds(features: Features) -> bool:
            found = features.get(name)
            return isinstance(found, str) and compare(found, literal)

        return text_holds

    def number_holds(features: Features) -> bool:
        found = features.get(name)
        return isinstance(found, int | float) and -inf < found < inf and compare(found, literal)

    return number_holds


def _orders(compare: Compare) -> bool:
    """Whether it is one of `<`, `<=`, `>`, `>=`."""
    return compare(0, 1) is not compare(1, 0)


def _compare(compare: Compare, left: object, right: object) -> bool:
    kind = _kind(left)
    return kind is not None and kind is _kind(right) and compare(left, right)


def _member(operand: _Operand, items: Sequence[object], *, negated: bool) -> Holds:
    """Whether a value is one of the literals; unlike all of them, too, only where it compares with one."""
    values = frozenset(item for item in items if item is not None)
    kinds = frozenset(_kind(item) for item in values)
    of_missing = None in items and not negated

    def holds_for(found: object) -> bool:
        kind = _kind(found)
        if kind is None:
            return of_missing
        if negated:
            return found not in values and (not kinds or kind in kinds)
        return found in values

    if isinstance(operand, _Literal):
        met = holds_for(operand.value)
        return lambda _: met
    name = operand.name
    return lambda features: holds_for(features.get(name))


def _kind(value: object) -> type | None:
    """What a value compares with; None for what is missing, or no plain value at all."""
    if isinstance(value, str):
        return str
    return float if isinstance(value, int | float) and -inf < value < inf else None
