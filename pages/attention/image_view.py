"""Attention / On an image: where the tokens of a vision Transformer look, two maps of the answer, and what each head is worth."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.checkpoints.store import Checkpoint, CheckpointRef
from core.common.errors import LabError
from core.common.progress import Progress
from core.common.values import signed
from core.images.figures import percent
from pages.attention.tokens import tokens
from pages.shared.checkpoint_picker import checkpoint_picker
from pages.shared.elements import download, folded, show_image, show_table
from pages.shared.maps import attribution_map
from pages.shared.network_query import NetworkQuery, ask_image, has_dataset
from pages.shared.registry import page_link
from pages.shared.resources import dark, dataset, explainer_of
from pages.shared.tables import csv_bytes, json_bytes
from pages.shared.tasks import background
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import give, linked
from pages.shared.url_values import number

if TYPE_CHECKING:
    from core.attention.image import HeadAccuracy, ImageHeads
    from core.attribution.evidence.curves import Verdict
    from core.attribution.explainer import Attribution

TOKEN = "attention-token"
METHODS = ("attention_rollout", "gradient_rollout")
MAP_PX, BARS_PX = 224, 320
SCORE = "How well the map ranks the parts that matter to the answer: 0 is a random order, more is better."
MEASURED = 1000
"""Test images on which heads are left out."""


def image_view() -> None:
    answer = st.container()
    controls, image = st.columns(2, gap="large")
    with controls:
        reference = checkpoint_picker(
            "Checkpoint", "attention-vision", param="checkpoint", fits=lambda card: card.model == "compact_transformer"
        )
        if reference is None:
            page_link("images", "Train a Compact Transformer", icon=":material/model_training:", view="Train")
            return
    with image:
        asked = ask_image(reference, "attention")
    if asked is None:
        return
    with answer:
        try:
            found = heads_of(asked.key, asked.pixels, _checkpoint=asked.checkpoint)
        except LabError as error:
            show_error(error)
            return
        target, probability = answer_of(asked)
        label = escape_markdown(asked.classes[target])
        last = found.side**2 - 1
        strongest = int(found.answer.argmax())
        linked("token", TOKEN, number(0, last, "the token"), strongest, of=(asked.key, hash(asked.pixels.tobytes())))
        row, column = divmod(strongest, found.side)
        tokens(
            "attention-tokens",
            found,
            asked.pixels,
            f"It says {asked.classes[target]}, {percent(probability)}. The token in row {row + 1}, column {column + 1} reaches "
            f"the answer most: {found.answer.max():.1%}, where {1 / (last + 1):.1%} would be even.",
            min(st.session_state[TOKEN], last),
            dark=dark(),
            on_token=partial(give, TOKEN),
        )
        st.caption(
            f"{found.side}×{found.side} tokens; bright is where a token looks, each map on its own scale. All layers, and what "
            "reaches the answer, follow attention and the residual connections only."
        )
        st.markdown(f"**Is that why it says {label}?**")
        _maps(asked, target)
    folded("Accuracy without each head", lambda: _accuracies(asked), key="head-accuracies", param="heads-accuracy")
    folded("Files", lambda: _files(found), key="image-files", param="files", icon=":material/download:")


@st.cache_resource(max_entries=32, show_spinner=False)
def heads_of(fingerprint: str, pixels: np.ndarray, *, _checkpoint: Checkpoint) -> ImageHeads:
    """Raises LabError."""
    from core.attention.image import image_heads

    return image_heads(_checkpoint, pixels)


def answer_of(asked: NetworkQuery) -> tuple[int, float]:
    """The predicted class of one view, and its calibrated probability."""
    explainer = explainer_of(asked.reference)
    found = explainer.probabilities(explainer.inputs(asked.pixels))[0].tolist()
    best = int(np.argmax(found))
    return best, found[best]


def _maps(asked: NetworkQuery, target: int) -> None:
    """Both maps side by side, each with its score beside the controls."""
    from core.attribution.evidence.controls import CONTROL_TITLES
    from core.attribution.figures import overlay_png, score_bars
    from core.attribution.methods.registry import METHODS as KNOWN

    key = f"attention-maps-{asked.key}-{hash(asked.pixels.tobytes())}-{target}"

    def work(report: Progress) -> list[tuple[Attribution, Verdict | None]]:
        return scored_maps(asked.key, asked.pixels, target, _reference=asked.reference, _report=report)

    maps = background(key, "attention-compute", work, label="Compute the maps")
    if maps is None:
        return
    for place, (found, judged) in zip(st.columns(2, gap="large"), maps, strict=True):
        with place:
            name = found.method.name
            title = KNOWN[name].title
            scored = f": score {signed(judged.score, 2)}, {judged.label}" if judged else ""
            st.markdown(f"**{title}**{escape_markdown(scored)}", help=SCORE if judged else None)
            st.caption(KNOWN[name].summary)
            png = overlay_png(found.pixels, asked.pixels, signed=False, dark=dark(), side=2 * MAP_PX)
            show_image(png, width=MAP_PX, alt=f"{title} for {asked.classes[target]}")
            if judged:
                controls = {CONTROL_TITLES[control].lower(): value for control, value in judged.controls.items()}
                told = ", ".join(f"{control} {signed(value, 2)}" for control, value in controls.items())
                bars = score_bars(judged.score, controls, dark=dark(), width=BARS_PX)
                show_image(bars, width=BARS_PX, alt=f"Score {signed(judged.score, 2)}; {told}")
            else:
                st.caption("It cannot be scored on this image.")
            with st.container(horizontal=True, gap="small"):
                query = {"checkpoint": asked.reference.name, "closer": name}
                page_link("attribution", "Look closer", **query, **asked.image.query(asked.reference.card.dataset.name))
                download("PNG", png, f"{name}.png", key=f"png-{name}")


@st.cache_resource(max_entries=32, show_spinner=False)
def scored_maps(
    fingerprint: str, pixels: np.ndarray, target: int, *, _reference: CheckpointRef, _report: Progress
) -> list[tuple[Attribution, Verdict | None]]:
    """Of each of METHODS: the map, and how it compares with the controls; None where that cannot be told. Raises LabError."""
    from core.attribution.baselines import DEFAULT_BASELINE
    from core.attribution.evidence.curves import control_curves, curves, verdict

    explainer = explainer_of(_reference)
    maps = [
        attribution_map(fingerprint, pixels, name, (), target, DEFAULT_BASELINE, _reference=_reference)
        for name in METHODS
    ]
    _report(0.1, "scoring the maps")
    try:
        controls = control_curves(
            explainer, pixels, target, on_progress=lambda share: _report(0.1 + 0.7 * share, "scoring the maps")
        )
        found = curves(explainer, pixels, target, {each.method.name: each.magnitude for each in maps})
    except LabError:
        return [(each, None) for each in maps]
    return [(each, verdict(found[each.method.name], controls)) for each in maps]


def _accuracies(asked: NetworkQuery) -> None:
    if not has_dataset(asked):
        return
    key = f"head-accuracies-{asked.key}"
    name = asked.reference.card.dataset.name

    def work(report: Progress) -> list[HeadAccuracy]:
        from core.attention.image import head_accuracies

        return head_accuracies(asked.checkpoint, dataset(name).test, MEASURED, report)

    label = f"Measure on {MEASURED:,} test images"
    found: list[HeadAccuracy] | None = background(key, "measure-accuracies", work, label=label, begin=False)
    if found is None:
        return
    show_table(
        {
            "Without head": [each.name for each in found],
            "Accuracy lost (points)": [signed(each.cost_points, 1) for each in found],
            "95% interval": [
                f"{signed(each.interval_points[0], 1)} to {signed(each.interval_points[1], 1)}" for each in found
            ],
            "McNemar's p": ["< 0.0001" if each.p_value < 0.0001 else f"{each.p_value:.2g}" for each in found],
        },
        key="head-accuracies",
    )
    st.caption(
        f"On {found[0].images:,} test images. The intervals hold for all heads at once; p is of each head alone."
    )
    rows = (
        {
            "head": each.name,
            "cost_points": each.cost_points,
            "low": each.interval_points[0],
            "high": each.interval_points[1],
        }
        for each in found
    )
    download("The table (CSV)", csv_bytes(rows), "head-accuracies.csv", key="accuracies-csv")


def _files(found: ImageHeads) -> None:
    values = {
        "side": found.side,
        "answer": found.answer.round(6).tolist(),
        "pooling": found.pooling.round(6).tolist(),
        "rollout": found.rollout.round(6).tolist(),
        "weights": [layer.round(6).tolist() for layer in found.weights],
    }
    download("All weights (JSON)", lambda: json_bytes(values), "attention-image.json", key="image-json")
