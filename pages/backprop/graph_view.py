"""Backpropagation / Graph: an expression or a small network, forward and backward node by node."""

from __future__ import annotations

import streamlit as st

from core.backprop.examples import EXAMPLES, OWN
from core.backprop.expression import LARGEST_NUMBER, MOST_CHARACTERS, Values, input_names, parse_values, write_values
from core.backprop.graph import Graph, autograd, compute_graph
from core.common.errors import LabError
from core.common.values import finite, scientific
from pages.backprop.graph import graph_view
from pages.backprop.help import graph_help
from pages.shared.elements import sent, sent_of
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import give, linked, linked_fragment
from pages.shared.url_values import number, one_of, short_text, write_short_text
from pages.shared.warmup import until_ready, warmup

KEY = "backprop-graph"
EXAMPLE, TEXT, VALUES, NODE, STEP = (f"{KEY}-{part}" for part in ("example", "text", "values", "node", "step"))
FIRST = "network"
NUDGE = 0.01
LAST_STEP = 1000


def graph_page() -> None:
    linked_fragment(_graph)()
    graph_help()
    if not warmup().ready.is_set():
        until_ready()
        st.rerun()


def _graph() -> None:
    """Runs alone while somebody drags a value."""
    answer = st.container()
    text, values_text, first = _controls()
    try:
        values = parse_values(values_text)
        values, revision = _dragged(text, values)
        graph = compute_graph(text, values)
        chosen, step, revision = _view(graph, text, first, revision)
    except LabError as error:
        with answer:
            show_error(error)
        return
    words = sentence(graph, chosen)
    answer.markdown(f"## {escape_markdown(words)}")
    graph_view(
        KEY,
        graph,
        graph.difference_quotients(values),
        autograd(graph) if warmup().ready.is_set() else None,
        chosen=chosen,
        step=step,
        revision=revision,
        label=f"Graph of {text}. {words}",
        on_value=_take_value,
    )


def sentence(graph: Graph, place: int) -> str:
    """What the gradient of a node says."""
    each, result = graph.nodes[place], graph.nodes[-1]
    if place == len(graph.nodes) - 1:
        return f"{each.node.name} = {scientific(each.value, 4)}: the backward pass starts here, with 1."
    if each.gradient == 0:
        return f"A small change of {each.node.name} does not change {result.node.name} here: its gradient is 0."
    way = "raises" if each.gradient > 0 else "lowers"
    by = scientific(abs(each.gradient) * NUDGE, 3)
    return f"Raising {each.node.name} by {NUDGE:g} {way} {result.node.name} by about {by}."


def _controls() -> tuple[str, str, str]:
    """The expression, its values, and the node to look at first."""
    names = (*EXAMPLES, OWN)
    linked("graph", EXAMPLE, one_of(names, "example"), FIRST)
    start = EXAMPLES.get(st.session_state[EXAMPLE], EXAMPLES[FIRST])
    linked("f", TEXT, short_text, start.text, write=write_short_text)
    linked("values", VALUES, short_text, start.values, write=write_short_text)
    left, middle, right = st.columns([2, 4, 4])
    example = left.selectbox(
        "Example",
        names,
        format_func=lambda name: EXAMPLES[name].title if name in EXAMPLES else "Your own",
        key=EXAMPLE,
        on_change=_take_example,
        persist_state="session",
    )
    middle.text_input(
        "Expression",
        key=TEXT,
        max_chars=MOST_CHARACTERS,
        on_change=_take_text,
        help="+ - * / ** and sin, cos, exp, log, sqrt, tanh, sigmoid, relu, abs. Name parts with =, between semicolons.",
        persist_state="session",
    )
    right.text_input("Values", key=VALUES, max_chars=MOST_CHARACTERS, persist_state="session")
    chosen = EXAMPLES.get(str(example))
    text = chosen.text if chosen else str(st.session_state[TEXT])
    return text, str(st.session_state[VALUES]), chosen.node if chosen else ""


def _take_text() -> None:
    """A new expression keeps the values of its names; new names begin at 1."""
    give(EXAMPLE, OWN)
    try:
        before = parse_values(st.session_state[VALUES])
    except LabError:
        return
    if names := input_names(st.session_state[TEXT]):
        give(VALUES, write_values({name: before.get(name, 1.0) for name in names}))


def _take_example() -> None:
    if chosen := EXAMPLES.get(st.session_state[EXAMPLE]):
        give(TEXT, chosen.text)
        give(VALUES, chosen.values)


def _dragged(text: str, values: Values) -> tuple[dict[str, float], str]:
    """The values with the one that is being dragged, and the revision for the browser. Released, it stands in the text."""
    revision = f"{text} {st.session_state.get(f'{KEY}-revision', 0)}"
    said, found = sent_of(KEY, "value", revision), dict(values)
    name, value = said.get("name"), said.get("value")
    if said == st.session_state.get(f"{KEY}-taken") or name not in found or not finite(value):
        return found, revision
    found[str(name)] = max(-LARGEST_NUMBER, min(LARGEST_NUMBER, float(value)))  # type: ignore[arg-type]
    return found, revision


def _take_value() -> None:
    """A value that was let go."""
    said = sent(KEY, "value")
    if not isinstance(said, dict) or said.get("done") is not True:
        return
    try:
        values = parse_values(st.session_state[VALUES])
    except LabError:
        return
    if said.get("name") in values and finite(said.get("value")):
        values[said["name"]] = max(-LARGEST_NUMBER, min(LARGEST_NUMBER, float(said["value"])))
        give(VALUES, write_values(values))
        st.session_state[f"{KEY}-taken"] = said


def _view(graph: Graph, text: str, first: str, revision: str) -> tuple[int, int | None, str]:
    """The chosen node, the step, and the revision, a new one where the address chose them."""
    names = [each.node.name for each in graph.nodes if each.node.op != "constant"]
    start = first if first in names else names[0]
    changed = linked("node", NODE, one_of(names, "node"), start, of=text, options=names)
    changed |= linked(
        "step", STEP, number(0, LAST_STEP, "the step"), None, of=text, write=lambda n: None if n is None else str(n)
    )
    if changed:
        st.session_state[f"{KEY}-revision"] = st.session_state.get(f"{KEY}-revision", 0) + 1
        revision = f"{text} {st.session_state[f'{KEY}-revision']}"
    return graph.place(st.session_state[NODE]), st.session_state[STEP], revision
