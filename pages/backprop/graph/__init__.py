"""A graph with the numbers of its forward and backward pass, drawn in the browser: nodes are chosen, passes are stepped."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any

from core.backprop.graph import Graph, Path, agreement
from core.backprop.layout import layout
from pages.shared.elements import component, sent_of
from pages.shared.url import give

SYMBOLS = {
    "*": "×",
    "-": "−",
    "/": "÷",
    "+": "+",
    "neg": "−( )",
    "sqrt": "√",
    "relu": "ReLU",
    "sigmoid": "σ",
    "abs": "| |",
}


def graph_view(
    key: str,
    graph: Graph,
    quotients: list[float],
    autograd: list[float] | None,
    *,
    chosen: int,
    step: int | None,
    revision: str,
    label: str,
    on_value: Callable[[], None],
) -> None:
    """autograd: PyTorch's gradients; None while PyTorch is not loaded. step: of the passes; None for after both. revision:
    what the browser sends of an older one is not taken. on_value: called when a value was moved."""
    places = layout([each.node for each in graph.nodes])
    data: dict[str, Any] = {
        "nodes": [_node(graph, n, places[n], quotients[n], autograd and autograd[n]) for n in range(len(graph.nodes))],
        "columns": 1 + max(column for column, _ in places),
        "rows": 1 + max(row for _, row in places),
        "chosen": chosen,
        "step": step,
        "revision": revision,
        "label": label,
    }
    component(__file__)(key=key, data=data, on_view_change=lambda: _take_view(key, revision), on_value_change=on_value)


def _take_view(key: str, revision: str) -> None:
    said = sent_of(key, "view", revision)
    if isinstance(said.get("node"), str):
        give(f"{key}-node", said["node"], again=False)
        give(f"{key}-step", said["step"] if isinstance(said.get("step"), int) else None, again=False)


def _node(
    graph: Graph, place: int, where: tuple[int, float], quotient: float, autograd: float | None
) -> dict[str, Any]:
    each = graph.nodes[place]
    node = each.node
    names = [other.node.name for other in graph.nodes]
    paths, count = ([], 0) if node.op == "constant" else graph.paths(place)
    symbol = f"^{node.number:g}" if node.op == "**" and len(node.operands) == 1 else SYMBOLS.get(node.op, node.op)
    return {
        "name": node.name,
        "symbol": "" if not node.operands else symbol,
        "op": node.op,
        "text": node.text,
        "operands": list(node.operands),
        "locals": list(each.locals),
        "column": where[0],
        "row": where[1],
        "value": each.value,
        "gradient": each.gradient,
        "messages": [
            {"consumer": m.consumer, "above": m.from_above, "local": m.local, "product": m.product, "sum": total}
            for m, total in zip(each.messages, accumulate(m.product for m in each.messages), strict=True)
        ],
        "paths": [_chain(path, names) for path in paths],
        "morePaths": count - len(paths),
        "ways": [list(path.places) for path in paths],
        "autograd": autograd,
        "autogradAgrees": "" if autograd is None else agreement(each.gradient, autograd),
        "difference": None if math.isnan(quotient) else quotient,
        "differenceAgrees": "" if math.isnan(quotient) else agreement(quotient, each.gradient),
    }


def _chain(path: Path, names: list[str]) -> dict[str, Any]:
    places = path.places
    steps = [[names[after], names[before]] for before, after in pairwise(places)]
    return {"steps": steps[::-1], "locals": list(path.locals[::-1]), "product": path.product}
