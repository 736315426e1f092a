"""Text / Why this one: which characters of the prompt drove the next one, and whether they really do."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.inference.sampling import runs_in_int8
from core.language.attribution import (
    DRAWS,
    MAX_CHARACTERS,
    METHODS,
    Evidence,
    Prompt,
    TextAttribution,
    evidence,
    explain_next,
    next_characters,
)
from pages.shared.checkpoint_picker import checkpoint_picker, describe
from pages.shared.elements import download, show_table
from pages.shared.resources import dark, loaded
from pages.shared.text import escape_markdown, replaced_words, show_error
from pages.shared.url import linked
from pages.shared.url_values import one_of
from pages.shared.warmup import until_ready
from pages.text.coloured import coloured
from pages.text.hidden_state_reach import as_csv
from pages.text.next_char_help import EXAMPLE, likely, name_of, spoken, what_is_this
from pages.text.sampling_form import PROMPT, prompt_box

STAND_INS = " \ne"
WINDOWS, STEPS = (1, 3, 5), (50, 200)
"""The first is the usual one."""
KEEP = 64
"""Answers that the server remembers."""
WIDE_GAP = 0.05


def why_view() -> None:
    answer, controls = st.columns([2, 1], gap="large")  # on a phone the answer stands above what it is of
    with controls:
        reference = checkpoint_picker("Checkpoint", "checkpoint", param="checkpoint", task="text")
        if reference is None:
            return
        text = prompt_box()
        st.button("Try another prompt", key="next-example", icon=":material/edit_note:", on_click=_take_example)
        question = _question(reference)
        st.caption(f"{escape_markdown(reference.label)}: {describe(reference)}.")
        if runs_in_int8(reference.card):
            st.caption("It writes in 8 bits; explained are the same weights in float32, which have gradients.")
    with answer:
        try:
            until_ready()
            prompt = next_characters(loaded(reference), text)
            question["target"] = _next(prompt, (reference.card.fingerprint, text))
            _answer(*_explained(reference, text, question))
        except LabError as error:
            show_error(error)
    what_is_this(question["method"], METHODS[question["method"]])


def _take_example() -> None:
    st.session_state[PROMPT] = EXAMPLE


def _question(reference: CheckpointRef) -> dict[str, Any]:
    """How to explain, as core's `explain_next` takes it."""
    names = list(METHODS)
    linked("method", "next-method", one_of(names, "method"), names[0])
    method = st.segmented_control(
        "Method",
        names,
        required=True,
        format_func=lambda name: METHODS[name].removeprefix("Layer "),  # the column is narrow
        wrap=True,
        key="next-method",
        persist_state="session",
    )
    question: dict[str, Any] = {"method": method}
    if method == "occlusion":
        linked("window", "next-window", one_of(WINDOWS, "number of characters"), WINDOWS[0])
        question["window"] = st.segmented_control(
            "Characters replaced at once",
            WINDOWS,
            required=True,
            key="next-window",
            persist_state="session",
        )
    else:
        linked("steps", "next-steps", one_of(STEPS, "number of steps"), STEPS[0])
        question["steps"] = st.segmented_control(
            "Steps", STEPS, required=True, key="next-steps", persist_state="session"
        )
    vocabulary = reference.card.text_data.vocabulary
    options = [character for character in STAND_INS if character in vocabulary] or [vocabulary[0]]
    # Another checkpoint may have known others.
    linked("baseline", "next-baseline", one_of(options, "baseline character"), options[0], options=options)
    question["baseline"] = st.selectbox(
        "Baseline character",
        options,
        format_func=name_of,
        key="next-baseline",
        persist_state="session",
        help="Characters are compared with this one, or replaced by it. Where the prompt has it already, it can get no value.",
    )
    return question


