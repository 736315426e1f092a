"""Compare / Checkpoints: the same image and class, other networks."""

from __future__ import annotations

import streamlit as st

from core.attribution.methods.registry import METHODS
from core.attribution.networks import float_twin_note
from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.images.figures import percent
from pages.attribution.compare_cards import (
    Score,
    alike,
    choose_method,
    cost_note,
    display_and_legend,
    fill_scores,
    map_card,
    maps_of,
)
from pages.attribution.compare_others import asked_of, choose_others
from pages.attribution.maps import number
from pages.attribution.query import AttributionQuery
from pages.shared.text import escape_markdown

SAME, PARTLY = 0.8, 0.4
"""Rank correlations from which on two maps are called nearly the same, and alike in part."""


def compare_checkpoints(asked: AttributionQuery) -> None:
    """Raises LabError."""
    conclusions = st.empty()
    others, methods = st.columns([2, 1], gap="medium")
    with others:
        chosen = choose_others(asked.reference)
    with methods:
        name = choose_method("compare-method")
    if not chosen:
        st.info(
            "Choose a checkpoint to compare with. If the list is empty, train a second one on the same classes, or make a "
            "smaller one under Compression."
        )
        return
    questions = [asked, *(asked_of(asked, reference) for reference in chosen)]
    cost_note(asked, [name], len(questions))
    display = display_and_legend(f"“{escape_markdown(asked.label)}”")
    status, method = st.empty(), METHODS[name]
    found = maps_of(asked, name, questions)
    if found is None:
        return
    compared: list[tuple[int, AttributionQuery, float | None]] = []
    scores: list[Score] = []
    first = found[0]
    with st.container(horizontal=True, gap="small"):
        for place, (question, item) in enumerate(zip(questions, found, strict=True)):
            words = _words(question)
            if isinstance(item, LabError):
                with st.container(width=220, gap="xsmall"):
                    st.markdown(words)
                    st.caption(escape_markdown(item))
                continue
            if place == 0:
                words += "  \n:small[The first, which others are compared with]"
            elif not isinstance(first, LabError):
                likeness = alike(first.pixels, item.pixels)
                compared.append((len(scores), question, likeness))
                words += f"  \n:small[Rank correlation with the first: {number(likeness)}]"
            where = map_card(
                item.pixels,
                question,
                display,
                signed=method.signed,
                key=f"checkpoint-{name}-{question.reference.name}",
                alt=f"{method.title}: why {question.reference.label} says {question.label}",
                words=words,
            )
            scores.append((where, question, item))
    _notes([question.reference for question in questions])
    passes = fill_scores(status, scores)
    said = [
        _changed(asked, question, likeness, told=bool(passes[0] and passes[place]))
        for place, question, likeness in compared
    ]
    if said:
        conclusions.markdown("\n".join(f"- {sentence}" for sentence in said))


def _words(question: AttributionQuery) -> str:
    """Which checkpoint it is, what it answers, and what it gives the class in question."""
    answer = f"says {escape_markdown(question.classes[question.predicted])}, {percent(max(question.probabilities))}"
    if question.predicted != question.target:
        answer += f"; {escape_markdown(question.label)} {percent(question.probabilities[question.target])}"
    return f"**{escape_markdown(question.reference.label)}**  \n{answer}"


def _changed(first: AttributionQuery, other: AttributionQuery, likeness: float | None, *, told: bool) -> str:
    """What became of the answer and of its reason, in a sentence of Markdown. told: whether both maps beat the controls."""
    name, answer = escape_markdown(other.reference.label), escape_markdown(other.classes[other.predicted])
    before = escape_markdown(first.classes[first.predicted])
    same = first.classes[first.predicted] == other.classes[other.predicted]
    gives = "gives the same answer" if same else f"says {answer} instead of {before}"
    if likeness is None:
        return f"**{name}** {gives}; one of the two maps is blank, so that the reasons cannot be compared."
    if not told:
        return (
            f"**{name}** {gives}; whether for the same reasons, these maps cannot tell ({number(likeness)}): they do not both "
            "beat the controls."
        )
    if likeness >= SAME:
        reasons = (
            "for nearly the same reasons"
            if same
            else f"and yet sees nearly the same reasons for {escape_markdown(first.label)}"
        )
    elif likeness >= PARTLY:
        reasons = (
            "for partly other reasons" if same else f"and sees partly other reasons for {escape_markdown(first.label)}"
        )
    else:
        reasons = "for other reasons" if same else f"and sees other reasons for {escape_markdown(first.label)}"
    return f"**{name}** {gives} {reasons} ({number(likeness)})."


def _notes(references: list[CheckpointRef]) -> None:
    """What must be known to read the answers."""
    loose = [escape_markdown(item.label) for item in references if not item.card.calibration.images]
    said = [escape_markdown(twin) for item in references if (twin := float_twin_note(item.card))]
    if loose and len(loose) < len(references):
        said.append(
            f"Not calibrated: {', '.join(loose)}. Their probabilities, and with them their scores, are as sure as the network "
            "happens to be; compare maps and verdicts rather than these figures."
        )
    said.append("One view of the image each, no test-time augmentation.")
    st.caption(" ".join(said))
