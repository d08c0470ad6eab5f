"""Which triggers make a retraining due, in words: `low_accuracy or (shift and not holiday)`."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Final

_EXPECTED: Final = "expected trigger names joined by and, or, not and parentheses"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition over trigger names; two that are written alike are equal."""

    text: str
    names: frozenset[str]
    _tree: ast.expr = field(repr=False, compare=False)

    def holds(self, fired: Mapping[str, bool] | Set[str]) -> bool:
        """Whether it is met by the triggers that fired; one that is not mentioned has not."""
        return _holds(self._tree, _those_that_fired(fired))

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> Condition:
    """The condition that a text spells.

    Raises:
        ValueError: it is anything but names, `and`, `or`, `not` and parentheses.
    """
    if "#" in text:
        raise ValueError(_EXPECTED)
    try:
        tree = ast.parse(" ".join(text.split()), mode="eval").body
        _check(tree)
        spelled = ast.unparse(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(_EXPECTED) from None
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return Condition(spelled, names, tree)


def any_of(names: Iterable[str]) -> Condition:
    """The condition that at least one of these triggers fired."""
    return parse(" or ".join(names))


def _check(tree: ast.expr) -> None:
    match tree:
        case ast.Name():
            return
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            _check(operand)
        case ast.BoolOp(values=values):
            for value in values:
                _check(value)
        case _:
            raise ValueError(_EXPECTED)


def _holds(tree: ast.expr, fired: Set[str]) -> bool:
    match tree:
        case ast.Name(id=name):
            return name in fired
        case ast.UnaryOp(operand=operand):
            return not _holds(operand, fired)
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_holds(value, fired) for value in values)
        case ast.BoolOp(values=values):
            return any(_holds(value, fired) for value in values)
        case _:
            raise AssertionError(f"unchecked condition: {ast.dump(tree)}")


def _those_that_fired(fired: Mapping[str, bool] | Set[str]) -> Set[str]:
    if isinstance(fired, Mapping):
        return {name for name, has_fired in fired.items() if has_fired}
    return fired
