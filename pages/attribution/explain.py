"""Attribution / Explain: the answer, a map of every method that is quick or was asked for, each with its score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.attribution.evidence.controls import CONTROL_TITLES
from core.attribution.methods.registry import METHODS, SLOW, quick_methods
from core.checkpoints.store import RUNTIME_ONLY
from core.common.errors import LabError
from core.images.figures import percent
from pages.attribution.answer import show_answer
from pages.attribution.cached import attributed, controls_of, score_map
from pages.attribution.detail import ALL, chosen, closer_look, look_closer
from pages.attribution.help import attribution_help
from pages.attribution.maps import (
    BLANK,
    CONTROLS_NOTE,
    MAP_PX,
    Display,
    card,
    display_controls,
    evidence,
    input_image,
    legend,
    shown_controls,
    signed_number,
    time_words,
)
from pages.attribution.query import AttributionQuery, ask, ask_checkpoint
from pages.attribution.ready import scores_ready
from pages.attribution.settings import settings_of, settings_words
from pages.attribution.slow import more_methods, only, remove, slow_map, wanted
from pages.shared.image_view import predict, true_class
from pages.shared.resources import loaded
from pages.shared.text import escape_markdown, show_error
from pages.shared.upload_box import example_row

if TYPE_CHECKING:
    from core.attribution.explainer import Attribution

CARD_PX = MAP_PX + 4


def explain_view() -> None:
    answer, controls = st.columns([2.15, 1], gap="large")
    with controls:
        reference = ask_checkpoint()
        asked = ask(reference=reference) if reference else None
    with answer:
        if asked:
            try:
                _headline(asked)
                only(asked)
                name = chosen()
                if answers_only(asked) and name in (None, ALL):
                    st.markdown("It runs only in ONNX Runtime, without gradients: these methods only ask it.")
                    _maps(asked)
                elif name == ALL:
                    st.button(
                        "Back to the answer",
                        key="back-to-answer",
                        icon=":material/arrow_back:",
                        on_click=look_closer,
                        args=(None,),
                    )
                    _maps(asked)
                elif name:
                    closer_look(asked, name)
                else:
                    show_answer(asked)
            except LabError as error:
                show_error(error)
        elif reference:
            example_row(reference.card.dataset)
    attribution_help()


def answers_only(asked: AttributionQuery) -> bool:
    """Whether the network has no gradients and no layers."""
    return asked.reference.card.model == RUNTIME_ONLY


def _headline(asked: AttributionQuery) -> None:
    """What it says, and whether that is to be believed at all. Raises LabError."""
    card_of = asked.reference.card
    answer = asked.classes[asked.predicted]
    sure = percent(asked.probabilities[asked.predicted])
    prediction = predict(card_of.fingerprint, asked.pixels, _checkpoint=loaded(asked.reference))
    unlike = prediction.likely_none_of_these
    st.markdown(f"## {'nearest: ' if unlike else ''}{escape_markdown(answer)} · {sure}")
    if unlike:
        st.warning(
            f"This is probably none of the {len(asked.classes)} classes: the maps explain why the network would still say so.",
            icon=":material/help:",
        )
    if percent(prediction.top[0][1]) != sure:
        st.caption("Explained is the answer to this one view; Classify takes the mean of several.")
    true_class(asked.image, answer, asked.classes)
    if asked.target == asked.predicted:
        st.markdown(f"### Why {escape_markdown(asked.label)}?")
    else:
        st.markdown(f"### Why {escape_markdown(asked.label)} ({percent(asked.probabilities[asked.target])})?")


def _maps(asked: AttributionQuery) -> None:
    """The image, the quick methods, those asked for and the controls; scores follow once all maps are there."""
    quick = () if answers_only(asked) else quick_methods(asked.reference.card.model)
    if not scores_ready(asked, quick):
        return
    display = display_controls()
    legend(asked.label)
    told = st.empty()
    slow = wanted()
    places: list[tuple[DeltaGenerator, Attribution | str]] = []
    refused: dict[str, LabError] = {}
    grid = st.container(horizontal=True, gap="small")
    with grid, st.container(width=CARD_PX, gap="xsmall"):
        st.markdown("**The image**")
        input_image(asked)
    for name in quick:
        try:
            found = attributed(asked, name, settings_of(name, asked.reference))
        except LabError as error:
            refused[name] = error
            continue
        with grid, st.container(width=CARD_PX, gap="xsmall"):
            st.markdown(f"**{escape_markdown(METHODS[name].title)}**")
            places.append((_map(asked, found, display), found))
    for name in slow:
        with grid, st.container(width=CARD_PX, gap="xsmall"):
            st.markdown(f"**{escape_markdown(METHODS[name].title)}**")
            try:
                slow_found = slow_map(asked, name)
                if slow_found:
                    places.append((_map(asked, slow_found, display), slow_found))
            except LabError as error:
                st.caption(escape_markdown(error))
            st.button(
                "Remove", key=f"remove-{name}", icon=":material/close:", type="tertiary", on_click=remove, args=(name,)
            )
    for name, values in shown_controls(asked.pixels).items():
        with grid, st.container(width=CARD_PX, gap="xsmall"):
            title = CONTROL_TITLES[name]
            st.markdown(f"**{title}**")
            alt = f"{title}: a control, which does not depend on the network"
            places.append((card(values, asked, display, signed=False, alt=alt), name))
            st.caption(CONTROLS_NOTE[name])
    if refused:
        st.caption(
            "Left out here: "
            + " ".join(
                f"**{escape_markdown(METHODS[name].title)}.** {escape_markdown(why)}" for name, why in refused.items()
            )
        )
    possible = (name for name in SLOW if not answers_only(asked) or METHODS[name].family == "perturbation")
    more_methods(asked, tuple(name for name in possible if name not in slow))
    _scores(asked, places, told)


def _map(asked: AttributionQuery, found: Attribution, display: Display) -> DeltaGenerator:
    """Returns the place for its score."""
    method = found.method
    settings = settings_words(method.name, method.settings())
    place = card(
        found.pixels,
        asked,
        display,
        signed=method.signed,
        alt=f"{method.title}: map of why {asked.label}. {method.how_to_read}",
    )
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.button(
            "Look closer",
            key=f"closer-{method.name}",
            icon=":material/zoom_in:",
            type="tertiary",
            on_click=look_closer,
            args=(method.name,),
        )
        st.caption(time_words(found.milliseconds))
    if settings:
        st.caption(escape_markdown(settings))
    return place


def _scores(
    asked: AttributionQuery, places: list[tuple[DeltaGenerator, Attribution | str]], told: DeltaGenerator
) -> None:
    """Fill them in, one after the other: the curves of a map take longer than most maps. told: where to say what to beat."""
    try:
        controls = controls_of(asked)
    except LabError as error:
        told.info(f"Maps cannot be scored here. {escape_markdown(error)}")
        return
    beat = ", ".join(f"{CONTROL_TITLES[name].lower()} {signed_number(found.score)}" for name, found in controls.items())
    told.caption(
        f"To beat on this image, the controls: {beat}. :material/check: scores above all three, "
        ":material/close: does not, however high; the words name the simplest one that it does not beat."
    )
    for place, found in places:
        with place.container(gap="xsmall"):
            if isinstance(found, str):
                evidence(controls[found], None, asked.label)
            elif found.blank:
                st.markdown(f":gray-badge[:material/remove:] {BLANK}")
            else:
                evidence(*score_map(asked, found), asked.label)
