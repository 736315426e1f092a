"""The grammar of typed expressions."""

from __future__ import annotations

import pytest

from core.backprop.expression import MOST_NODES, parse, parse_values
from core.backprop.graph import compute_graph
from core.common.errors import LabError

BAD = {
    "": "empty",
    "x" * 10_000: "10,000 characters",
    "# x": "only a comment",
    "x*q": "q=1",
    "__import__('os')": "not part of an expression",
    "x.real": "not part of an expression",
    "[x]": "not part of an expression",
    "lambda: x": "not part of an expression",
    "x; x": "end with the result",
    "tanh": "is a function",
    "tanh(x, x)": "not part of an expression",
    "x = 2*x": "another name",
    "h = x; h*h": "only repeats",
    "2**3 + 1": "same value everywhere",
    "x +": "cannot be read",
    "(" * 300 + "x" + ")" * 100: "cannot be read",
    "-" * 490 + "x": "more than",
    "x*1e300": "too large",
    "x*" + "9" * 400: "too large",
    "x + True": "not part of an expression",
    "+".join(["x*x"] * MOST_NODES): "more than",
    "if x: x": "not part of an expression",
    "x\0": "cannot be read",
}


@pytest.mark.parametrize("text", list(BAD), ids=lambda text: text[:20])
def test_what_is_not_in_the_grammar_is_one_sentence(text: str) -> None:
    with pytest.raises(LabError) as caught:
        parse(text, ["x"])
    assert BAD[text] in str(caught.value)
    assert len(str(caught.value)) < 200


NOWHERE = {"1/x": 0, "log(x)": -1, "sqrt(x)": 0, "x**x**x": 10, "exp(exp(x))": 20, "x**0.5": -2, "x**-1": 0, "x**x": -2}


@pytest.mark.parametrize(("text", "x"), NOWHERE.items())
def test_no_value_or_no_derivative_here_is_one_sentence(text: str, x: float) -> None:
    with pytest.raises(LabError, match="change the values"):
        compute_graph(text, {"x": x})


def test_sums_are_one_node_and_only_what_is_used_stays() -> None:
    nodes = parse("unused = x*x; h = tanh(x + w + x); h*h", ["x", "w"])
    assert [node.name for node in nodes] == ["x", "w", "u1", "h", "u2"]
    assert nodes[2].operands == (0, 1, 0)
    assert all(operand < place for place, node in enumerate(nodes) for operand in node.operands)


@pytest.mark.parametrize(
    "text",
    ["", "x", "x=", "x=nan", "x=inf", "1=2", "x=1e300", "tanh=1", "averyveryverylongname=1", "x=1," + " " * 1000],
)
def test_values_that_are_none(text: str) -> None:
    with pytest.raises(LabError):
        parse_values(text)
