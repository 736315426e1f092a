"""Compare / Classes: why this class and why not that one, by several methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.attribution.method import Method
from core.attribution.methods.registry import METHODS
from core.common.errors import LabError
from core.images.figures import percent
from pages.attribution.compare_cards import (
    Score,
    alike,
    common_scale,
    cost_note,
    display_and_legend,
    fill_scores,
    map_card,
    maps_of,
)
from pages.attribution.maps import Display, number
from pages.attribution.query import AttributionQuery
from pages.shared.text import escape_markdown
from pages.shared.url import linked
from pages.shared.url_values import several_of, write_several

if TYPE_CHECKING:
    from core.attribution.explainer import Attribution

DEFAULT = ("integrated_gradients", "grad_cam", "guided_backprop")
MOST_METHODS, MOST_CLASSES = 3, 3
ALIKE = 0.85
"""Rank correlation from which on two maps show nearly the same."""
NOT_ADDITIVE = ("guided_backprop", "guided_grad_cam", "lime")
"""Signed methods whose map of a difference of logits is not the difference of their maps: they cut at each ReLU, or drop
small weights."""
CLASSES = "compare-classes"
VERDICTS = ("Changes with the class", "Stays the same", "Cannot tell")


def compare_classes(asked: AttributionQuery) -> None:
    """Raises LabError."""
    answer = st.container()
    with st.expander("Methods and classes", icon=":material/tune:", key="compare-choices"):
        names, chosen = _choose_methods(), _choose_classes(asked)
    _maps(asked, names, chosen, answer)


def _maps(asked: AttributionQuery, names: list[str], chosen: list[str], answer: DeltaGenerator) -> None:
    if not names or len(chosen) < 2:
        st.info("Choose at least one method and two classes.")
        return
    questions = [dataclasses.replace(asked, target=asked.classes.index(label)) for label in chosen]
    cost_note(asked, names, len(questions))
    display = display_and_legend("the class below it", "The maps of one method share one scale.")
    others = " or ".join(map(escape_markdown, chosen[1:]))
    answer.markdown(f"### Why {escape_markdown(chosen[0])} and not {others}?")
    verdict, status = answer.empty(), st.empty()
    rows = {METHODS[name].title: _row(asked, name, questions, display) for name in names}
    passes = iter(fill_scores(status, [score for scores, _ in rows.values() for score in scores]))
    told = {title: (changes, [next(passes) for _ in scores]) for title, (scores, changes) in rows.items()}
    verdict.markdown(verdict_words(told))


def verdict_words(told: Mapping[str, tuple[bool | None, Sequence[bool | None]]]) -> str:
    """Which methods tell the classes apart, in Markdown.

    told: title -> whether its maps change with the class, and whether each of them beats the controls, the first class first;
    None where that is not known, as for the map of a class without probability.
    """
    said: dict[str, list[str]] = {}
    for title, (changes, passes) in told.items():
        if changes is None:
            continue
        believed = passes[0] and False not in passes
        verdict = "Stays the same" if not changes else "Changes with the class" if believed else "Cannot tell"
        said.setdefault(verdict, []).append(title)
    words = [f"**{verdict}:** {', '.join(said[verdict])}." for verdict in VERDICTS if verdict in said]
    if "Cannot tell" in said:
        words.append("These maps change, but do not beat the controls.")
    return " ".join(words)


def _choose_methods() -> list[str]:
    parse = several_of(METHODS, "method", MOST_METHODS)
    linked("compare-methods", "compare-methods", parse, list(DEFAULT), write=write_several)
    return st.multiselect(
        "Methods",
        list(METHODS),
        max_selections=MOST_METHODS,
        format_func=lambda name: METHODS[name].title,
        key="compare-methods",
        persist_state="session",
        wrap=True,
    )


def _choose_classes(asked: AttributionQuery) -> list[str]:
    """Another image, square of it or checkpoint begins with its two most likely classes."""
    question = (hash(asked.image.data), asked.image.square, asked.reference.card.fingerprint)
    order = [asked.classes[place] for place in np.argsort(asked.probabilities)[::-1]]
    parse = several_of(order, "class", MOST_CLASSES)
    linked(CLASSES, CLASSES, parse, order[:2], write=write_several, of=question)
    return st.multiselect(
        "Classes",
        order,
        max_selections=MOST_CLASSES,
        key=CLASSES,
        persist_state="session",
        wrap=True,
        help="The most likely first.",
    )


def _row(
    asked: AttributionQuery, name: str, questions: list[AttributionQuery], display: Display
) -> tuple[list[Score], bool | None]:
    """The maps of one method; returns where their scores go, and whether they change with the class, if that is known.
    Raises LabError."""
    method = METHODS[name]
    st.markdown(f"#### {method.title}")
    found = maps_of(asked, name, questions)
    if found is None:
        return [], None
    maps: list[Attribution] = []
    for item in found:
        if isinstance(item, LabError):
            st.caption(escape_markdown(item))
            return [], None
        maps.append(item)
    values = [item.pixels for item in maps]
    differences = [values[0] - other for other in values[1:]] if _additive(method) else []
    scale = common_scale([*values, *differences], display)
    first, scores = questions[0].label, []
    with st.container(horizontal=True, gap="small"):
        for question, item in zip(questions, maps, strict=True):
            label = question.label
            place = map_card(
                item.pixels,
                question,
                display,
                signed=method.signed,
                scale=scale,
                key=f"classes-{name}-{label}",
                alt=f"{method.title}: why {label}",
                words=f"**{escape_markdown(label)}** · {percent(question.probabilities[question.target])}",
            )
            scores.append((place, question, item))
        for question, difference in zip(questions[1:], differences):
            map_card(
                difference,
                asked,
                display,
                signed=True,
                scale=scale,
                key=f"rather-{name}-{question.label}",
                alt=f"{method.title}: why {first} rather than {question.label}",
                words=f"**{escape_markdown(first)} rather than {escape_markdown(question.label)}**  \n"
                ":small[the first map less the other]",
            )
    return scores, _how_alike(method, questions, values, scale)


def _additive(method: type[Method]) -> bool:
    return method.signed and method.name not in NOT_ADDITIVE


def _how_alike(
    method: type[Method], questions: list[AttributionQuery], values: list[np.ndarray], scale: float
) -> bool | None:
    """Say how much the maps of one method depend on the class; returns whether they do, None for blank maps."""
    pairs = {
        f"{escape_markdown(one.label)} and {escape_markdown(other.label)}": alike(mine, others)
        for (one, mine), (other, others) in combinations(zip(questions, values, strict=True), 2)
    }
    known = {pair: value for pair, value in pairs.items() if value is not None}
    same = {pair: value for pair, value in known.items() if value >= ALIKE}
    if same:
        told = ", ".join(f"{number(value)} for {pair}" for pair, value in same.items())
        st.warning(
            f"{method.title} shows nearly the same whatever the class (rank correlation {told}): its map is no reason for one "
            "rather than another.",
            icon=":material/content_copy:",
        )
    rest = ", ".join(f"{pair} {number(value)}" for pair, value in known.items() if pair not in same)
    said = [f"Rank correlation of the maps: {rest}." if rest else ""]
    said.append(f"Colours end at {'±' if method.signed else ''}{scale:.2g} in all maps of this row.")
    if method.signed and not _additive(method):
        said.append(
            "No map of “rather than” here: this method does not hand a difference of logits back as the difference."
        )
    st.caption(" ".join(part for part in said if part))
    return not same if known else None
