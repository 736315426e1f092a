"""Reverse-mode automatic differentiation of a small graph, with every number on the way (Linnainmaa 1970; Rumelhart et al. 1986).

Rules are those of PyTorch's autograd, also where there is no derivative: that of relu and abs at 0 is 0.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from core.backprop.expression import Node, Values, parse
from core.common.errors import LabError

MOST_PATHS = 6
Unary = tuple[Callable[[float], float], Callable[[float, float], float]]


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


UNARY: Mapping[str, Unary] = {
    "neg": (lambda x: -x, lambda x, y: -1.0),
    "sin": (math.sin, lambda x, y: math.cos(x)),
    "cos": (math.cos, lambda x, y: -math.sin(x)),
    "exp": (math.exp, lambda x, y: y),
    "log": (math.log, lambda x, y: 1 / x),
    "sqrt": (math.sqrt, lambda x, y: 1 / (2 * y)),
    "tanh": (math.tanh, lambda x, y: 1 - y * y),
    "sigmoid": (_sigmoid, lambda x, y: (1 - y) * y),
    "relu": (lambda x: max(x, 0.0), lambda x, y: float(x > 0)),
    "abs": (abs, lambda x, y: float((x > 0) - (x < 0))),
}
"""Each with its derivative, of its input x and its output y."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What one consumer sends back to a node."""

    consumer: int
    from_above: float
    """Gradient of the result by the consumer."""
    local: float
    """Derivative of the consumer by the node."""
    product: float


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientNode:
    node: Node
    value: float
    locals: tuple[float, ...]
    """Derivative by each operand."""
    gradient: float
    """Of the result by this node."""
    messages: tuple[Message, ...]
    """Their products sum to the gradient; none for the result itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Path:
    """One way from a node to the result."""

    places: tuple[int, ...]
    """From the node to the result."""
    locals: tuple[float, ...]
    """The derivative of each node by the one before it."""

    @property
    def product(self) -> float:
        return math.prod(self.locals)


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """An expression at one point, with all gradients. The result is the last node."""

    nodes: tuple[GradientNode, ...]

    def place(self, name: str) -> int:
        """Raises LabError for a name that no node has."""
        for place, each in enumerate(self.nodes):
            if each.node.name == name and each.node.op != "constant":
                return place
        raise LabError(f"There is no {name[:40]!r} in the graph: choose one of its names.")

    def paths(self, place: int) -> tuple[list[Path], int]:
        """The first ways from a node to the result, MOST_PATHS at most, and how many there are."""
        last = len(self.nodes) - 1
        users = _users([each.node for each in self.nodes])
        counts = [0] * len(self.nodes)
        counts[last] = 1
        for here in range(last - 1, -1, -1):
            counts[here] = sum(counts[user] for user, _ in users[here])
        found: list[Path] = []

        def walk(here: int, places: tuple[int, ...], factors: tuple[float, ...]) -> None:
            if len(found) == MOST_PATHS:
                return
            if here == last:
                found.append(Path(places=places, locals=factors))
            for user, slot in users[here]:
                walk(user, (*places, user), (*factors, self.nodes[user].locals[slot]))

        walk(place, (place,), ())
        return found, counts[place]

    def difference_quotients(self, values: Values) -> list[float]:
        """Central differences of the result by each node, with the step that balances both of their errors."""
        nodes = [each.node for each in self.nodes]
        quotients = []
        for place, each in enumerate(self.nodes):
            step = 2.0**-17 * max(1.0, abs(each.value))  # about the cube root of the spacing of floats
            high, low = each.value + step, each.value - step
            try:
                found = [_forward(nodes, values, {place: moved})[-1] for moved in (high, low)]
                quotients.append((found[0] - found[1]) / (high - low))
            except LabError:  # the function ends there
                quotients.append(math.nan)
        return quotients


def compute_graph(text: str, values: Values) -> Graph:
    """Forward and backward. Raises LabError where the expression cannot be read or has no value or gradient here."""
    nodes = parse(text, values)
    results = _forward(nodes, values, {})
    locals_ = [_locals(node, results, place) for place, node in enumerate(nodes)]
    users = _users(nodes)
    gradients = [0.0] * len(nodes)
    gradients[-1] = 1.0
    messages: list[tuple[Message, ...]] = [()] * len(nodes)
    for place in range(len(nodes) - 2, -1, -1):
        # Last consumers first, as autograd's engine sums them.
        messages[place] = tuple(
            Message(
                consumer=user,
                from_above=gradients[user],
                local=locals_[user][slot],
                product=gradients[user] * locals_[user][slot],
            )
            for user, slot in reversed(users[place])
        )
        for message in messages[place]:
            gradients[place] += message.product
    if not all(map(math.isfinite, gradients)):
        worst = next(place for place in reversed(range(len(nodes))) if not math.isfinite(gradients[place]))
        raise LabError(f"The gradient by {nodes[worst].text[:40]} is too large for a float: change the values.")
    return Graph(
        nodes=tuple(
            GradientNode(node=node, value=results[n], locals=locals_[n], gradient=gradients[n], messages=messages[n])
            for n, node in enumerate(nodes)
        )
    )


def autograd(graph: Graph) -> list[float]:
    """PyTorch's gradients of the result by every node, in float64."""
    import torch

    tensors: list[torch.Tensor] = []
    for each in graph.nodes:
        taken = [tensors[place] for place in each.node.operands]
        if each.node.op in ("input", "constant"):
            made = torch.tensor(each.value, dtype=torch.float64, requires_grad=True)
        else:
            made = _torch_operation(each.node, taken)
        made.retain_grad()
        tensors.append(made)
    tensors[-1].backward()
    return [float(tensor.grad) for tensor in tensors]  # type: ignore[arg-type]


