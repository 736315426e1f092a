"""Formulas in x and y that a person types, with their exact derivatives.

A formula is read into Python's syntax tree and walked by the small grammar below; nothing in it is ever executed. First and
second derivatives come from the same walk, which carries them along (forward-mode automatic differentiation).
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.common.errors import LabError
from core.common.syntax import read_syntax

MOST_CHARACTERS = 200
LARGEST_EXPONENT = 20.0
CONSTANTS = {"pi": math.pi, "e": math.e}
Value = Any
"""A float, an array, or a Jet."""


def _tanh2(u: Value) -> Value:
    return -2 * np.tanh(u) * (1 - np.tanh(u) ** 2)


FUNCTIONS: Mapping[str, tuple[Callable[[Value], Value], Callable[[Value], Value], Callable[[Value], Value]]] = {
    "sin": (np.sin, np.cos, lambda u: -np.sin(u)),
    "cos": (np.cos, lambda u: -np.sin(u), lambda u: -np.cos(u)),
    "tan": (np.tan, lambda u: 1 + np.tan(u) ** 2, lambda u: 2 * np.tan(u) * (1 + np.tan(u) ** 2)),
    "exp": (np.exp, np.exp, np.exp),
    "log": (np.log, lambda u: 1 / u, lambda u: -1 / u**2),
    "sqrt": (np.sqrt, lambda u: 0.5 / np.sqrt(u), lambda u: -0.25 / (u * np.sqrt(u))),
    "abs": (np.abs, np.sign, lambda u: 0.0 * u),
    "tanh": (np.tanh, lambda u: 1 - np.tanh(u) ** 2, _tanh2),
}
"""Each with its first and second derivative."""
WORDS = f"x, y, numbers, + - * / **, and {', '.join(FUNCTIONS)}, pi, e"


@dataclass(frozen=True, slots=True)
class Jet:
    """A value with its derivatives by x and y, each an array of one shape."""

    value: Value
    first: tuple[Value, Value]
    """By x, by y."""
    second: tuple[Value, Value, Value] | None
    """By x twice, by x and y, by y twice; None where they are not wanted."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula that was checked."""

    text: str
    """As it was typed, without spaces around it."""
    tree: ast.expr

    def values(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """f at each point, of the shape of x and y; not finite where f is not defined."""
        with np.errstate(all="ignore"):
            return np.broadcast_to(np.asarray(_walk(self.tree, {"x": x, "y": y}), dtype=float), np.shape(x))

    def jet(self, points: np.ndarray, *, hessian: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """points: (..., 2). Returns f (...), its gradient (..., 2), and its Hessian (..., 2, 2) where that is wanted."""
        x, y = points[..., 0], points[..., 1]
        zero, one = np.zeros_like(x), np.ones_like(x)
        none = (zero, zero, zero) if hessian else None
        with np.errstate(all="ignore"):
            found = _walk(self.tree, {"x": Jet(x, (one, zero), none), "y": Jet(y, (zero, one), none)})
        if not isinstance(found, Jet):
            found = Jet(zero + found, (zero, zero), none)
        gradient = np.stack(np.broadcast_arrays(*found.first), axis=-1)
        if found.second is None:
            return found.value, gradient, None
        xx, xy, yy = np.broadcast_arrays(*found.second)
        return found.value, gradient, np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)


def parse_formula(text: str) -> Formula:
    """Read a formula. `^` and `²` are powers. Raises LabError in one sentence for whatever is not in the grammar."""
    text = text.strip()
    example = " in x and y, as in x**2 + 3*y**2"
    expression = read_syntax(text, "eval", what="formula", example=example, most=MOST_CHARACTERS)
    assert isinstance(expression, ast.Expression)
    tree = expression.body
    variables = _check(tree)
    if not variables:
        raise LabError("The formula has the same value everywhere: use x or y in it.")
    return Formula(text, tree)


def _check(node: ast.expr) -> set[str]:
    """The variables in a tree. Raises LabError for what the grammar does not have."""
    match node:
        case ast.Constant(value=value) if type(value) in (int, float):
            if not math.isfinite(_number(value)):
                raise LabError("A number in the formula is too large: use numbers below 1e300.")
            return set()
        case ast.Name(id="x" | "y" as name):
            return {name}
        case ast.Name(id=name) if name in CONSTANTS:
            return set()
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return _check(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            if _check(right):
                raise LabError("An exponent must be a number, as in x**3: write exp(y*log(x)) for x to the power y.")
            with np.errstate(all="ignore"):
                power = float(_walk(right, {}))
            if not abs(power) <= LARGEST_EXPONENT:
                raise LabError(f"An exponent is too large: use one from -{LARGEST_EXPONENT:g} to {LARGEST_EXPONENT:g}.")
            return _finite(node, _check(left))
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right=right):
            return _finite(node, _check(left) | _check(right))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            return _finite(node, _check(argument))
        case ast.Name(id=name) | ast.Call(func=ast.Name(id=name)):
            raise LabError(f"The formula does not know {name[:40]!r} here: it knows {WORDS}.")
    raise LabError(f"{ast.unparse(node)[:60]!r} is not part of a formula: use {WORDS}.")


def _finite(node: ast.expr, variables: set[str]) -> set[str]:
    """The same variables. Raises LabError where there are none and the value is no number, as in 1/0."""
    if not variables:
        with np.errstate(all="ignore"):
            if not np.isfinite(_walk(node, {})):
                raise LabError(
                    f"{ast.unparse(node)[:60]!r} has no value (a division by zero, or too large): change it."
                )
    return variables


def _number(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _walk(node: ast.expr, variables: Mapping[str, Value]) -> Value:
    """The value of a tree that was checked."""
    match node:
        case ast.Constant(value=value):
            return np.float64(value)  # type: ignore[arg-type]
        case ast.Name(id=name):
            return variables[name] if name in variables else np.float64(CONSTANTS[name])
        case ast.UnaryOp(op=op, operand=operand):
            inner = _walk(operand, variables)
            return _scale(inner, -1.0) if isinstance(op, ast.USub) else inner
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_walk(left, variables), float(_walk(right, {})))
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _walk(left, variables), _walk(right, variables)
            if isinstance(op, ast.Sub):
                return _add(a, _scale(b, -1.0))
            if isinstance(op, ast.Add):
                return _add(a, b)
            return _multiply(a, b) if isinstance(op, ast.Mult) else _divide(a, b)
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            inner = _walk(argument, variables)
            zeroth, first, second = FUNCTIONS[name]
            return _chain(inner, zeroth, first, second)
    raise AssertionError(node)


def _scale(a: Value, factor: Value) -> Value:
    if not isinstance(a, Jet):
        return a * factor
    second = None if a.second is None else tuple(part * factor for part in a.second)
    return Jet(a.value * factor, (a.first[0] * factor, a.first[1] * factor), second)


def _add(a: Value, b: Value) -> Value:
    if isinstance(a, Jet) and isinstance(b, Jet):
        second = None
        if a.second is not None and b.second is not None:
            second = tuple(p + q for p, q in zip(a.second, b.second, strict=True))
        return Jet(a.value + b.value, (a.first[0] + b.first[0], a.first[1] + b.first[1]), second)
    if isinstance(a, Jet):
        return Jet(a.value + b, a.first, a.second)
    return Jet(a + b.value, b.first, b.second) if isinstance(b, Jet) else a + b


def _multiply(a: Value, b: Value) -> Value:
    if not isinstance(a, Jet) or not isinstance(b, Jet):
        return _scale(a, b) if isinstance(a, Jet) else _scale(b, a)
    (ax, ay), (bx, by) = a.first, b.first
    first = (ax * b.value + a.value * bx, ay * b.value + a.value * by)
    if a.second is None or b.second is None:
        return Jet(a.value * b.value, first, None)
    cross = (2 * ax * bx, ax * by + ay * bx, 2 * ay * by)
    second = tuple(p * b.value + both + a.value * q for p, both, q in zip(a.second, cross, b.second, strict=True))
    return Jet(a.value * b.value, first, second)


def _divide(a: Value, b: Value) -> Value:
    return _multiply(a, _power(b, -1.0)) if isinstance(b, Jet) else _scale(a, 1 / b)


def _power(a: Value, power: float) -> Value:
    def term(coefficient: float, exponent: float) -> Callable[[Value], Value]:
        # 0 times a power that is infinite at 0 would be no number.
        return lambda u: coefficient * u**exponent if coefficient else 0.0 * u

    first, second = term(power, power - 1), term(power * (power - 1), power - 2)
    return _chain(a, lambda u: u**power, first, second)


def _chain(
    a: Value, zeroth: Callable[[Value], Value], first: Callable[[Value], Value], second: Callable[[Value], Value]
) -> Value:
    """f(a), by the chain rule."""
    if not isinstance(a, Jet):
        return zeroth(a)
    slope, (ax, ay) = first(a.value), a.first
    if a.second is None:
        return Jet(zeroth(a.value), (slope * ax, slope * ay), None)
    bend, (xx, xy, yy) = second(a.value), a.second
    parts = (bend * ax * ax + slope * xx, bend * ax * ay + slope * xy, bend * ay * ay + slope * yy)
    return Jet(zeroth(a.value), (slope * ax, slope * ay), parts)
