"""A map and all that was measured of it, as files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from core.attribution.evidence.curves import Faithfulness, Verdict
from pages.attribution.maps import Display, image_of
from pages.attribution.query import AttributionQuery
from pages.attribution.report import explanation_report
from pages.shared.elements import download
from pages.shared.report import report_button
from pages.shared.tables import csv_bytes, file_stem, json_bytes

if TYPE_CHECKING:
    from core.attribution.explainer import Attribution

PNG_PX = 448


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What is known of a map; None where it was not or cannot be measured."""

    curves: Faithfulness | None
    verdict: Verdict | None
    infidelity: float | None
    sensitivity: float | None


def map_files(asked: AttributionQuery, found: Attribution, measured: Measured, words: str, display: Display) -> None:
    """words: what the page concludes from the map."""
    parts = (asked.reference.name, asked.image.title, found.method.name, asked.label)
    name = file_stem("-".join(parts), "map")[:120]
    scored = (measured.curves, measured.verdict) if measured.curves and measured.verdict else None
    with st.container(horizontal=True, gap="small"):
        report_button(lambda: explanation_report(asked, found, scored, words, display), name, key="explanation")
        for label, data, end, hint in (
            (
                "Image (PNG)",
                lambda: image_of(found.pixels, asked, display, signed=found.method.signed, side=PNG_PX),
                ".png",
                "As it is shown above.",
            ),
            (
                "Array (.npy)",
                lambda: npy_bytes(found.values),
                ".npy",
                "The raw attribution, float32, (3, height, width), before any display.",
            ),
            (
                "Its input (.npy)",
                lambda: npy_bytes(found.inputs),
                "-input.npy",
                "The image as the network takes it, normalised, float32, (3, height, width).",
            ),
            (
                "Scores (JSON)",
                lambda: json_bytes(map_scores(asked, found, measured)),
                ".json",
                "Everything measured, with the curves.",
            ),
            (
                "Curves (CSV)",
                lambda: csv_bytes(_curve_rows(measured)),
                "-curves.csv",
                "Share of the pixels that went, and the probability.",
            ),
        ):
            missing = end == "-curves.csv" and measured.curves is None
            download(label, data, f"{name}{end}", key=f"file-{end}", help=hint, disabled=missing)


def map_scores(asked: AttributionQuery, found: Attribution, measured: Measured) -> dict[str, Any]:
    """All that is known of a map, as plain values."""
    values: dict[str, Any] = {
        "checkpoint": asked.reference.name,
        "fingerprint": asked.reference.card.fingerprint,
        "image": asked.image.title,
        "method": found.method.name,
        "settings": found.method.settings(),
        "target": asked.label,
        "probability": asked.probabilities[asked.target],
        "baseline": found.baseline,
        "seed": found.seed,
        "milliseconds": found.milliseconds,
        "completeness_gap": found.gap,
        "infidelity": measured.infidelity if measured.infidelity == measured.infidelity else None,
        "max_sensitivity": measured.sensitivity if measured.sensitivity == measured.sensitivity else None,
    }
    if measured.curves and measured.verdict:
        values |= {
            "score": measured.curves.score,
            "insertion": measured.curves.insertion.area,
            "deletion": measured.curves.deletion.area,
            "controls": measured.verdict.controls,
            "verdict": measured.verdict.label,
            "curves": list(_curve_rows(measured)),
        }
    return values


def npy_bytes(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _curve_rows(measured: Measured) -> list[dict[str, float]]:
    if not measured.curves:
        return []
    inserted, deleted = measured.curves.insertion, measured.curves.deletion
    return [
        {"share": float(share), "insertion": float(back), "deletion": float(away)}
        for share, back, away in zip(inserted.shares, inserted.probabilities, deleted.probabilities, strict=True)
    ]
