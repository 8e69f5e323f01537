"""Arithmetic as text, checked before it is used: `-norm(tip - goal) - 0.1 * sum(action ** 2)`.

There are numbers, names of arrays (..., n), their elements as `name[0]`, `+ - * / **` (powers are
numbers from -8 to 8), comparisons, which are 1 or 0, and the functions of FUNCTIONS. `norm` and
`sum` are over the last axis. The arrays may be NumPy's or torch's.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from robot_client.errors import SchemaError

Array = Any  # of NumPy or torch
MAX_LENGTH = 500
MAX_POWER = 8

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def norm(x: Array) -> Array:
    """(..., n) -> (...) Euclidean length."""
    return (x * x).sum(-1) ** 0.5


def _by_name(name: str) -> Callable[[Array], Array]:
    def function(x: Array) -> Array:
        own = getattr(x, name, None)  # a tensor's
        return getattr(np, name)(x) if own is None else own()

    return function


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "norm": norm,
    "sum": lambda x: x.sum(-1),
    **{name: _by_name(name) for name in ("abs", "sqrt", "exp", "sin", "cos", "tanh")},
}


class Formula:
    """A checked expression.

    Args:
        text: see the module. Raises SchemaError saying what is not allowed.
        field: named in errors.
    """

    def __init__(self, text: str, field: str = "expression") -> None:
        self.names: set[str] = set()
        self._field = field
        if not isinstance(text, str) or not 0 < len(text) <= MAX_LENGTH:
            raise SchemaError(field, f"text of 1 to {MAX_LENGTH} letters", repr(text)[:80])
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise SchemaError(field, "an arithmetic expression", text[:80]) from error
        self._check(self._tree)

    def __call__(self, values: Mapping[str, Array]) -> Array:
        """The value for arrays (..., n) by name."""
        return self._value(self._tree, values)

    def _check(self, node: ast.AST) -> None:
        match node:
            case ast.Constant(value=int() | float() as number) if type(number) is not bool:
                pass
            case ast.Name(id=name):
                self.names.add(name)
            case ast.Subscript(value=ast.Name() as array, slice=ast.Constant(value=int())):
                self._check(array)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                self._check(operand)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                self._check(left)
                self._check_power(right)
            case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _OPERATORS:
                self._check(left)
                self._check(right)
            case ast.Compare(left=left, ops=[kind], comparators=[right]) if (
                type(kind) in _OPERATORS
            ):
                self._check(left)
                self._check(right)
            case ast.Call(func=ast.Name(id=name), args=[operand], keywords=[]) if name in FUNCTIONS:
                self._check(operand)
            case _:
                raise SchemaError(self._field, "arithmetic alone", type(node).__name__)

    def _check_power(self, node: ast.AST) -> None:
        try:
            power = ast.literal_eval(node)
        except (ValueError, TypeError):
            power = None
        if type(power) not in (int, float) or not abs(power) <= MAX_POWER:
            expected = f"a power from -{MAX_POWER} to {MAX_POWER}"
            raise SchemaError(self._field, expected, repr(power) if power else "something else")

    def _value(self, node: ast.AST, values: Mapping[str, Array]) -> Array:
        match node:
            case ast.Constant(value=number):
                return number
            case ast.Name(id=name):
                return values[name]
            case ast.Subscript(value=array, slice=ast.Constant(value=index)):
                return self._value(array, values)[..., index]
            case ast.UnaryOp(operand=operand):
                return -self._value(operand, values)
            case ast.BinOp(left=left, op=kind, right=right):
                return _OPERATORS[type(kind)](self._value(left, values), self._value(right, values))
            case ast.Compare(left=left, ops=[kind], comparators=[right]):
                found = _OPERATORS[type(kind)](
                    self._value(left, values), self._value(right, values)
                )
                return found * 1.0
            case ast.Call(func=ast.Name(id=name), args=[operand]):
                return FUNCTIONS[name](self._value(operand, values))
            case _:
                raise AssertionError(ast.dump(node))
