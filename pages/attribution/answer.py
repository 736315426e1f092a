"""The answer of Explain: one sentence, the map that scores best on this image, and what it has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from core.attribution.evidence.controls import CONTROL_TITLES
from core.attribution.evidence.curves import Verdict
from core.attribution.figures import overlay_png, score_bars
from core.attribution.methods.registry import quick_methods
from core.common.errors import LabError
from pages.attribution.cached import attributed, score_map
from pages.attribution.conclusion import conclusion
from pages.attribution.detail import ALL, LARGE_PX, look_closer
from pages.attribution.maps import signed_number
from pages.attribution.query import AttributionQuery
from pages.attribution.ready import scores_ready
from pages.attribution.report import explanation_report
from pages.attribution.reports import over_many_images, scores_link
from pages.attribution.settings import settings_of
from pages.shared.elements import show_image
from pages.shared.maps import colour_words
from pages.shared.report import report_button
from pages.shared.resources import dark
from pages.shared.text import escape_markdown

if TYPE_CHECKING:
    from core.attribution.explainer import Attribution


@dataclass(frozen=True, kw_only=True, slots=True)
class Best:
    """The quick method that scores best on this image."""

    found: Attribution
    verdict: Verdict
    tried: int
    """Quick methods that have a map here."""


def best_map(asked: AttributionQuery) -> Best | None:
    """None where every quick method is refused or finds nothing. Raises LabError where maps cannot be scored here."""
    scored: list[tuple[Attribution, Verdict]] = []
    for name in quick_methods(asked.reference.card.model):
        try:
            found = attributed(asked, name, settings_of(name, asked.reference))
        except LabError:
            continue  # the grid of all methods says why
        if not found.blank:
            scored.append((found, score_map(asked, found)[1]))
    if not scored:
        return None
    found, verdict = max(scored, key=lambda item: item[1].score)
    return Best(found=found, verdict=verdict, tried=len(scored))


def show_answer(asked: AttributionQuery) -> None:
    """The sentence, the map and the score; the other methods are a press away."""
    problem = ""
    with st.spinner("Scoring the quick methods"):
        try:
            if not scores_ready(asked, quick_methods(asked.reference.card.model)):
                return
            best = best_map(asked)
        except LabError as error:
            best, problem = None, str(error)
    if best:
        st.markdown(answer_words(asked, best))
        _large(asked, best)
    else:
        st.info(escape_markdown(problem or "No quick method has a map for this network: compare all methods."))
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Compare methods",
            key="compare-methods-grid",
            icon=":material/grid_view:",
            on_click=look_closer,
            args=(ALL,),
        )
        if best:
            found = best.found
            name = found.method.name
            st.button(
                "Look closer", key=f"closer-{name}", icon=":material/zoom_in:", on_click=look_closer, args=(name,)
            )
            report_button(
                lambda: explanation_report(asked, found, score_map(asked, found), answer_words(asked, best)),
                f"{asked.reference.name}-{asked.image.title}-{name}",
                key="explanation",
            )


def answer_words(asked: AttributionQuery, best: Best) -> str:
    """What may be concluded from the best map, in Markdown."""
    return conclusion(asked, best.found, best.verdict, best_of=best.tried)


def _large(asked: AttributionQuery, best: Best) -> None:
    method, verdict = best.found.method, best.verdict
    controls = {CONTROL_TITLES[name].lower(): score for name, score in verdict.controls.items()}
    told = ", ".join(f"{name} {signed_number(score)}" for name, score in controls.items())
    with st.container(width=LARGE_PX, gap="xsmall"):
        show_image(
            overlay_png(best.found.pixels, asked.seen.square, signed=method.signed, dark=dark(), side=LARGE_PX),
            width=LARGE_PX,
            alt=f"{method.title}: map of why {asked.label}. {method.how_to_read}",
        )
        side, many = asked.pixels.shape[0], over_many_images(asked.reference, method.name)
        st.markdown(colour_words(asked.label, method))
        st.caption(f"{escape_markdown(asked.image.title)}; the network sees it as {side}×{side} pixels")
        st.markdown(
            f"**{escape_markdown(method.title)}**, the best of {best.tried} quick methods here: "
            f"score {signed_number(verdict.score)}. {many or 'How it does over many images was not measured.'}"
        )
        show_image(
            score_bars(verdict.score, controls, dark=dark(), width=LARGE_PX),
            width=LARGE_PX,
            alt=f"Score {signed_number(verdict.score)}; controls: {told}",
        )
        if not many:
            scores_link(asked.reference, "Measure it on test images")
