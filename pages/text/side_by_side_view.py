"""Text / Side by side: one prompt and one seed through two checkpoints, or through two temperatures of one."""

from __future__ import annotations

import math

import streamlit as st

from core.checkpoints.store import Card, CheckpointRef
from core.common.errors import LabError
from core.inference.sampling import SamplingConfig
from pages.shared.checkpoint_picker import checkpoint_picker
from pages.shared.resources import loaded
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import linked_flag
from pages.shared.warmup import until_ready
from pages.text.generation_task import STEADY, Writing
from pages.text.opening import Task, opening, wait_for_pytorch
from pages.text.sampling_form import linked_setting, prompt_box, temperature_slider
from pages.text.text_stats import reading
from pages.text.verbatim import copied_passages, copied_words
from pages.text.verse import verse

POLL_S = 0.15
KEY = "pair"
PARTNER = "char_rnn"
"""Checkpoint beside the first one, where a link names none: the smallest that ships."""
LENGTH = 400
"""Characters of each text, to begin with."""
OPENING = 160
"""Characters of each text that a first visit finds."""


BITS = (
    "Bits per character measure the surprise at text it never saw. At 2 bits it hesitates between 4 characters, at 3 bits "
    "between 8."
)


def side_by_side_view() -> None:
    answer = st.container()
    first, second = st.columns(2, gap="large")
    with first:
        one = checkpoint_picker("First checkpoint", "pair-first", param="checkpoint", task="text")
    if one is None:
        return
    with second:
        two = checkpoint_picker(
            "Second checkpoint", "pair-second", param="second", other=one.name, prefer=PARTNER, task="text"
        )
    assert two is not None
    texts = st.container()
    prompt, length, seed, temperatures = _settings()
    with answer:
        st.markdown(f"#### {better(one.card, two.card)}", help=BITS)
    refused = False
    if st.button("Write both", key="write-both", type="primary", icon=":material/edit:"):
        refused = not _start(prompt, ((one, temperatures[0]), (two, temperatures[1])), length, seed)
    with texts:
        if KEY in st.session_state or not refused:
            _pair(*zip((one, two), _tasks(prompt, length, seed, temperatures)))
    _how_it_works()


def _settings() -> tuple[str, int | None, int | None, tuple[float, float]]:
    """Prompt, characters, seed, and the temperature of each side."""
    linked_setting("length", "pair-length", LENGTH)
    linked_setting("seed", "pair-seed")
    with st.expander("Prompt and settings", icon=":material/tune:"):
        left, right = st.columns(2, gap="large")
        with left:
            prompt = prompt_box()
            warm = temperature_slider("First temperature", "pair-first-temperature")
        with right:
            with st.container(horizontal=True, gap="small"):
                length = st.number_input("Characters", step=100, key="pair-length", width=128, persist_state="session")
                seed = st.number_input("Seed", step=1, key="pair-seed", width=128, persist_state="session")
            linked_flag("colour", "pair-colour", True)
            st.toggle("Colour by surprise", key="pair-colour", persist_state="session")
            other = temperature_slider("Second temperature", "pair-second-temperature", "second-temperature")
    return prompt, length, seed, (warm, other)


def _tasks(prompt: str, length: int | None, seed: int | None, temperatures: tuple[float, float]) -> list[Task | None]:
    """Of both sides; None where a field is empty or not valid."""
    try:
        return [(prompt, SamplingConfig(length=length, seed=seed, temperature=each), None) for each in temperatures]
    except LabError:
        return [None, None]


def _pair(*sides: tuple[CheckpointRef, Task | None]) -> None:
    """What was written last; on a first visit, what both write by themselves."""
    pair: list[Writing] | None = st.session_state.get(KEY)
    if pair is None:
        try:
            pair, own = opening("pair", OPENING, *sides)
        except LabError as error:
            show_error(error)
            return
        if not pair:
            wait_for_pytorch()
            return
        if own:
            st.session_state[KEY] = pair
    done = all(writing.done for writing in pair)
    st.fragment(_live, run_every=None if done else POLL_S)(pair, done)


def _start(
    prompt: str, settings: tuple[tuple[CheckpointRef, float], ...], length: int | None, seed: int | None
) -> bool:
    """Returns whether both could be started."""
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
        return False
    return True


def _live(opened: list[Writing], settled: bool) -> None:
    """opened: what to show as long as nothing was written in this session."""
    pair: list[Writing] = st.session_state.get(KEY, opened)
    done = all(writing.done for writing in pair)
    if done != settled:
        st.rerun()
    if not done and KEY in st.session_state:
        st.button("Stop", key="stop-both", icon=":material/stop:", on_click=_stop)
    texts = [writing.checkpoint.card.dataset.name for writing in pair]
    for place, (column, writing) in enumerate(zip(st.columns(2, gap="large"), pair)):
        with column:
            # A text that both were trained on is offered once.
            _one(writing, place, done, offer=texts.index(texts[place]) == place)


def _one(writing: Writing, place: int, done: bool, *, offer: bool) -> None:
    card, passages = writing.checkpoint.card, None
    st.markdown(f"**{escape_markdown(card.title)}**, temperature {writing.config.temperature:g}")
    reading(writing)
    text = st.container()  # what is offered when it is done stands below it and does not push it down
    if done:
        passages = copied_passages(writing.checkpoint, writing.text, key=f"pair-{place}", offer=offer)
    with text:
        verse(
            f"verse-{place}",
            writing.prompt,
            list(writing.characters),
            busy=not done,
            colour=st.session_state["pair-colour"],
            passages=passages,
        )
    if writing.error:
        show_error(writing.error)
    if done and writing.bits_per_character is not None:
        own = f"{writing.bits_per_character:.2f} bits per character by the model's own count"
        replaced = f" {len(writing.replaced)} characters of the prompt were read as others." if writing.replaced else ""
        if found := copied_words(passages, writing.text):
            st.markdown(found)
        st.caption(f"{own}.{replaced}")


def better(one: Card, two: Card) -> str:
    """Which of two models predicts text better by the figures on their cards, in one sentence of Markdown."""
    if one.fingerprint == two.fingerprint:
        return "The same model is on both sides: only the temperature differs."
    if (one.text_data.sha256, one.text_data.sizes) != (two.text_data.sha256, two.text_data.sizes):
        return "The two models learned from different texts, so their figures cannot be compared."
    losses = [card.metrics.get("val_loss_nats") for card in (one, two)]
    if not all(isinstance(loss, int | float) for loss in losses):
        return "One of the two was not measured, so nobody knows which predicts better."
    (low, winner), (high, other) = sorted(
        ((loss / math.log(2), card) for loss, card in zip(losses, (one, two))), key=lambda each: each[0]
    )
    text, names = escape_markdown(one.text_data.title), [escape_markdown(card.title) for card in (winner, other)]
    if f"{low:.2f}" == f"{high:.2f}":
        return f"Both predict {text} equally well: {low:.2f} bits per character."
    return f"{names[0]} predicts {text} better: {low:.2f} bits per character, against {high:.2f} for {names[1]}."


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