def _next(prompt: Prompt, asked: tuple[str, str]) -> str:
    """The character to explain: the most likely one, until another one is picked for this prompt."""
    shares = dict(prompt.alternatives)
    options = list(shares)
    linked("target", "next-target", one_of(options, "next character"), options[0], of=asked)
    target = st.pills(
        "Why would this one come next?",
        options,
        required=True,
        format_func=lambda character: f"{escape_markdown(name_of(character))} {likely(shares[character])}",
        wrap=True,
        key="next-target",
        persist_state="session",
    )
    if prompt.replaced:
        st.info(replaced_words(prompt.replaced, "the prompt"), icon=":material/swap_horiz:")
    if prompt.dropped:
        st.info(
            f"Only the last {MAX_CHARACTERS} characters are read here; {prompt.dropped:,} before them are left out."
        )
    if prompt.unseen:
        st.info(
            f"This Transformer sees {len(prompt.text) - prompt.unseen} characters back: the first {prompt.unseen} of those "
            "below, in grey, cannot matter and have no value."
        )
    return target


def _explained(reference: CheckpointRef, text: str, question: dict[str, Any]) -> tuple[TextAttribution, Evidence]:
    """From memory, or worked out with how far it is on the page; a change of the form ends it. Raises LabError."""
    kept = _kept()
    key = (reference.card.fingerprint, text, *sorted(question.items()))
    found = kept.get(key)
    if found is None:
        place, checkpoint = st.empty(), loaded(reference)
        words = f"Computing {METHODS[question['method']]}"

        def told(share: float) -> None:
            place.progress(share, text=f"{words}: {100 * share:.0f}%")

        attribution = explain_next(checkpoint, text, **question, on_progress=lambda share: told(0.9 * share))
        found = attribution, evidence(checkpoint, attribution)
        place.empty()
        kept[key] = found
        for old in list(kept)[:-KEEP]:  # a copy: other sessions change it too
            kept.pop(old, None)
    return found


@st.cache_resource(show_spinner=False)
def _kept() -> dict[tuple[Any, ...], tuple[TextAttribution, Evidence]]:
    return {}


def _answer(found: TextAttribution, checked: Evidence) -> None:
    name, nothing = spoken(found.target), spoken(found.baseline)
    st.markdown(f"#### Why {name}, with {likely(found.probability)}?")
    coloured("next-coloured", found, dark=dark())
    st.markdown(f"**{escape_markdown(checked.verdict)}**")
    more = f"{abs(found.rise):.1f} bits {'more' if found.rise >= 0 else 'less'} likely"
    words = f"After this text {name} is {more} than after a text that repeats {nothing}"
    if found.gap is not None:
        words += f"; the values sum to that up to {max(100 * found.gap, 0.1):.1f}%"
        if found.gap > WIDE_GAP:
            words += ", which is much: more steps bring them closer"
    with st.expander("The check in figures", icon=":material/table_rows:", key="next-check"):
        if checked.rows:
            show_table(
                {
                    "Replaced": [f"{row.count}" for row in checked.rows],
                    "Largest values": [likely(row.largest) for row in checked.rows],
                    f"At random (mean of {DRAWS})": [likely(row.random) for row in checked.rows],
                    "The last ones": [likely(row.last) for row in checked.rows],
                },
                key="replaced",
            )
            st.markdown(
                f"What is left of the {likely(checked.probability)} when so many characters are replaced by {nothing}. Less "
                "is more: the values have to beat chance, and the last characters."
            )
        st.markdown(f"{words}. It took {found.milliseconds / 1000:.1f} s. Signs: · is a space, ↵ a new line.")
    download("The values (CSV)", as_csv(columns(found)), "why-this-one.csv", key="download-why-this-one")


def columns(found: TextAttribution) -> dict[str, list[str]]:
    """The values as a table, a row for each character."""
    return {
        "position": [str(place + 1) for place in range(len(found.values))],
        "character": list(found.prompt.text),
        "bits": [f"{value:.6g}" for value in found.values],
    }
