"""Features / Surrogate: a few rules that imitate the network, and how often they agree with it."""

from __future__ import annotations

import dataclasses
from typing import Any

import streamlit as st

from core.common.errors import LabError
from core.common.pixels import enlarge
from core.common.progress import Progress
from core.features.results import Score
from core.features.surrogate import MOST_DEPTH, Surrogate, fit_surrogate
from pages.features.query import LayerQuery, ask_network, layers_in
from pages.shared.dataset_fetch import dataset_or_offer
from pages.shared.elements import download, folded, show_figure, show_image, show_table
from pages.shared.resources import dark, dataset
from pages.shared.tables import json_bytes
from pages.shared.tasks import background
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import linked, linked_flag
from pages.shared.url_values import number, one_of

KIND, DEPTH, UNITS = "surrogate-kind", "surrogate-depth", "surrogate-units"
KINDS = {"tree": "Tree", "linear": "Sparse linear"}
THUMB_PX = 84


def surrogate_view() -> None:
    answer, controls = st.columns([3, 1], gap="medium")
    with controls:
        network = ask_network()
        if network is None:
            return
        reference, checkpoint = network
        try:
            layers = layers_in(reference.card.fingerprint, _checkpoint=checkpoint)
        except LabError as error:
            show_error(error)
            return
        from core.features.units import usual_layer

        asked = LayerQuery(reference=reference, checkpoint=checkpoint, layer=usual_layer(layers))
        linked("rules", KIND, one_of(KINDS, "kind of rules"), "tree", options=KINDS)
        kind = st.segmented_control(
            "Rules", list(KINDS), format_func=KINDS.__getitem__, key=KIND, required=True, persist_state="session"
        )
        linked("depth", DEPTH, number(1, MOST_DEPTH, "the depth"), 3)
        depth = int(st.slider("Depth", 1, MOST_DEPTH, key=DEPTH, persist_state="session", disabled=kind != "tree"))
        linked_flag("units", UNITS)
        units = st.checkbox(
            "Use its units too",
            key=UNITS,
            persist_state="session",
            help=f"The most selective channels of {asked.layer.name}.",
        )
    with answer:
        if not dataset_or_offer(asked.dataset, "fit the rules", "surrogate"):
            return
        settings = {"kind": kind, "depth": depth, "layer": asked.layer.name if units else ""}

        def work(report: Progress) -> Surrogate:
            data = dataset(asked.dataset)
            return fit_surrogate(checkpoint, data.train, data.test, on_progress=report, **settings)

        found: Surrogate | None = background(
            f"surrogate-{asked.key}-{settings}", "start-surrogate", work, label="Fit the rules"
        )
        if found is not None:
            _draw(asked, found)


def _draw(asked: LayerQuery, found: Surrogate) -> None:
    st.markdown(f"## {escape_markdown(found.answer)}")
    if found.kind == "tree":
        with st.container(key="wide-surrogate"):
            _figure(found)
        with st.container(key="narrow-surrogate"):
            st.markdown(_indented(found))
    else:
        _figure(found)
    show_table(
        {
            "What imitates it": ["These rules", "Always the most common class", "The same rules on shuffled features"],
            "Agrees with the network": [_share(item) for item in (found.agreement, found.most_common, found.shuffled)],
        },
        key="agreement",
    )
    st.caption(
        f"Fitted on {found.fitted_on:,} training images, counted on {found.agreement.n:,} test images; 95% intervals."
    )
    if found.disagreements:
        st.markdown("**Where they disagree**")
        test = dataset(asked.dataset).test
        with st.container(horizontal=True, gap="small"):
            for place, says, rule in found.disagreements:
                with st.container(width=THUMB_PX + 4, gap="xsmall"):
                    alt = f"Test image {place}: the network says {says}, the rules {rule}"
                    show_image(enlarge(test.images[place], 2 * THUMB_PX), width=THUMB_PX, alt=alt)
                    st.caption(f"{escape_markdown(says)}, not {escape_markdown(rule)}")
    folded("Rules as text, files", lambda: _files(found), key="surrogate-files", param="files")


def _figure(found: Surrogate) -> None:
    from core.features.figures import tree_figure, weights_figure

    figure = tree_figure(found, dark=dark()) if found.kind == "tree" else weights_figure(found, dark=dark())
    alt = "; ".join(line.strip() for line in found.rules())
    show_figure(figure, key="surrogate-figure", alt=f"The rules: {alt}")


def _indented(found: Surrogate) -> str:
    """The tree as a list in Markdown: a narrow screen has no room for the figure."""
    return "\n".join(
        f"{'  ' * depth}- {escape_markdown(condition)}"
        + (f": **{escape_markdown(leaf.answer)}** {leaf.share:.0%}" if leaf else "")
        for depth, condition, leaf in found.steps()
    )


def _share(item: Score) -> str:
    low, high = item.interval
    return f"{100 * item.rate:.1f}% ({100 * low:.1f} to {100 * high:.1f})"


def _files(found: Surrogate) -> None:
    st.code("\n".join(found.rules()), language=None)
    values: dict[str, Any] = dataclasses.asdict(found)
    download("All numbers (JSON)", json_bytes(values), "surrogate.json", key="surrogate-json")
