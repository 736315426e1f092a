"""Text / Side by side: one prompt and one seed through two checkpoints, or through two temperatures of one."""

from __future__ import annotations

import streamlit as st

from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.inference.sampling import SamplingConfig
from pages.shared.checkpoint_picker import accuracy, checkpoint_picker
from pages.shared.resources import loaded
from pages.shared.text import escape_markdown, show_error
from pages.shared.warmup import until_ready
from pages.text.generation_task import STEADY, Writing
from pages.text.sampling_form import prompt_box
from pages.text.verbatim import copied_passages, copied_words
from pages.text.verse import verse

POLL_S = 0.15
KEY = "pair"


def side_by_side_view() -> None:
    left, right = st.columns([1, 1], gap="large")
    with left:
        prompt = prompt_box()
    with right, st.container(horizontal=True, gap="small"):
        length = st.number_input(
            "Characters", value=400, step=100, key="pair-length", width=128, persist_state="session"
        )
        seed = st.number_input("Seed", value=0, step=1, key="pair-seed", width=128, persist_state="session")
        st.toggle("Colour by surprise", value=True, key="pair-colour", persist_state="session")
    first, second = st.columns(2, gap="large")
    with first:
        one = checkpoint_picker("First checkpoint", "pair-first", param="checkpoint", task="text")
        warm = _temperature("first", 0.8)
    if one is None:
        return
    with second:
        two = checkpoint_picker("Second checkpoint", "pair-second", param="second", other=one.name, task="text")
        other = _temperature("second", 0.8)
    assert two is not None
    if st.button("Write both", key="write-both", type="primary", icon=":material/edit:"):
        _start(prompt, ((one, warm), (two, other)), length, seed)
    pair: list[Writing] | None = st.session_state.get(KEY)
    if pair:
        done = all(writing.done for writing in pair)
        st.fragment(_live, run_every=None if done else POLL_S)(done)
    _how_it_works()


def _temperature(place: str, value: float) -> float:
    return st.slider("Temperature", 0.0, 2.0, value, 0.05, key=f"pair-{place}-temperature", persist_state="session")


def _start(
    prompt: str, settings: tuple[tuple[CheckpointRef, float], ...], length: int | None, seed: int | None
) -> None:
    until_ready()
    for writing in st.session_state.get(KEY) or ():
        writing.stop()
    try:
        if length is None or seed is None:
            raise LabError("A field is empty: give it a number.")
        configs = [SamplingConfig(length=length, seed=seed, temperature=temperature) for _, temperature in settings]
        both = [loaded(reference) for reference, _ in settings]  # before either begins
        st.session_state[KEY] = [
            Writing(checkpoint, prompt, config, pace=STEADY) for checkpoint, config in zip(both, configs)
        ]
    except LabError as error:
        show_error(error)


def _live(settled: bool) -> None:
    pair: list[Writing] = st.session_state[KEY]
    done = all(writing.done for writing in pair)
    if done != settled:
        st.rerun()
    if not done:
        st.button("Stop", key="stop-both", icon=":material/stop:", on_click=_stop)
    texts = [writing.checkpoint.card.dataset.name for writing in pair]
    for place, (column, writing) in enumerate(zip(st.columns(2, gap="large"), pair)):
        with column:
            # A text that both were trained on is offered once.
            _one(writing, place, done, offer=texts.index(texts[place]) == place)


def _one(writing: Writing, place: int, done: bool, *, offer: bool) -> None:
    card, passages = writing.checkpoint.card, None
    st.markdown(f"**{escape_markdown(card.title)}**, temperature {writing.config.temperature:g}")
    text = st.container()  # what is offered when it is done stands below it and does not push it down
    if done:
        passages = copied_passages(writing.checkpoint, writing.text, key=f"pair-{place}", offer=offer)
    with text:
        verse(
            f"verse-{place}",
            writing.prompt,
            list(writing.characters),
            busy=not done,
            colour=st.session_state.get("pair-colour", True),
            passages=passages,
        )
    if writing.error:
        show_error(writing.error)
    if done and writing.bits_per_character is not None:
        own = f"{writing.bits_per_character:.2f} bits per character by the model's own count"
        known = accuracy(card)
        held = f"; on text it never saw: {known}" if known else ""
        replaced = f" {len(writing.replaced)} characters of the prompt were read as others." if writing.replaced else ""
        st.caption(f"{own}{held}. {copied_words(passages, writing.text)}{replaced}")


def _stop() -> None:
    for writing in st.session_state.get(KEY) or ():
        writing.stop()


def _how_it_works() -> None:
    with st.expander("How this works", icon=":material/school:"):
        st.markdown(
            "Both sides draw with the same numbers: at each place the same number from 0 to 1 picks a character from each "
            "model's own distribution, so that what differs is the model or its temperature and not the dice. Once the texts "
            "part, they go on apart.\n\n"
            "**Two figures.** The bits per character of its own text say how much a model surprised itself: a low temperature "
            "makes it small, for any model. The bits per character on text that it never saw say how good the model is, and "
            "do not depend on the temperature of the page."
        )