def ulps(value: float, reference: float) -> float:
    """The distance in units of the reference's last place."""
    return abs(value - reference) / math.ulp(reference)


def agreement(value: float, reference: float) -> str:
    """How far two ways to compute a number agree: `all 16 digits (1 ulp)`, `9 of 16 digits (4e+06 ulp)`."""
    error = abs(value - reference)
    if error and not reference:
        return f"0 within {error:.0e}"
    digits = max(0, min(16, round(-math.log10(error / abs(reference))))) if error else 16
    return f"{'all' if digits == 16 else f'{digits} of'} 16 digits ({ulps(value, reference) if error else 0:.2g} ulp)"


def _torch_operation(node: Node, taken: Sequence[Any]) -> Any:
    import torch

    first = taken[0]
    if node.op in UNARY:
        return getattr(torch, node.op)(first)
    if node.op == "**":
        return first ** (taken[1] if len(taken) == 2 else node.number)
    operation = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[node.op]
    return reduce(operation, taken)


def _users(nodes: Sequence[Node]) -> list[list[tuple[int, int]]]:
    """Per node its consumers and as which operand they take it."""
    users: list[list[tuple[int, int]]] = [[] for _ in nodes]
    for place, node in enumerate(nodes):
        for slot, operand in enumerate(node.operands):
            users[operand].append((place, slot))
    return users


def _forward(nodes: Sequence[Node], values: Values, fixed: Mapping[int, float]) -> list[float]:
    """fixed: values of nodes that stand instead of what they compute."""
    results: list[float] = []
    for place, node in enumerate(nodes):
        if place in fixed:
            results.append(fixed[place])
            continue
        try:
            value = _value(node, [results[each] for each in node.operands], values)
        except (ValueError, ZeroDivisionError, OverflowError):
            value = math.nan
        if not math.isfinite(value):
            raise LabError(
                f"{node.text[:60]!r} has no value here (it divides by zero, is not defined, or is too large): change the values."
            )
        results.append(value)
    return results


def _value(node: Node, taken: list[float], values: Values) -> float:
    match node.op:
        case "input":
            return values[node.name]
        case "constant":
            return node.number
        case "+":
            total = taken[0]
            for each in taken[1:]:
                total += each
            return total
        case "-":
            return taken[0] - taken[1]
        case "*":
            return taken[0] * taken[1]
        case "/":
            return taken[0] / taken[1]
        case "**":
            return _power(taken[0], taken[1] if len(taken) == 2 else node.number)
    return UNARY[node.op][0](taken[0])


def _power(base: float, exponent: float) -> float:
    """Squares and cubes as products, as PyTorch computes them."""
    if exponent == 2:
        return base * base
    if exponent == 3:
        return base * base * base
    return math.pow(base, exponent)


def _locals(node: Node, results: Sequence[float], place: int) -> tuple[float, ...]:
    taken = [results[each] for each in node.operands]
    try:
        found = _derivatives(node, taken, results[place])
    except (ValueError, ZeroDivisionError, OverflowError):
        found = (math.nan,)
    if not all(map(math.isfinite, found)):
        raise LabError(f"{node.text[:60]!r} has no finite derivative here: change the values.")
    return found


def _derivatives(node: Node, taken: list[float], value: float) -> tuple[float, ...]:
    match node.op:
        case "input" | "constant":
            return ()
        case "+":
            return (1.0,) * len(taken)
        case "-":
            return 1.0, -1.0
        case "*":
            return taken[1], taken[0]
        case "/":
            return 1 / taken[1], -(value / taken[1])
        case "**":
            exponent = taken[1] if len(taken) == 2 else node.number
            by_base = exponent * _power(taken[0], exponent - 1) if exponent else 0.0
            if len(taken) == 1:
                return (by_base,)
            return by_base, 0.0 if taken[0] == 0 else value * math.log(taken[0])
    return (UNARY[node.op][1](taken[0], value),)
