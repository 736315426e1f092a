"""Expressions that a person types, read into a graph of named operations.

They are read into Python's syntax tree and walked by the small grammar below; nothing in them is ever executed. Parts may be
named, as in `h = tanh(w*x + b); (h - t)**2`, and used several times.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import count

from core.common.errors import LabError
from core.common.syntax import read_syntax, unreadable

MOST_CHARACTERS = 500
MOST_NODES = 60
LARGEST_NUMBER = 1e6
"""Of a value that a person gives."""
FUNCTIONS = ("sin", "cos", "exp", "log", "sqrt", "tanh", "sigmoid", "relu", "abs")
WORDS = f"names with a value, numbers, + - * / ** and {', '.join(FUNCTIONS)}"
OPERATORS: Mapping[type[ast.operator], str] = {ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
Values = Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One operation of a graph, or a leaf."""

    name: str
    """What the chain rule calls it; only constants may share one."""
    op: str
    """`input`, `constant`, a name of FUNCTIONS, `neg`, or one of + - * / **."""
    operands: tuple[int, ...] = ()
    """Places of the nodes that it takes; they stand before it."""
    number: float = 0.0
    """Of a constant its value, of `**` with one operand the exponent."""
    text: str = ""
    """As it was typed."""


def parse_values(text: str) -> dict[str, float]:
    """`x=2, w=-3` to numbers. Raises LabError for what is none, and for a text that is too long."""
    if len(text) > 2 * MOST_CHARACTERS:
        raise LabError(f"The values have {len(text):,} characters: shorten them to {2 * MOST_CHARACTERS:,}.")
    found: dict[str, float] = {}
    for piece in text.replace("−", "-").replace("\n", ",").replace(";", ",").split(","):
        if not piece.strip():
            continue
        name, equals, number = (part.strip() for part in piece.partition("="))
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not (equals and name.isidentifier() and len(name) <= 12 and abs(value) <= LARGEST_NUMBER):
            raise LabError(
                f"{piece.strip()[:40]!r} is not a value: write a short name and a number up to a million, as in w=0.5."
            )
        if name in FUNCTIONS:
            raise LabError(f"{name} is a function: choose another name for the value.")
        found[name] = value
    if not found:
        raise LabError("No value is given: write them as in x=2, w=-3.")
    return found


def write_values(values: Values) -> str:
    return ", ".join(f"{name}={value:.12g}" for name, value in values.items())


def parse(text: str, names: Collection[str]) -> list[Node]:
    """The graph of an expression in these names; operands stand before what takes them, the result is last.

    Raises LabError in one sentence for whatever is not in the grammar.
    """
    body = _parts(text)
    try:
        return _Reader(names).read(body)
    except LabError:
        raise
    except (ValueError, RecursionError, MemoryError):
        raise unreadable(text, "expression") from None


def input_names(text: str) -> list[str]:
    """The names in an expression that need a value, in the order in which they come; empty where it cannot be read."""
    try:
        body = _parts(text)
    except LabError:
        return []
    parts: set[str] = set()
    found: dict[str, None] = {}
    for part in body:
        names = [node for node in ast.walk(part) if isinstance(node, ast.Name)]
        for node in sorted(names, key=lambda node: node.col_offset):
            if isinstance(node.ctx, ast.Load) and node.id not in parts and node.id not in FUNCTIONS:
                found[node.id] = None
        parts |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return list(found)


def _parts(text: str) -> list[ast.stmt]:
    example = ", as in tanh(w*x + b)"
    module = read_syntax(text, "exec", what="expression", example=example, most=MOST_CHARACTERS)
    assert isinstance(module, ast.Module)
    if not module.body:
        raise LabError(f"The expression is only a comment: type one{example}.")
    return module.body


