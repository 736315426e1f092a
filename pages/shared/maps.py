"""Attribution maps: what covering their pixels does, kept while checkpoint, image and question stay the same; their colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from core.attribution.method import Method, Progress, no_progress
from core.attribution.methods.registry import get_method
from core.checkpoints.store import CheckpointRef
from pages.shared.resources import explainer_of, loaded
from pages.shared.text import escape_markdown

if TYPE_CHECKING:
    from core.attribution.explainer import Attribution

COVERED_SHARE = 0.10
"""Of the pixels that are covered to try a map."""


@st.cache_resource(max_entries=256, show_spinner=False)
def attribution_map(
    fingerprint: str,
    pixels: np.ndarray,
    name: str,
    settings: tuple[tuple[str, Any], ...],
    target: int,
    baseline: str,
    *,
    _reference: CheckpointRef,
    _on_progress: Progress = no_progress,
) -> Attribution:
    """The map of a method. pixels: (H, W, 3) uint8; target: the class. Raises LabError."""
    from core.attribution.explainer import Explainer

    method = get_method(name, dict(settings))
    # A slow method works on another copy, so that no other map or score waits for it.
    explainer = explainer_of(_reference) if method.quick else Explainer(loaded(_reference))
    return explainer.attribute(method, pixels, target, baseline=baseline, on_progress=_on_progress)


@st.cache_data(max_entries=128, show_spinner=False)
def probabilities_covered(
    fingerprint: str,
    pixels: np.ndarray,
    values: np.ndarray,
    baseline: str,
    share: float = COVERED_SHARE,
    *,
    _reference: CheckpointRef,
) -> np.ndarray:
    """(classes,): probabilities of one view once that share (0..1) of the pixels is covered, a map's highest first."""
    from core.attribution.evidence.masking import covered_probabilities, most_important

    mask = most_important(values, share)[None]
    return covered_probabilities(explainer_of(_reference), pixels, mask, baseline=baseline)[0]


def colour_meanings(name: str, method: Method) -> dict[str, str]:
    """Colour -> what it says on a map of this method, in Markdown. name: of the class."""
    label = escape_markdown(name)
    if method.signed and method.is_gradient:
        return {"blue": f"brighter raises {label}", "orange": "brighter lowers it"}
    if method.signed:
        return {"blue": f"supports {label}", "orange": "speaks against it"}
    return {"green": f"supports {label}" if method.family == "activation" else f"{label} reacts most here"}


def colour_words(name: str, method: Method) -> str:
    """What the colours of a map say, in Markdown. name: of the class."""
    return " · ".join(f":{colour}[■] {words}" for colour, words in colour_meanings(name, method).items())
