"""One step of a recurrent cell, with its numbers: `h_t = f(W_xh x_t + W_hh h_{t-1} + b)`, or the gates of a GRU or an LSTM.

All in float64. Sources: Elman 1990; Cho et al., arXiv:1406.1078; Hochreiter & Schmidhuber 1997.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.inference.text import read
from core.language.hidden_state import MAX_CHARACTERS, require_recurrent
from core.models import clone_model

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.char_rnn import CharRNN

TERMS, NEXT = 8, 10
"""Of a gate and of the output that are kept, the largest."""
GATES = {
    "rnn": (("h", "tanh"),),
    "gru": (("r", "σ"), ("z", "σ"), ("n", "tanh")),
    "lstm": (("i", "σ"), ("f", "σ"), ("g", "tanh"), ("o", "σ")),
}
"""Kind of cell -> its gates with their functions, in PyTorch's order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    source: str
    """`x` or `h`: the input, or the state before."""
    number: int
    weight: float
    value: float
    product: float
    """In a GRU's n also times r, for the state."""
    reset: bool = False
    """Whether it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    name: str
    function: str
    """`tanh` or `σ`."""
    from_input: float
    """W_x x."""
    from_state: float
    """W_h h; in a GRU's n times r."""
    bias: float
    """Both biases; in a GRU's n that of the state times r."""
    value: float
    """f(from_input + from_state + bias)."""
    terms: tuple[Term, ...]
    """The largest products, by size."""
    others: int
    """Products that are left out of the terms."""

    @property
    def rest(self) -> float:
        """What the others sum to."""
        return self.from_input + self.from_state - sum(term.product for term in self.terms)

    @property
    def total(self) -> float:
        """What the function is applied to."""
        return self.from_input + self.from_state + self.bias


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What one unit does as one character is read."""

    cell: str
    """`rnn`, `gru` or `lstm`."""
    text: str
    """As the model read it; the step is that of its last character."""
    layer: int
    unit: int
    units: int
    """Of the layer."""
    layers: int
    before: float
    """h of the unit before this character."""
    memory_before: float | None
    """c of an LSTM, before."""
    gates: tuple[Gate, ...]
    memory: float | None
    after: float
    """h of the unit after it."""
    next: tuple[tuple[str, float], ...]
    """The likeliest next characters and their probabilities at temperature 1."""
    replaced: tuple[tuple[str, str], ...] = ()
    """Characters that the model does not know, each with what it read instead."""
    line_breaks: int = 0
    """How often a backslash and an n were read as a line break."""


def recurrent_step(checkpoint: Checkpoint, text: str, layer: int = 0, unit: int = 0) -> Step:
    """Read a text and take its last step apart. layer, unit: from 0.

    Raises LabError for a model that is not recurrent, an empty or too long text, or a unit that there is not.
    """
    import torch

    require_recurrent(checkpoint.card)
    reading = read(text, checkpoint.card.text_data.vocabulary)
    if not 0 < len(reading.text) <= MAX_CHARACTERS:
        raise LabError(f"The text has {len(reading.text):,} characters: give 1 to {MAX_CHARACTERS:,}.")
    model: CharRNN = clone_model(checkpoint.model).double().eval()
    if not 0 <= layer < len(model.layers) or not 0 <= unit < model.config.width:
        raise LabError(
            f"There is no unit {unit} of layer {layer + 1}: choose a layer from 1 to {len(model.layers)} and a unit from 0 to "
            f"{model.config.width - 1}."
        )
    tokens = torch.from_numpy(reading.tokens)[None]
    with torch.inference_mode():
        state = model.initial_state(1)
        if tokens.shape[1] > 1:
            _, state = model.hidden(tokens[:, :-1], state)
        outputs, after = model.hidden(tokens[:, -1:], state)
        x = model.embed(tokens[0, -1]) if layer == 0 else outputs[layer - 1][0, 0]
        probabilities = model.logits(outputs[-1][0, 0]).softmax(0)
        h = state[layer][0][0]
        gates = _gates(model, layer, unit, x, h)
    top = probabilities.argsort(descending=True)[:NEXT].tolist()
    lstm = model.cell == "lstm"
    return Step(
        cell=model.cell,
        text=reading.text,
        layer=layer,
        unit=unit,
        units=model.config.width,
        layers=len(model.layers),
        before=float(h[unit]),
        memory_before=float(state[layer][1][0, unit]) if lstm else None,
        gates=tuple(gates),
        memory=float(after[layer][1][0, unit]) if lstm else None,
        after=float(after[layer][0][0, unit]),
        next=tuple((checkpoint.card.text_data.vocabulary[place], float(probabilities[place])) for place in top),
        replaced=reading.replaced,
        line_breaks=reading.line_breaks,
    )


def _gates(model: CharRNN, layer: int, unit: int, x: Tensor, h: Tensor) -> list[Gate]:
    import torch

    module, width = model.layers[layer], model.config.width
    parts = [module.get_parameter(f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    found: list[Gate] = []
    for number, (name, function) in enumerate(GATES[model.cell]):
        row = number * width + unit
        by_x, by_h, bias_x, bias_h = (part[row] for part in parts)
        # A GRU's candidate sees of the state what the reset gate lets through.
        reset = model.cell == "gru" and name == "n"
        kept = found[0].value if reset else 1.0
        products = torch.cat([by_x * x, kept * by_h * h])
        from_input, from_state = float((by_x * x).sum()), float(kept * (by_h * h).sum())
        bias = float(bias_x + kept * bias_h)
        before = torch.tensor(from_input + from_state + bias, dtype=torch.float64)
        terms = []
        for place in products.abs().argsort(descending=True)[:TERMS].tolist():
            source, index = ("x", place) if place < len(x) else ("h", place - len(x))
            weights, values = (by_x, x) if source == "x" else (by_h, h)
            terms.append(
                Term(
                    source=source,
                    number=index,
                    weight=float(weights[index]),
                    value=float(values[index]),
                    product=float(products[place]),
                    reset=reset and source == "h",
                )
            )
        found.append(
            Gate(
                name=name,
                function=function,
                from_input=from_input,
                from_state=from_state,
                bias=bias,
                value=float(before.tanh() if function == "tanh" else before.sigmoid()),
                terms=tuple(terms),
                others=len(products) - len(terms),
            )
        )
    return found
