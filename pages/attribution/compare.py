"""Attribution / Compare: does the reason change with the class, with the network, or while a network learned?"""

from __future__ import annotations

import streamlit as st

from core.common.errors import LabError
from pages.attribution.compare_checkpoints import compare_checkpoints
from pages.attribution.compare_classes import compare_classes
from pages.attribution.compare_epochs import compare_epochs, has_snapshots, no_snapshots
from pages.attribution.maps import input_image
from pages.attribution.query import ask, ask_checkpoint
from pages.attribution.slow import only
from pages.shared.text import show_error
from pages.shared.upload_box import example_row
from pages.shared.url import linked
from pages.shared.url_values import one_of

CLASSES, CHECKPOINTS, EPOCHS = "Classes", "Checkpoints", "Epochs of a run"
COMPARISONS = {CLASSES: compare_classes, CHECKPOINTS: compare_checkpoints, EPOCHS: compare_epochs}
ABOUT = {
    CLASSES: "Why this class, and why not that one? A map that stays the same whatever class it is asked about is no reason.",
    CHECKPOINTS: "The same image and class, other networks: pruned, int8, distilled, regularized, or trained anew.",
    EPOCHS: "How the reason changed while a network learned.",
}


def compare_view() -> None:
    linked("compare-by", "compare-by", one_of(COMPARISONS, "comparison"), CLASSES)
    by = st.segmented_control(
        "What is compared", list(COMPARISONS), required=True, key="compare-by", persist_state="session"
    )
    st.caption(ABOUT[by])
    answer, controls = st.columns([2.15, 1], gap="large")
    with controls:
        reference = ask_checkpoint()
        asked = ask(reference=reference, target=by != CLASSES) if reference else None
        if asked and not asked.image.token:
            input_image(asked, label=True)
    with answer:
        try:
            if by == EPOCHS and not has_snapshots():
                no_snapshots()
            elif asked:
                only(asked)
                COMPARISONS[by](asked)
            elif reference:
                example_row(reference.card.dataset)
        except LabError as error:
            show_error(error)
    _how_it_works()


def _how_it_works() -> None:
    with st.expander("How this works", icon=":material/school:"):
        st.markdown(
            "**Rank correlation** (Spearman's) says how alike two maps are: the pixels of each are put in the order of their "
            "values, and the places are correlated, $\\rho = \\mathrm{corr}(\\mathrm{rank}\\,a, \\mathrm{rank}\\,b)$. 1 is the "
            "same pixels in the same order, 0 is nothing in common, −1 the opposite order. It does not depend on the colour "
            "scale.\n\n"
            "**A map that ignores the class.** The network computes the logits of all classes from the same features, so some "
            "likeness is natural. Guided Backprop goes further and nearly restores the image whatever the class "
            "([Nie et al., arXiv:1805.07039](https://arxiv.org/abs/1805.07039); [Adebayo et al., "
            "arXiv:1810.03292](https://arxiv.org/abs/1810.03292)).\n\n"
            "**The difference of two maps** explains $\\mathrm{logit}_a - \\mathrm{logit}_b$, why one class rather than the "
            "other: what both share cancels. It holds for methods that hand a sum of logits back as the sum of their maps.\n\n"
            "**Before you say that pruning changed the reason,** compare two runs of one recipe with different seeds: what "
            "these differ by is what the seed alone does. Scores are areas under probabilities, which each network "
            "calibrates for itself: compare each map with the controls on its own network first."
        )
