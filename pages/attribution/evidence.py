"""The evidence for one map: curves beside the controls', scores and what they mean, two checks on request, files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.attribution.evidence.controls import CONTROL_TITLES
from core.attribution.evidence.curves import Faithfulness, Verdict
from core.attribution.figures import curves_figure
from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from pages.attribution.cached import controls_of, score_of_another, score_order
from pages.attribution.checks import randomisation, sensitivity
from pages.attribution.files import Measured, map_files
from pages.attribution.maps import Display, number, signed_number
from pages.attribution.query import AttributionQuery
from pages.shared.elements import show_figure, show_table
from pages.shared.resources import dark, explainer_of
from pages.shared.text import escape_markdown

if TYPE_CHECKING:
    from core.attribution.evidence.stability import CoveredSquares
    from core.attribution.explainer import Attribution

CURVES = {
    "insertion": "**Put back**, most important first: high is good",
    "deletion": "**Taken away**, most important first: low is good",
}


def map_evidence(
    asked: AttributionQuery,
    found: Attribution,
    scored: tuple[Faithfulness, Verdict] | None,
    words: str,
    display: Display,
) -> None:
    """Everything below the large map. scored: None where the map has no score. words: what the page concludes from it."""
    st.markdown("#### Did the network really use these pixels?")
    curves, verdict = scored or (None, None)
    if curves:
        _curves(asked, found, curves)
    else:
        st.caption("The map has no score here, so it has no curves.")
    table = st.container()
    measured = Measured(
        curves=curves, verdict=verdict, infidelity=_infidelity(asked, found), sensitivity=sensitivity(asked, found)
    )
    with table:
        show_table(_rows(asked, found, measured), key="scores")
    randomisation(asked, found, display)
    map_files(asked, found, measured, words, display)


def _curves(asked: AttributionQuery, found: Attribution, curves: Faithfulness) -> None:
    title, label = found.method.title, asked.label
    controls = controls_of(asked)
    for (kind, words), column in zip(CURVES.items(), st.columns(2, gap="medium"), strict=True):
        figure = curves_figure(title, curves, controls, kind, label=label, dark=dark(), height=300)
        figure.update_xaxes(title_text="pixels that went (%)")  # in what order is said above; the column is narrow
        areas = ", ".join(
            f"{getattr(other, kind).area:.2f} for {CONTROL_TITLES[name].lower()}" for name, other in controls.items()
        )
        with column:
            st.markdown(words)
            show_figure(
                figure,
                key=f"curve-{kind}",
                buttons=(),
                alt=f"{kind.capitalize()}: probability of {label} as pixels go, most important first. Area "
                f"{getattr(curves, kind).area:.2f} for {title}, {areas}",
            )


def _rows(asked: AttributionQuery, found: Attribution, measured: Measured) -> dict[str, list[str]]:
    """Columns of the table, in Markdown."""
    label = escape_markdown(asked.label)
    rows: list[tuple[str, str, str]] = []
    if measured.curves and measured.verdict:
        rows += [
            (
                "Score",
                signed_number(measured.curves.score),
                f"Insertion less deletion; a random order has 0. Controls: {_listed(measured.verdict.controls, signed_number)}.",
            ),
            (
                "Insertion",
                f"{measured.curves.insertion.area:.2f}",
                f"Mean probability of “{label}” while pixels are put back, most important first. High is good.",
            ),
            (
                "Deletion",
                f"{measured.curves.deletion.area:.2f}",
                f"Mean probability of “{label}” while pixels are taken away. Low is good.",
            ),
        ]
        rows += _more_scores(asked, found)
    controls = _infidelity_of_controls(asked)
    rows.append(
        (
            "Infidelity",
            number(measured.infidelity),
            "Error when the map predicts how far the logit falls under a covered square. 0 is exact, 1 no better than zeros."
            + (f" Controls: {_listed(controls, number)}." if controls else ""),
        )
    )
    if found.gap is not None:
        wanted = "the logit" if found.method.sums_to == "logit" else "the logit's rise over the baseline"
        rows.append(
            (
                "Completeness gap",
                f"{100 * found.gap:.1f}%",
                f"How far the sum of all values misses {wanted}. Low is good.",
            )
        )
    rows.append(
        (
            "Max-sensitivity",
            number(measured.sensitivity),
            "How far the map moves, as a share of itself, when the image changes too little to see. Low is good.",
        )
    )
    return dict(zip(("Measure", "Value", "What it says"), map(list, zip(*rows, strict=True)), strict=True))


def _listed(controls: Mapping[str, float], write: Callable[[float], str]) -> str:
    return ", ".join(f"{CONTROL_TITLES[name].lower()} {write(value)}" for name, value in controls.items())


def _more_scores(asked: AttributionQuery, found: Attribution) -> list[tuple[str, str, str]]:
    """The same score in two other ways: of the signed order, and of the map of another image."""
    rows = []
    if found.method.is_contribution:
        score = score_order(asked, found.pixels).score
        rows.append(
            ("For and against", signed_number(score), "Score of the signed order: first what speaks for the class.")
        )
    if found.method.quick:
        other = score_of_another(asked, found.method.name, found.method.settings())
        if other is not None:
            rows.append(
                (
                    "Map of another image",
                    signed_number(other),
                    "The score of another image's map on this one. If it is close, the map says little about this image.",
                )
            )
    return rows


def _infidelity_of_controls(asked: AttributionQuery) -> dict[str, float]:
    from core.attribution.evidence.stability import control_infidelity

    try:
        return control_infidelity(asked.pixels, _covered(asked))
    except LabError:
        return {}


def _infidelity(asked: AttributionQuery, found: Attribution) -> float | None:
    from core.attribution.evidence.stability import infidelity

    if found.blank:
        return None
    try:
        return infidelity(found, _covered(asked))
    except LabError:
        return None  # its baselines are the image itself: the curves say so above


def _covered(asked: AttributionQuery) -> CoveredSquares:
    """Raises LabError."""
    return _covered_squares(
        asked.reference.card.fingerprint, asked.pixels, asked.target, asked.baseline, _reference=asked.reference
    )


@st.cache_resource(max_entries=64, show_spinner=False)
def _covered_squares(
    fingerprint: str, pixels: np.ndarray, target: int, baseline: str, *, _reference: CheckpointRef
) -> CoveredSquares:
    from core.attribution.evidence.stability import cover_squares

    return cover_squares(explainer_of(_reference), pixels, target, baseline=baseline)
