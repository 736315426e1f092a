"""How an image becomes probabilities and a warning, for Images / Classify."""

from __future__ import annotations

import streamlit as st

from core.checkpoints.store import CheckpointRef
from pages.images.warning import warning_quality
from pages.shared.checkpoint_picker import calibrated_on, uncalibrated
from pages.shared.text import escape_markdown


def how_it_works(references: list[CheckpointRef]) -> None:
    """The folded explanation, with each checkpoint's own numbers."""
    with st.expander("How this works", icon=":material/school:"):
        st.markdown(
            "The image is cut to a square, the central one unless you choose another, and shrunk to the size the model was "
            "trained on; the model turns it "
            "into one score (logit) $z_k$ for each class $k$.\n\n"
            "**Probability.** A network's own numbers are too sure, or after training with smoothed labels not sure "
            "enough. So the scores are divided by a temperature $T$ before they become probabilities: "
            "$p_k = e^{z_k/T} / \\sum_j e^{z_j/T}$; above 1 it softens them, below 1 it sharpens. $T$ is fitted on "
            "images that training never saw "
            "([Guo et al. 2017, On Calibration of Modern Neural Networks](https://arxiv.org/abs/1706.04599)). How far "
            "probability and accuracy lie apart on average is then measured on test images. It holds for images like "
            "those, so with a warning the page calls no probability calibrated.\n\n"
            "**None of these.** The model must pick one of its classes, whatever you show it. The free energy "
            "$E = -\\log \\sum_j e^{z_j}$ is low for images like those it was trained on; above a threshold set on "
            "the same images the page warns "
            "([Liu et al. 2020, Energy-based Out-of-distribution Detection](https://arxiv.org/abs/2010.03759)). "
            "A network that started from ImageNet's weights also looks at how far the image's features are from the fifth "
            "nearest training image ([Sun et al. 2022](https://arxiv.org/abs/2204.06507)). It warns by the sum of both, in "
            "standard deviations, and notices far more.\n\n"
            "The warning misses much, most of all in a small network: to Simple CNN a chequerboard is a truck, with 99.9%. "
            "Each checkpoint is tried on other things: handwritten digits, textures, printed text, scientific images, patterns, "
            "and CIFAR-10 where it was fetched. Things that resemble the classes pass far more "
            "often: with a new head, 74% of the images of a CIFAR-10 class that was left out. No warning is no proof."
        )
        for reference in references:
            calibration, name = reference.card.calibration, escape_markdown(reference.label)
            if not calibration.images:
                st.caption(f"{name}: {uncalibrated(reference)}")
            if calibration.energy_threshold is None:
                st.caption(f"{name} has no energy threshold, so it never warns.")
            else:
                temperature = f"T = {calibration.temperature:.3g}, " if calibration.images else ""
                score = f"E = {calibration.energy_threshold:.3g}"
                if calibration.distance:
                    score = f"energy plus distance = {calibration.distance.threshold:.3g}"
                st.caption(
                    f"{name}: {temperature}warns above {score}, {calibrated_on(reference.card)}. "
                    f"{_warning_words(reference)}"
                )


def _warning_words(reference: CheckpointRef) -> str:
    said = warning_quality(reference.card)
    return f"The warning {said}." if said else ""
