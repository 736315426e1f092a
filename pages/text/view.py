"""Text / Write: a text that appears as the model makes it, and the prompt that it goes on from."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.inference.generate import Character
from core.inference.sampling import SamplingConfig
from pages.shared.checkpoint_picker import checkpoint_picker, describe
from pages.shared.copy_link import not_in_link
from pages.shared.downloads import downloads
from pages.shared.resources import loaded
from pages.shared.text import escape_markdown, show_error, show_reading
from pages.shared.url import linked_flag, linked_fragment
from pages.shared.warmup import until_ready
from pages.text.generation_task import STEADY, Writing
from pages.text.help import how_it_works
from pages.text.opening import Task, opening, wait_for_pytorch
from pages.text.sampling_form import chosen_precision, prompt_box, sampling_form
from pages.text.text_stats import figures, headline, reading, text_downloads
from pages.text.verbatim import copied_passages, copied_words
from pages.text.verse import branch, verse

POLL_S = 0.15
SHORT_S = 0.3
"""So long a press waits for the text that it starts."""
KEY, HISTORY, REDRAW = "writing", "written-before", "write-redraw"
OPENING = 300
"""Characters of the text that a first visit finds."""
KEPT = 20
"""Texts that Undo goes back to, as long as they are not too long together."""
KEPT_CHARACTERS = 100_000
LONGEST = 50_000
"""Characters after which a text is not continued: the page would become slow."""


def write_view() -> None:
    paper, controls = st.columns([2, 1], gap="large")
    with controls:
        reference = checkpoint_picker("Checkpoint", "checkpoint", param="checkpoint", task="text")
        if reference is None:
            return
        prompt = prompt_box()
        button = st.container()
        config = sampling_form("write", reference.card)
        with button:
            refused = _write_button(reference, prompt, config)
        st.caption(f"{escape_markdown(reference.label)}: {describe(reference)}.")
        downloads(reference, None)
    with paper:
        if not refused:
            task = (prompt, config, chosen_precision("write", reference.card)) if config else None
            _paper(reference, task)
    how_it_works(reference)


def _paper(reference: CheckpointRef, chosen: Task | None) -> None:
    """What was written last; on a first visit, what the chosen checkpoint writes by itself."""
    writing: Writing | None = st.session_state.get(KEY)
    if writing is None:
        try:
            found, own = opening("write", OPENING, (reference, chosen))
        except LabError as error:
            show_error(error)
            return
        if not found:
            wait_for_pytorch()
            return
        writing = found[0]
        if own:
            st.session_state[KEY] = writing
    # A long text is looked at less often: each look sends all of it.
    every = POLL_S * (1 + len(writing.characters) // 4000)
    # The address follows once the text stands: while it is written, each look would send the link again.
    live = linked_fragment(_live) if writing.done else st.fragment(_live, run_every=every)
    live(writing, writing.done)


def _write_button(reference: CheckpointRef, prompt: str, config: SamplingConfig | None) -> bool:
    """Writes once it is pressed. Returns whether there is no text to show, since the first one could not be started."""
    pressed = st.button("Write", key="write", type="primary", icon=":material/edit:", disabled=config is None)
    if pressed and config is not None:
        until_ready()
        try:
            writing = Writing(
                loaded(reference),
                prompt,
                config,
                pace=STEADY if st.session_state.get("write-pace") == "reading" else None,
                precision=chosen_precision("write", reference.card),
            )
        except LabError as error:
            show_error(error)
            return KEY not in st.session_state
        _replace(writing, st.session_state.get(KEY))
        writing.wait(SHORT_S)
    return False


def _replace(writing: Writing, before: Writing | None) -> None:
    """Put a new text in place of the one that is there, which Undo brings back."""
    history: list[Writing] = st.session_state.setdefault(HISTORY, [])
    if before is not None:
        before.stop()
        history.append(before)
        del history[:-KEPT]
        while len(history) > 1 and sum(len(old.characters) for old in history) > KEPT_CHARACTERS:
            del history[0]
    st.session_state[KEY] = writing


def _undo() -> None:
    history: list[Writing] = st.session_state.get(HISTORY, [])
    if history:
        st.session_state[KEY].stop()
        st.session_state[KEY] = history.pop()


def _live(first: Writing, settled: bool) -> None:
    """first: what to show as long as nothing was written in this session."""
    writing: Writing = st.session_state.get(KEY, first)
    # A short text may be done by now, as the one before it was, and the form still has to show what changed.
    if writing.done != settled or st.session_state.pop(REDRAW, False):
        st.rerun()
    linked_flag("colour", "write-colour", True)
    if writing.by_hand:
        not_in_link("What you continued or chose by hand is not in the link: it writes the text from its prompt.")
    st.markdown(f"#### {headline(writing)}")
    show_reading(writing.replaced, writing.line_breaks, "the prompt")
    if writing.without_int8:
        from core.inference.decoding import NO_ENGINE

        st.caption(NO_ENGINE)
    _bar(writing)
    reading(writing)
    text = st.container()  # what is offered when it is done stands below it and does not push it down
    passages = copied_passages(writing.checkpoint, writing.text, key="write") if writing.done else None
    with text:
        verse(
            "verse",
            writing.prompt,
            list(writing.characters),
            busy=not writing.done,
            colour=st.session_state["write-colour"],
            passages=passages,
            on_branch=lambda: _take_branch(writing),
        )
    if writing.error:
        show_error(writing.error)
    if writing.done and writing.characters:
        if found := copied_words(passages, writing.text):
            st.markdown(found)
        st.caption(figures(writing))
        text_downloads(writing)


def _bar(writing: Writing) -> None:
    """Stop while it writes, and afterwards what can be done with the text."""
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        if not writing.done:
            if KEY in st.session_state:
                st.button("Stop", key="stop-writing", icon=":material/stop:", on_click=writing.stop)
            return
        too_long = len(writing.characters) >= LONGEST
        st.button(
            "Continue",
            key="continue",
            icon=":material/more_horiz:",
            on_click=_go_on,
            args=(writing,),
            disabled=too_long,
            help=f"At {LONGEST:,} characters a text is long enough." if too_long else None,
        )
        st.button("Another one", key="reseed", icon=":material/casino:", on_click=_again, args=(writing,))
        if st.session_state.get(HISTORY):
            st.button("Undo", key="undo", icon=":material/undo:", on_click=_undo, help="Back to the text before.")
        st.toggle("Colour by surprise", key="write-colour", persist_state="session")


def _go_on(writing: Writing) -> None:
    _restart(writing, writing.characters, writing.config)


def _again(writing: Writing) -> None:
    """The same prompt with the next seed, which the form then shows."""
    seed = (writing.config.seed + 1) % 2**31
    st.session_state["write-seed"] = seed
    st.session_state[REDRAW] = True
    _restart(writing, (), writing.config.replace(seed=seed))


def _take_branch(writing: Writing) -> None:
    """Go on from a character that the model might have written instead."""
    wanted = branch("verse")
    if wanted is None or not writing.done or not 0 <= wanted[0] < len(writing.characters):
        return
    index, character = wanted
    old = writing.characters[index]
    share = dict(old.alternatives).get(character)
    if share is None:
        return
    new = Character(
        character=character,
        probability=share,
        drawn_with=1.0,  # a person chose it
        alternatives=old.alternatives,
        entropy_bits=old.entropy_bits,
    )
    _restart(writing, [*writing.characters[:index], new], writing.config)


def _restart(writing: Writing, before: Sequence[Character], config: SamplingConfig) -> None:
    precision, pace = writing.precision, writing.pace
    new = Writing(writing.checkpoint, writing.prompt, config, before=before, precision=precision, pace=pace)
    _replace(new, writing)
    new.wait(SHORT_S)  # a short text is whole when it is drawn, and needs no second look
