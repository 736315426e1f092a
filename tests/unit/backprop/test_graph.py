"""Gradients of graphs, against autograd and difference quotients."""

from __future__ import annotations

import json
import math
import random

import pytest

from core.app import main
from core.backprop.examples import EXAMPLES
from core.backprop.expression import FUNCTIONS, parse_values, write_values
from core.backprop.graph import agreement, autograd, compute_graph, ulps
from core.backprop.layout import layout


def random_expression(random_: random.Random, names: list[str], depth: int, exact: bool) -> str:
    if depth == 0:
        return random_.choice([*names, f"{random_.uniform(-2, 2):.3f}"])
    parts = [random_expression(random_, names, depth - 1, exact) for _ in range(2)]
    shapes = ["({} + {})", "({} - {})", "({} * {})", "({})**2 + {}", "-({}) * {}", "relu({}) + {}", "abs({}) * {}"]
    if not exact:
        shapes += [f"{name}(0.1*({{}})) * {{}}" for name in ("sin", "cos", "exp", "tanh", "sigmoid")]
        shapes += ["log(1 + ({})**2) + {}", "sqrt(1 + ({})**2) * {}", "{} / (1 + ({})**2)"]
    return random_.choice(shapes).format(*parts)


@pytest.mark.parametrize("exact", [True, False])
def test_gradients_are_those_of_autograd(exact: bool) -> None:
    """Bit for bit where no elementary function is rounded by two libraries."""
    random_ = random.Random(0)
    for _ in range(60):
        values = {name: random_.uniform(-1.5, 1.5) for name in "abc"}
        text = f"a + {random_expression(random_, list('abc'), 3, exact)}"
        graph = compute_graph(text, values)
        wanted, quotients = autograd(graph), graph.difference_quotients(values)
        scale = max(1.0, *(abs(each.gradient) for each in graph.nodes), *(abs(each.value) for each in graph.nodes))
        for each, gradient, quotient in zip(graph.nodes, wanted, quotients, strict=True):
            if exact:
                assert each.gradient == gradient, text
            assert each.gradient == pytest.approx(gradient, rel=1e-12, abs=1e-13 * scale)
            if each.node.op != "constant" and not {"relu", "abs"} & {other.node.op for other in graph.nodes}:
                assert quotient == pytest.approx(each.gradient, abs=1e-7 * scale**2), text


@pytest.mark.parametrize("name", EXAMPLES)
def test_messages_and_paths_sum_to_the_gradient(name: str) -> None:
    example = EXAMPLES[name]
    graph = compute_graph(example.text, parse_values(example.values))
    assert graph.nodes[-1].gradient == 1
    for place, each in enumerate(graph.nodes[:-1]):
        if each.node.op == "constant":
            continue
        assert math.fsum(message.product for message in each.messages) == pytest.approx(each.gradient, abs=1e-14)
        paths, count = graph.paths(place)
        assert len(paths) == count
        assert math.fsum(path.product for path in paths) == pytest.approx(each.gradient, abs=1e-14)


def test_a_value_used_twice_has_two_paths_and_their_sum() -> None:
    graph = compute_graph("x*x + 3*x", {"x": 2.0})
    assert graph.nodes[0].gradient == 7  # 2x + 3
    assert len(graph.nodes[0].messages) == 3
    many = compute_graph("a=x*x; b=a*a; c=b*b; c*c", {"x": 1.0})
    paths, count = many.paths(0)
    assert (len(paths), count, many.nodes[0].gradient) == (6, 16, 16)


def test_rules_at_kinks_are_those_of_pytorch() -> None:
    for name in ("relu", "abs"):
        graph = compute_graph(f"{name}(x) + x", {"x": 0.0})
        assert graph.nodes[0].gradient == autograd(graph)[0] == 1
    power = compute_graph("x**y + x**0", {"x": 1.7, "y": -1.3})
    assert [ulps(each.gradient, other) < 3 for each, other in zip(power.nodes, autograd(power), strict=True)]
    assert set(FUNCTIONS) <= set(dir(__import__("torch")))


def test_agreement_counts_digits() -> None:
    assert (agreement(0.1, 0.1), agreement(math.nextafter(0.1, 1), 0.1)) == (
        "all 16 digits (0 ulp)",
        "all 16 digits (1 ulp)",
    )
    assert agreement(1 + 3e-10, 1).startswith("10 of 16")
    assert agreement(-1, 1).startswith("0 of 16")
    assert agreement(0, 0) == "all 16 digits (0 ulp)"
    assert "1e-12" in agreement(1e-12, 0)


def test_layout_has_no_two_nodes_in_one_place_and_runs_to_the_right() -> None:
    for example in EXAMPLES.values():
        nodes = [each.node for each in compute_graph(example.text, parse_values(example.values)).nodes]
        places = layout(nodes)
        assert len(set(places)) == len(nodes)
        assert all(places[operand][0] < places[n][0] for n, node in enumerate(nodes) for operand in node.operands)
        assert min(row for _, row in places) >= 0


def test_the_command_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["foundations", "backprop", "shared", "--node", "w", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    row = next(row for row in found["nodes"] if row["name"] == "w")
    assert row["gradient"] == pytest.approx(row["autograd"], rel=1e-14)
    assert found["paths"] == 2
    assert main(["foundations", "backprop", "x*y"]) == 2


def test_values_survive_writing() -> None:
    values = {"x": 0.1, "w": -3.0}
    assert parse_values(write_values(values)) == values
