"""Where the nodes of a graph are drawn: in columns from the inputs to the result, with few crossings (Sugiyama et al. 1981)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from core.backprop.expression import Node

SWEEPS = 8


def layout(nodes: Sequence[Node]) -> list[tuple[int, float]]:
    """(column, row) of each node. Rows count from 0 and are centred within their column."""
    users: list[list[int]] = [[] for _ in nodes]
    depths = [0] * len(nodes)
    for place, node in enumerate(nodes):
        for operand in node.operands:
            users[operand].append(place)
            depths[place] = max(depths[place], depths[operand] + 1)
    for place, node in enumerate(nodes):
        if not node.operands and users[place]:  # a leaf stands right before who takes it first
            depths[place] = min(depths[user] for user in users[place]) - 1
    columns = [[place for place in range(len(nodes)) if depths[place] == depth] for depth in range(max(depths) + 1)]
    rows = [0.0] * len(nodes)
    for column in columns:
        _spread(column, rows)
    for sweep in range(SWEEPS):
        # The last one runs to the left, so that leaves stand beside who takes them.
        for column in columns if sweep % 2 == 0 else reversed(columns):
            near = {place: nodes[place].operands if sweep % 2 == 0 else users[place] for place in column}
            column.sort(key=lambda place: fmean(rows[each] for each in near[place]) if near[place] else rows[place])
            _spread(column, rows)
    tallest = max(map(len, columns))
    return [(depths[place], rows[place] + (tallest - 1) / 2) for place in range(len(nodes))]


def _spread(column: list[int], rows: list[float]) -> None:
    for number, place in enumerate(column):
        rows[place] = number - (len(column) - 1) / 2
