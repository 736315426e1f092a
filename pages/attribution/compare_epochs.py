"""Compare / Epochs of a run: how the reason changed while a network learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from core.attribution.figures_compare import likeness_figure
from core.attribution.methods.registry import METHODS
from core.checkpoints.store import find_checkpoint
from core.common.errors import LabError
from core.images.figures import percent
from core.training.snapshots import epoch_title, names_of
from pages.attribution.compare_cards import (
    Score,
    alike,
    choose_method,
    cost_note,
    display_and_legend,
    fill_scores,
    maps_of,
)
from pages.attribution.compare_others import asked_of, require_same_question
from pages.attribution.maps import image_of, number
from pages.attribution.query import AttributionQuery
from pages.shared.elements import show_figure, show_image
from pages.shared.registry import page_link
from pages.shared.resources import dark, runs_now, store
from pages.shared.text import escape_markdown
from pages.shared.url import linked
from pages.shared.url_values import one_of

SIDE_PX = 96
"""Three maps fit beside each other on a phone."""
MOST = 12
"""Maps; of a run that kept more, so many are taken evenly."""
SETTLED = 0.8
"""Rank correlation with the last map from which on the reason is called settled."""
RUN = "compare-run"


def has_snapshots() -> bool:
    """Whether a run of this machine shows how it learned."""
    return bool(_runs())


def no_snapshots() -> None:
    """What to do about it."""
    st.info(
        "No run on this machine has kept checkpoints of its epochs. Train one with Snapshots, under Advanced, above 0."
    )
    page_link("images", "Train one", icon=":material/model_training:", view="Train")


def compare_epochs(asked: AttributionQuery) -> None:
    """For a machine that has such a run. Raises LabError."""
    conclusion = st.empty()
    runs, methods = st.columns([2, 1], gap="medium")
    with runs:
        names = _choose_run(asked)
    with methods:
        name = choose_method("compare-method")
    epochs = _thinned(names)
    questions = [asked_of(asked, find_checkpoint(item)) for item in epochs]
    cost_note(questions[-1], [name], len(questions))
    display = display_and_legend(f"“{escape_markdown(asked.label)}”")
    if len(epochs) < len(names):
        st.caption(f"{len(epochs)} of the {len(names)} states that the run kept.")
    status, method = st.empty(), METHODS[name]
    maps = maps_of(asked, name, questions)
    if maps is None:
        return
    found = []
    for item in maps:
        if isinstance(item, LabError):
            raise item  # one network at several times: what is true of one is true of all
        found.append(item)
    scores: list[Score] = []
    with st.container(horizontal=True, gap="small"):
        for question, epoch, item in zip(questions, epochs.values(), found, strict=True):
            with st.container(width=SIDE_PX + 4, gap="xsmall"):
                show_image(
                    image_of(item.pixels, question, display, signed=method.signed, side=SIDE_PX),
                    width=SIDE_PX,
                    alt=f"{method.title}: why {question.label}, at {epoch_title(epoch)}",
                )
                sure = percent(question.probabilities[question.target])
                st.markdown(f"**{epoch_title(epoch).capitalize()}**  \n{escape_markdown(question.label)} {sure}")
                scores.append((st.empty(), question, item))
    likeness = [alike(item.pixels, found[-1].pixels) for item in found]
    _likeness(list(epochs.values()), likeness)
    passes = fill_scores(status, scores, short=True)
    if len(epochs) > 1:
        conclusion.markdown(f"#### {settled_words(list(epochs.values()), likeness, passes)}")


def _likeness(epochs: Sequence[float], likeness: Sequence[float | None]) -> None:
    if len(epochs) < 2:
        return
    told = ", ".join(
        f"{epoch_title(epoch)} {number(value)}" for epoch, value in zip(epochs, likeness) if value is not None
    )
    show_figure(
        likeness_figure(epochs, likeness, dark=dark()),
        key="compare-likeness",
        buttons=(),
        alt=f"Rank correlation of each map with the last one: {told}",
    )


def settled_words(epochs: Sequence[float], likeness: Sequence[float | None], passes: Sequence[bool | None]) -> str:
    """From when on the map hardly changed, where the maps that say so beat the controls. likeness: of each map with the last;
    the last value is that map's own. passes: whether each map beats the controls."""
    settled = last = len(epochs) - 1
    if likeness[last] is None:
        return "The last map is blank, so the others cannot be compared with it."
    while settled and (likeness[settled - 1] or 0) >= SETTLED:
        settled -= 1
    failing = [epoch for epoch, passed in list(zip(epochs, passes))[min(settled, last - 1) :] if not passed]
    if failing:
        return f"Cannot tell when the reason settled: the map of {epoch_title(failing[-1])} does not beat the controls."
    if settled == last:
        return f"The reason changed to the end: no earlier map is as alike as {number(SETTLED)} to the last."
    return (
        f"The reason settled by {epoch_title(epochs[settled])}: from there on every map's rank "
        f"correlation with the last is at least {number(SETTLED)}."
    )


def _choose_run(asked: AttributionQuery) -> dict[str, float]:
    """Names of the run's checkpoints and their epochs. Begins with the checkpoint's own run, else with one that fits."""
    runs = _runs()
    own = asked.reference.name.partition("/")[0]
    fitting = (run_id for run_id in runs if _fits(asked, next(iter(runs[run_id][1]))))
    usual = own if own in runs else next(fitting, next(iter(runs)))
    linked("run", RUN, one_of(runs, "run"), usual)
    if st.session_state[RUN] not in runs:
        st.session_state[RUN] = usual
    chosen = st.selectbox(
        "Run",
        list(runs),
        format_func=lambda run_id: runs[run_id][0],
        key=RUN,
        persist_state="session",
        help="Those of this machine that kept checkpoints of their epochs.",
    )
    return runs[chosen][1]


def _fits(asked: AttributionQuery, name: str) -> bool:
    """Whether the question can be put to that checkpoint."""
    try:
        require_same_question(asked.reference, find_checkpoint(name))
    except LabError:
        return False
    return True


def _runs() -> dict[str, tuple[str, dict[str, float]]]:
    """Id of a run that kept snapshots -> what it is called, and the names of its checkpoints with their epochs."""
    found: dict[str, tuple[str, dict[str, float]]] = {}
    titles = [run.name for run in runs_now()]
    for run in runs_now():
        if run.task != "images" or not getattr(run.config, "snapshots", 0):
            continue
        try:
            names = names_of(run.id, store().folder(run.id))
        except LabError:
            continue  # deleted meanwhile
        if names:
            found[run.id] = (run.name if titles.count(run.name) == 1 else f"{run.name} · {run.id}", names)
    return found


def _thinned(names: dict[str, float]) -> dict[str, float]:
    """At most so many as can be looked at, the first and the last among them."""
    items = list(names.items())
    places = np.linspace(0, len(items) - 1, min(MOST, len(items))).round().astype(int)
    return dict(items[place] for place in places)
