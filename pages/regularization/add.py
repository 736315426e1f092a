"""More arms, sizes or seeds for a study that is there: only what is missing is trained."""

from __future__ import annotations

import streamlit as st

from core.common.errors import LabError
from core.jobs import Run
from core.regularization.results import StudyResult
from core.regularization.store import extend_study
from core.regularization.study import StudyConfig
from pages.regularization.arms import arms_form, specs
from pages.regularization.new import LABELS, parse_sizes, sizes_field
from pages.shared.resources import forget_runs, start_new, store
from pages.shared.run_controls import open_run
from pages.shared.study_cost import check_sizes, show_cost
from pages.shared.text import label_error, show_error

ENOUGH_SEEDS = 3


def add_to_study(run: Run, result: StudyResult) -> None:
    """The folded form. run: a study that is not running; result: what there is of it."""
    study = result.config
    prefix = f"add-{run.id}-{len(study.members())}"  # another form once something was added: it begins empty
    with st.expander("Add to this study", icon=":material/add:", key=prefix):
        st.caption(
            "What is there is kept, and only what is missing is trained. More arms or sizes widen all intervals: the more is "
            "compared, the more of it must be put down to luck."
        )
        arms = arms_form(prefix, study.model)
        left, right = st.columns([2, 1])
        with left:
            train_sizes = sizes_field("More training-set sizes", f"{prefix}-sizes")
        seeds = right.number_input("Seeds", value=study.seeds, step=1, key=f"{prefix}-seeds", persist_state="session")
        wider: StudyConfig | None = None
        try:
            if seeds is None:
                raise LabError("A field is empty: give it a number.")
            if seeds < study.seeds:
                raise LabError(f"The study has {study.seeds} seeds already: give more of them, or as many.")
            found = study.extended(
                arms=specs(prefix, study.model, arms), train_sizes=parse_sizes(train_sizes), seeds=seeds
            )
            check_sizes(found)
            if known := result.sizes.get("train"):
                found.check_data(known)
            if found == study:
                st.caption("Nothing to add yet: choose techniques, another strength of one, sizes or more seeds.")
            else:
                wider = found
                show_cost(wider, result.done)
        except LabError as error:
            show_error(label_error(error, LABELS))
        if st.button("Add and train", key=f"{prefix}-start", icon=":material/play_arrow:", disabled=wider is None):
            assert wider is not None
            _extend(run, wider)


def add_seed(run: Run, study: StudyConfig) -> None:
    """The button that adds one seed to a study of fewer than three."""
    if study.seeds < ENOUGH_SEEDS and st.button("Add a seed", key=f"add-seed-{run.id}", icon=":material/add:"):
        _extend(run, study.extended(seeds=study.seeds + 1))


def _extend(run: Run, wider: StudyConfig) -> None:
    """Train what is missing, and show it."""

    def extended() -> str:
        extend_study(store(), run.id, wider)
        forget_runs()
        return run.id

    try:
        open_run(start_new(extended))
    except LabError as error:
        show_error(error)
