"""Two checks of a map that take many maps, on request: does it hold still, and does it depend on what was learned?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.attribution.method import Method
from core.common.errors import LabError
from core.common.progress import Progress
from pages.attribution.maps import Display, image_of, number
from pages.attribution.query import AttributionQuery
from pages.attribution.slow import about, background, seconds
from pages.shared.elements import show_image
from pages.shared.resources import explainer_of, loaded
from pages.shared.text import escape_markdown

if TYPE_CHECKING:
    from core.attribution.evidence.randomisation import RandomisedLayers
    from core.attribution.explainer import Attribution

SAMPLES = 10
"""Changed images of max-sensitivity."""
SMALL_PX = 128


def sensitivity(asked: AttributionQuery, found: Attribution) -> float | None:
    """Max-sensitivity, once someone asked for it; None with a button, or how far it is, on the page."""
    method = found.method

    def work(report: Progress) -> float:
        from core.attribution.evidence.stability import max_sensitivity
        from core.attribution.explainer import Explainer

        return max_sensitivity(
            Explainer(loaded(asked.reference)),  # of its own: nobody else's map waits for this one
            method,
            asked.pixels,
            asked.target,
            baseline=asked.baseline,
            samples=SAMPLES,
            on_progress=lambda share: report(share, "max-sensitivity"),
        )

    label = f"Measure max-sensitivity, {about(seconds(asked, method.name) * (SAMPLES + 1))}"
    try:
        result: float | None = background(
            asked, ("sensitivity", method.name, method.settings()), work, start=False, label=label
        )
    except LabError as error:
        st.caption(f"Max-sensitivity was not measured. {escape_markdown(error)}")
        return None
    return result


def randomisation(asked: AttributionQuery, found: Attribution, display: Display) -> None:
    """The map as the weights are shuffled layer by layer, once someone asked for it."""
    method = found.method
    st.markdown("#### Does the map depend on what was learned?")
    st.caption(
        "The weights are shuffled layer by layer, from the classifier down. A map that stays the same does not depend on "
        "them: it shows the image, not the network "
        "([Adebayo et al., arXiv:1810.03292](https://arxiv.org/abs/1810.03292))."
    )

    def work(report: Progress) -> tuple[RandomisedLayers, ...]:
        from core.attribution.evidence.randomisation import randomise

        return tuple(
            randomise(
                explainer_of(asked.reference),
                method,
                asked.pixels,
                asked.target,
                baseline=asked.baseline,
                on_progress=lambda share: report(share, "shuffling layers"),
            )
        )

    from core.attribution.evidence.randomisation import layers_of

    maps = 1 + len(layers_of(loaded(asked.reference).model))
    label = f"Shuffle the layers, {about(seconds(asked, method.name) * maps)}"
    try:
        steps = background(asked, ("randomisation", method.name, method.settings()), work, start=False, label=label)
    except LabError as error:
        st.caption(escape_markdown(error))
        return
    if steps:
        _small_multiples(asked, method, steps, display)


def _small_multiples(
    asked: AttributionQuery, method: Method, steps: tuple[RandomisedLayers, ...], display: Display
) -> None:
    from core.attribution.evidence.randomisation import randomisation_words

    st.markdown(f"**{escape_markdown(randomisation_words(steps))}**")
    with st.container(horizontal=True, gap="small"):
        for step in steps:
            count = len(step.layers)
            alike = number(step.rank_correlation)
            what = f"down to {step.layers[-1]}" if count else "as trained"
            with st.container(width=SMALL_PX + 8, gap="xxsmall"):
                show_image(
                    image_of(step.values, asked, display, signed=method.signed, side=SMALL_PX),
                    width=SMALL_PX,
                    alt=f"{method.title} with {count} layers shuffled, rank correlation {alike}",
                )
                st.caption(f"{count} shuffled, {escape_markdown(what)}  \nrank correlation {alike}")
