"""`foundations backprop` and `foundations accumulation`: the numbers that the room's page shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from core.backprop.examples import EXAMPLES
from core.backprop.expression import parse_values
from core.backprop.graph import autograd, compute_graph, ulps
from core.common.commands import Json, Whole, between
from core.common.errors import LabError
from core.common.output import Bar, print_json, print_table
from core.data.cli import load_with_bar

if TYPE_CHECKING:
    import numpy as np


def backprop(
    expression: str = "network", /, *, values: str = "", node: str | None = None, as_json: Json = False
) -> None:
    """Compute an expression and the gradients of all its nodes, beside PyTorch's and central differences.

    Args:
        expression: As in "h = tanh(w*x + b); (h - t)**2", or an example: network, neuron, shared, relu, softmax.
        values: As in "w=0.5, x=1, b=0, t=1".
        node: Also print the chain rule of this one, path by path.
    """
    import math

    example = EXAMPLES.get(expression)
    if example is None and not values:
        raise LabError("The expression needs values: give them as in --values 'x=2, w=-3'.")
    point = parse_values(values or (example.values if example else ""))
    graph = compute_graph(example.text if example else expression, point)
    exact, quotients = autograd(graph), graph.difference_quotients(point)
    rows = [
        {
            "name": each.node.name,
            "text": each.node.text,
            "value": each.value,
            "gradient": each.gradient,
            "autograd": exact[place],
            "ulps": ulps(each.gradient, exact[place]),
            "difference": None if math.isnan(quotients[place]) else quotients[place],
        }
        for place, each in enumerate(graph.nodes)
        if each.node.op != "constant"
    ]
    paths, count = graph.paths(graph.place(node)) if node else ([], 0)
    if not as_json:
        print_table(rows, list(rows[0]))
        for path in paths:
            names = " → ".join(graph.nodes[place].node.name for place in path.places)
            print(f"{names} = {' · '.join(f'{each:.6g}' for each in path.locals)} = {path.product:.6g}")
        return
    chains = [
        {
            "through": [graph.nodes[place].node.name for place in path.places],
            "locals": list(path.locals),
            "product": path.product,
        }
        for path in paths
    ]
    messages = {
        each.node.name: [
            {
                "through": graph.nodes[m.consumer].node.name,
                "from_above": m.from_above,
                "local": m.local,
                "product": m.product,
            }
            for m in each.messages
        ]
        for each in graph.nodes
        if each.node.op != "constant"
    }
    more = {"node": node, "paths": count, "chains": chains} if node else {}
    print_json({"nodes": [row | {"messages": messages[str(row["name"])]} for row in rows], **more})


def accumulation(
    *,
    measure: Annotated[bool, Parameter(negative=())] = False,
    seeds: Annotated[Whole, between(0, 100)] = 5,
    steps: Annotated[Whole, between(1, 10_000)] = 200,
    as_json: Json = False,
) -> None:
    """Compare one batch with k micro-batches: gradients, memory, and bits per character after training.

    Args:
        measure: Measure it here on Tiny Shakespeare and CIFAR-10, in some minutes; else what ships is shown.
        seeds: Of the training; 0 for none.
        steps: Of the training.
    """
    import dataclasses

    from core.backprop.results import ACCUMULATIONS

    if measure:
        from core.backprop.accumulation import measure as measure_accumulation

        data = accumulation_data()
        with Bar() as bar:
            found = measure_accumulation(*data, seeds=seeds, steps=steps, on_progress=bar.show)
    else:
        found = ACCUMULATIONS.load_shipped("accumulation")
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    rows = [dataclasses.asdict(each) for each in found.comparisons]
    print_table(rows, list(rows[0]))
    trained = [
        {
            "how": each.how,
            "micro_batches": each.micro_batches,
            "bits": sum(each.bits) / len(each.bits),
            "cost": sum(found.cost(each)) / len(each.bits),
        }
        for each in found.trainings
    ]
    if trained:
        print_table(trained, list(trained[0]))


def accumulation_data() -> tuple[str, np.ndarray, np.ndarray]:
    """A text, images (N, 3, H, W) float32 with mean 0 and deviation 1, and their labels (N,)."""
    from core.backprop.accumulation import IMAGES

    text, pictures = load_with_bar("tiny_shakespeare", "text").text, load_with_bar("cifar10", "images").train
    images = pictures.images[:IMAGES].transpose(0, 3, 1, 2).astype("float32")
    return text, (images - images.mean()) / images.std(), pictures.labels[:IMAGES]
