"""Maps and their scores: at once where that is quick, else one after the other in the background, with Stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from core.attribution.evidence.curves import CONTROL_MAPS
from core.attribution.figures import overlay_png
from core.attribution.methods.registry import get_method
from core.common.errors import LabError
from core.common.progress import Progress
from pages.attribution.cached import attributed, controls_of, score_map
from pages.attribution.maps import MAP_PX, signed_number
from pages.attribution.query import AttributionQuery
from pages.attribution.settings import settings_of
from pages.attribution.slow import about, background, scoring_seconds, seconds
from pages.shared.elements import show_image
from pages.shared.resources import dark, explainer_of
from pages.shared.text import escape_markdown

if TYPE_CHECKING:
    from core.attribution.evidence.curves import Verdict
    from core.attribution.explainer import Attribution

INLINE_S = 3.0
"""What is expected to take less holds the page."""
FOUND = "why-found"


def scores_ready(asked: AttributionQuery, names: tuple[str, ...]) -> bool:
    """Whether maps and scores of these methods are there, or will be after what holds the page for a moment. Else the page
    shows how far they are, and those that there are. Raises LabError where they cannot be computed."""
    explainer = explainer_of(asked.reference)
    settings = {name: settings_of(name, asked.reference) for name in names}
    names = tuple(name for name in names if not explainer.refusal(get_method(name, settings[name])))
    expected_s = scoring_seconds(asked, len(names)) + sum(seconds(asked, name) for name in names)
    if expected_s <= INLINE_S:
        return True
    found = _found(asked, settings)

    def work(report: Progress) -> bool:
        found.clear()
        for name in names:
            report(0.0, f"computing {get_method(name).title}")
            try:
                found[name] = attributed(asked, name, settings[name]), None
            except LabError:
                continue  # whoever draws them says why
        total = CONTROL_MAPS + len(found)
        controls_of(asked, on_progress=lambda share: report(share * CONTROL_MAPS / total, "scoring the controls"))
        for place, (name, (made, _)) in enumerate(list(found.items())):
            report((CONTROL_MAPS + place) / total, f"scoring {made.method.title}")
            if not made.blank:
                found[name] = made, score_map(asked, made)[1]
        return True

    def draw() -> None:
        st.caption(f"Maps and scores take {about(expected_s)} for this network on this machine.")
        _draw_maps(asked, list(found.values()))

    what = ("scores", ",".join(names), settings)
    done = background(asked, what, work, start=True, label=f"Go on, {about(expected_s)} in all", draw=draw)
    return bool(done)


def _found(asked: AttributionQuery, settings: dict[str, Any]) -> dict[str, tuple[Attribution, Verdict | None]]:
    """Method -> its map and, once it is scored, its verdict: what the task of this question fills."""
    question = repr((asked.reference.card.fingerprint, asked.target, asked.baseline, settings)), asked.pixels.tobytes()
    before, found = st.session_state.get(FOUND, (None, {}))
    if before != question:
        st.session_state[FOUND] = question, (found := {})
    return found  # type: ignore[no-any-return]


def _draw_maps(asked: AttributionQuery, found: list[tuple[Attribution, Verdict | None]]) -> None:
    with st.container(horizontal=True, gap="small"):
        for made, verdict in found:
            method = made.method
            with st.container(width=MAP_PX + 4, gap="xxsmall"):
                show_image(
                    overlay_png(made.pixels, asked.pixels, signed=method.signed, dark=dark(), side=MAP_PX),
                    width=MAP_PX,
                    alt=f"{method.title}: map of why {asked.label}",
                )
                score = f"score {signed_number(verdict.score)}, {verdict.label}" if verdict else "not scored yet"
                st.caption(f"**{escape_markdown(method.title)}**  \n{score}")
