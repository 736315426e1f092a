"""Text / One step: what one unit of a recurrent network computes as one character is read."""

from __future__ import annotations

import streamlit as st

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.values import scientific
from core.language.figures import next_bars, sign, term_bars
from core.language.hidden_state import require_recurrent
from core.language.recurrence import Gate, Step, recurrent_step
from pages.shared.checkpoint_picker import checkpoint_picker, is_recurrent
from pages.shared.elements import show_figure
from pages.shared.number_field import linked_number
from pages.shared.resources import dark, loaded
from pages.shared.text import escape_markdown, show_error, show_reading
from pages.shared.url import give, linked, linked_fragment
from pages.shared.url_values import one_of, short_text, write_short_text
from pages.shared.warmup import until_ready

FIRST, EXAMPLE = "char_rnn", "ROMEO:\nO, sh"
TEXT, LAYER, UNIT, GATE = "step-text", "step-layer", "step-unit", "step-gate"
OFFERED = 5
FORMULAS = {
    "rnn": r"h_t = \tanh(W_{xh} x_t + W_{hh} h_{t-1} + b)",
    "gru": r"h_t = (1 - z) \cdot n + z \cdot h_{t-1}, \quad n = \tanh(W_{xn} x_t + r \cdot (W_{hn} h_{t-1} + b_{hn}) + b_{xn})",
    "lstm": r"c_t = f \cdot c_{t-1} + i \cdot g, \quad h_t = o \cdot \tanh(c_t)",
}


def step_view() -> None:
    answer = st.container()
    reference = checkpoint_picker(
        "Checkpoint", "step-checkpoint", param="checkpoint", task="text", fits=is_recurrent, prefer=FIRST
    )
    if reference is None:
        return
    with answer:
        try:
            require_recurrent(reference.card)
            until_ready()
            checkpoint = loaded(reference)
        except LabError as error:
            show_error(error)
            return
        linked_fragment(_step)(checkpoint, reference.card.fingerprint)
    with st.expander("How this works", icon=":material/school:", key="step-help"):
        st.markdown(
            "The text is read from an empty state, a character at a time. A unit adds up the input x (of the first layer the "
            "character's vector), the outputs h of its layer one character ago, each times a weight, and a bias. A GRU and an "
            "LSTM do so for each gate; σ gates run from 0 to 1. The bars add up to the sum in the brackets. Numbers are in "
            "64-bit floats and equal PyTorch's. A click on a character appends it and takes one more step."
        )


def _step(checkpoint: Checkpoint, key: str) -> None:
    answer, form = st.columns([2, 1], gap="large")
    with form:
        linked("text", TEXT, short_text, EXAMPLE, write=write_short_text)
        text = st.text_area("Text; its last character is the step", key=TEXT, height=100, persist_state="session")
        config = checkpoint.model.config
        layers = list(range(1, config.layers + 1))
        linked("layer", LAYER, one_of(layers, "layer"), 1, of=key, options=layers)
        with st.container(horizontal=True):
            layer = st.segmented_control("Layer", layers, required=True, key=LAYER, persist_state="session")
            unit = linked_number("Unit", 0, config.width - 1, 0, param="unit", key=UNIT, of=key, step=1, width=120)
    with answer:
        try:
            found = recurrent_step(checkpoint, text or "", int(layer) - 1, int(unit))
        except LabError as error:
            show_error(error)
            return
        _show(found, key)
    with form:
        st.markdown("**Next character:** click one to read it")
        with st.container(horizontal=True, gap="small"):
            for place, (character, share) in enumerate(found.next[:OFFERED]):
                st.button(
                    f"{escape_markdown(sign(character))} {share:.0%}",
                    key=f"step-next-{place}",
                    on_click=_append,
                    args=(character,),
                )
        bars = ", ".join(f"{sign(character)} {share:.0%}" for character, share in found.next)
        show_figure(next_bars(found, dark=dark()), key="step-next", alt=f"Likeliest next characters: {bars}")


def _append(character: str) -> None:
    give(TEXT, st.session_state[TEXT] + character)


def _show(found: Step, key: str) -> None:
    st.markdown(f"## {escape_markdown(sentence(found))}")
    show_reading(found.replaced, found.line_breaks, "the text")
    st.latex(FORMULAS[found.cell])
    names = [gate.name for gate in found.gates]
    gate = found.gates[0]
    if len(names) > 1:
        linked("gate", GATE, one_of(names, "gate"), names[0], of=key, options=names)
        name = st.segmented_control("Gate", names, required=True, key=GATE, persist_state="session")
        gate = found.gates[names.index(str(name))]
    st.markdown("  \n".join(map(_numbers, found.gates)))
    if found.memory is not None:
        i, f, g, o = (gate.value for gate in found.gates)
        st.markdown(
            f"c = {_factor(f)} · {_factor(found.memory_before or 0)} + {_factor(i)} · {_factor(g)} = "
            f"**{scientific(found.memory, 3)}**  \n"
            f"h = {_factor(o)} · tanh({scientific(found.memory, 3)}) = **{scientific(found.after, 3)}**"
        )
    elif found.cell == "gru":
        _, z, n = (gate.value for gate in found.gates)
        st.markdown(
            f"h = (1 − {_factor(z)}) · {_factor(n)} + {_factor(z)} · {_factor(found.before)} = "
            f"**{scientific(found.after, 3)}**"
        )
    top = gate.terms[0]
    show_figure(
        term_bars(gate, dark=dark()),
        key="step-terms",
        alt=f"Largest terms of {gate.name}; the first is {top.source}[{top.number}] with {top.product:.3g}",
    )


def _numbers(gate: Gate) -> str:
    """The formula of a gate with its numbers."""
    h, bias = (f"{'−' if value < 0 else '+'}\xa0{scientific(abs(value), 3)}" for value in (gate.from_state, gate.bias))
    return (
        f"{gate.name} = {gate.function}({scientific(gate.from_input, 3)} from x {h} from h {bias} bias) = "
        f"**{scientific(gate.value, 3)}**"
    )


def _factor(value: float) -> str:
    """A number for a product."""
    text = scientific(value, 3)
    return f"({text})" if value < 0 else text


def sentence(found: Step) -> str:
    """What the character did to the unit."""
    before, after = (f"{value:.2f}".replace("-", "−") for value in (found.before, found.after))
    return (
        f"Reading {sign(found.text[-1])} takes unit {found.unit} of layer {found.layer + 1} from {before} to {after}."
    )
