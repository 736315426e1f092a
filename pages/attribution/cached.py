"""Explainers, maps and their evidence, kept as long as the checkpoint, the image and the question stay the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from core.attribution.evidence.curves import Faithfulness, Verdict, control_curves, curves, verdict
from core.attribution.method import Progress, no_progress
from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from pages.shared.examples import examples
from pages.shared.image_view import look
from pages.shared.maps import attribution_map
from pages.shared.resources import explainer_of

if TYPE_CHECKING:
    from core.attribution.explainer import Attribution
    from pages.attribution.query import AttributionQuery


def attributed(
    asked: AttributionQuery,
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    on_progress: Progress = no_progress,
) -> Attribution:
    """The map of a method. Raises LabError."""
    return attribution_map(
        asked.reference.card.fingerprint,
        asked.pixels,
        name,
        tuple(sorted((settings or {}).items())),
        asked.target,
        asked.baseline,
        _reference=asked.reference,
        _on_progress=on_progress,
    )


def score_map(asked: AttributionQuery, found: Attribution) -> tuple[Faithfulness, Verdict]:
    """Curves of a map on the image that was asked about, and how they compare with the controls. Raises LabError."""
    curves = score_order(asked, found.magnitude)
    return curves, verdict(curves, controls_of(asked))


def score_order(asked: AttributionQuery, values: np.ndarray) -> Faithfulness:
    """Curves of values (H, W), the highest first, on the image that was asked about. Raises LabError."""
    return _curves(
        asked.reference.card.fingerprint,
        asked.pixels,
        np.ascontiguousarray(values),
        asked.target,
        _reference=asked.reference,
    )


def controls_of(asked: AttributionQuery, *, on_progress: Progress = no_progress) -> dict[str, Faithfulness]:
    """Curves of the maps that know nothing of the network. Raises LabError."""
    return _controls(
        asked.reference.card.fingerprint,
        asked.pixels,
        asked.target,
        _reference=asked.reference,
        _on_progress=on_progress,
    )


def score_of_another(asked: AttributionQuery, name: str, settings: Mapping[str, Any]) -> float | None:
    """The score that the method's map of an example image has on this one; None where it has no such map."""
    data = next(data for data in examples().values() if data != asked.image.data)
    try:
        seen = look(data, asked.pixels.shape[0])
        explainer = explainer_of(asked.reference)
        target = int(explainer.logits(explainer.inputs(seen.pixels)).argmax())
        other = attributed(dataclasses.replace(asked, seen=seen, target=target), name, settings)
        return None if other.blank else score_order(asked, other.magnitude).score
    except LabError:
        return None


@st.cache_resource(max_entries=512, show_spinner=False)
def _curves(
    fingerprint: str, pixels: np.ndarray, values: np.ndarray, target: int, *, _reference: CheckpointRef
) -> Faithfulness:
    return curves(explainer_of(_reference), pixels, target, {"map": values})["map"]


@st.cache_resource(max_entries=64, show_spinner=False)
def _controls(
    fingerprint: str, pixels: np.ndarray, target: int, *, _reference: CheckpointRef, _on_progress: Progress
) -> dict[str, Faithfulness]:
    return control_curves(explainer_of(_reference), pixels, target, on_progress=_on_progress)
