"""Expressions to begin with."""

from __future__ import annotations

from dataclasses import dataclass

OWN = "own"


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    title: str
    text: str
    values: str
    node: str
    """The one to look at first."""


EXAMPLES: dict[str, Example] = {
    "network": Example(
        title="Two-layer network",
        text=(
            "h1 = tanh(w11*x1 + w12*x2 + b1); h2 = tanh(w21*x1 + w22*x2 + b2); y = v1*h1 + v2*h2 + c; loss = (y - t)**2"
        ),
        values="x1=1, x2=-0.5, w11=0.6, w12=-0.4, b1=0.1, w21=-0.3, w22=0.8, b2=0.2, v1=0.9, v2=-0.7, c=0.05, t=0",
        node="w11",
    ),
    "neuron": Example(
        title="One neuron",
        text="y = tanh(w1*x1 + w2*x2 + b)",
        values="x1=2, x2=0, w1=-3, w2=1, b=6.8813735870195432",
        node="w1",
    ),
    "shared": Example(
        title="A weight used twice",
        text="h = tanh(w*x); y = w*h; (y - t)**2",
        values="x=1, w=0.8, t=1",
        node="w",
    ),
    "relu": Example(
        title="A dead ReLU",
        text="h = relu(w*x + b); (v*h - t)**2",
        values="x=1, w=-0.5, b=0.2, v=1.5, t=1",
        node="w",
    ),
    "softmax": Example(
        title="Softmax by hand",
        text="p = exp(z1)/(exp(z1) + exp(z2)); -log(p)",
        values="z1=0.5, z2=1.5",
        node="z1",
    ),
}