class _Reader:
    def __init__(self, names: Collection[str]) -> None:
        self.names = names
        self.nodes: list[Node] = []
        self.places: dict[str, int] = {}
        """Of inputs and named parts."""
        self.taken = set(names)

    def read(self, body: list[ast.stmt]) -> list[Node]:
        self.taken |= {node.id for part in body for node in ast.walk(part) if isinstance(node, ast.Name)}
        place = -1
        for number, part in enumerate(body):
            match part:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._name_part(name, value)
                    place = self.places[name]
                case ast.Expr(value=value) if number == len(body) - 1:
                    place = self._node(value)
                case _:
                    raise LabError(
                        f"{ast.unparse(part)[:60]!r} is not part of an expression: name parts as in h = w*x, and end with "
                        "the result."
                    )
        if not any(node.op == "input" for node in self._reachable(place)):
            raise LabError("The expression has the same value everywhere: use one of the named values in it.")
        return self._reachable(place)

    def _name_part(self, name: str, value: ast.expr) -> None:
        if name in self.places or name in self.names or name in FUNCTIONS:
            raise LabError(f"{name[:40]!r} has a meaning already: choose another name for this part.")
        place = self._node(value)
        node = self.nodes[place]
        if node.op in ("input", "constant") or place in self.places.values():
            raise LabError(f"{name[:40]!r} only repeats a value: leave it out.")
        self.nodes[place] = Node(
            name=name, op=node.op, operands=node.operands, number=node.number, text=f"{name} = {node.text}"
        )
        self.places[name] = place

    def _reachable(self, place: int) -> list[Node]:
        """What the result depends on, with places counted anew."""
        used, pending = set[int](), [place]
        while pending:
            here = pending.pop()
            if here not in used:
                used.add(here)
                pending.extend(self.nodes[here].operands)
        order = {old: new for new, old in enumerate(sorted(used))}
        free = (name for number in count(1) if (name := f"u{number}") not in self.taken)
        return [
            Node(
                name=node.name or next(free),
                op=node.op,
                operands=tuple(order[each] for each in node.operands),
                number=node.number,
                text=node.text,
            )
            for node in (self.nodes[old] for old in order)
        ]

    def _node(self, tree: ast.expr) -> int:
        match tree:
            case ast.Constant() | ast.UnaryOp(operand=ast.Constant()) if (number := _constant(tree)) is not None:
                return self._add(tree, "constant", number=number)
            case ast.Name(id=name):
                return self._name(tree, name)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._node(operand)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._add(tree, "neg", self._node(operand))
            case ast.BinOp(op=ast.Add()):
                return self._add(tree, "+", *(self._node(part) for part in _terms(tree)))
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                power = _constant(right)
                if power is not None:
                    return self._add(tree, "**", self._node(left), number=power)
                return self._add(tree, "**", self._node(left), self._node(right))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                return self._add(tree, OPERATORS[type(op)], self._node(left), self._node(right))
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
                return self._add(tree, name, self._node(argument))
        raise LabError(f"{ast.unparse(tree)[:60]!r} is not part of an expression: use {WORDS}.")

    def _name(self, tree: ast.Name, name: str) -> int:
        if name not in self.places:
            if name not in self.names:
                meaning = "is a function: write" if name in FUNCTIONS else "has no value: add it to the values, as in"
                example = f"{name}(x)" if name in FUNCTIONS else f"{name[:12]}=1"
                raise LabError(f"{name[:40]!r} {meaning} {example}.")
            self.places[name] = self._add(tree, "input", name=name)
        return self.places[name]

    def _add(self, tree: ast.expr, op: str, *operands: int, number: float = 0.0, name: str = "") -> int:
        if len(self.nodes) == MOST_NODES:
            raise LabError(f"The expression has more than {MOST_NODES} operations and values: shorten it.")
        if op == "constant":
            name = f"{number:g}"
        self.nodes.append(Node(name=name, op=op, operands=operands, number=number, text=ast.unparse(tree)))
        return len(self.nodes) - 1


def _terms(tree: ast.expr) -> list[ast.expr]:
    """a + b + c is one sum of three."""
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Add):
        return [*_terms(tree.left), tree.right]
    return [tree]


def _constant(tree: ast.expr) -> float | None:
    match tree:
        case ast.Constant(value=value) if type(value) in (int, float):
            return _number(value)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)) if type(value) in (int, float):
            return -_number(value)
    return None


def _number(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    if not abs(number) <= LARGEST_NUMBER:
        raise LabError("A number in the expression is too large: use numbers up to a million.")
    return number
