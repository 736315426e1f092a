"""A map as a card: over its image, with its score and its curves in small below it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.attribution.evidence.controls import CONTROLS, control_maps
from core.attribution.evidence.curves import Faithfulness, Verdict
from core.attribution.figures import OPACITY, OUTLIERS, overlay_png
from core.attribution.method import Method
from core.common.theme import BLUE, MUTED, TEXT, for_theme, with_alpha
from core.common.values import signed
from pages.shared.elements import show_image
from pages.shared.resources import dark
from pages.shared.text import escape_markdown
from pages.shared.url import linked, linked_flag
from pages.shared.url_values import number as number_from_url
from pages.shared.url_values import one_of

if TYPE_CHECKING:
    from pages.attribution.query import AttributionQuery

MAP_PX = 160
"""Side of a map on a card: two fit beside each other on a phone, and a pixel is 5x5 of the screen's."""
CURVE_PX = 56
LEAST = 0.05
"""Of probability and scores: where all are less, there was nothing to take away, and no map can be told from another."""
PERCENTILES = (95.0, 99.0, 100.0)
BLANK = "Zero everywhere: the method found nothing to say."
IMPROBABLE = "too improbable to tell"
CONTROLS_NOTE = {
    "random": "Drawn at random; the score is the mean of three",
    "edges": "Sobel's edges of the image",
    "blob": "The same for every image",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Display:
    """How maps are drawn; what is measured of them does not depend on it."""

    opacity: float
    percentile: float
    smooth: bool


def display_controls() -> Display:
    """One row of controls, kept for the session."""
    linked("opacity", "map-opacity", number_from_url(0, 100, "the opacity"), round(100 * OPACITY))
    linked("scale", "map-percentile", one_of(PERCENTILES, "scale"), OUTLIERS)
    linked_flag("smooth", "map-smooth")
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        opacity = st.slider(
            "Opacity",
            0,
            100,
            step=5,
            format="%d%%",
            key="map-opacity",
            width=150,
            persist_state="session",
            help="0% shows the image alone, 100% the map alone.",
        )
        percentile = st.segmented_control(
            "Strongest colour at",
            PERCENTILES,
            required=True,
            format_func=lambda value: f"{value:g}%",
            key="map-percentile",
            persist_state="session",
            help="The colours end at this percentile of the values of a map, or of the maps that share a scale: a single pixel "
            "must not turn all others pale.",
        )
        smooth = st.toggle(
            "Smooth (invents detail)",
            key="map-smooth",
            persist_state="session",
            help="Blends between pixels. It looks finer than what was computed, which is one value a pixel.",
        )
    return Display(opacity=opacity / 100, percentile=percentile, smooth=smooth)


def input_image(asked: AttributionQuery, *, label: bool = False) -> None:
    """The image as large pixels. label: say its true class too, where it is known."""
    side, title = asked.pixels.shape[0], asked.image.title
    show_image(asked.seen.enlarged, width=MAP_PX, alt=f"{title}, as {side} by {side} large pixels")
    truth = f"; the test set says {escape_markdown(asked.image.label)}" if label and asked.image.label else ""
    st.caption(f"{escape_markdown(title)}, {side}×{side} pixels: all that the network sees{truth}")


def legend(label: str) -> None:
    """What the colours and the small curves say."""
    name = escape_markdown(label)
    st.caption(
        f":blue[■] supports “{name}” · :orange[■] speaks against it · :green[■] maps that tell only how much. Below each map, "
        f"the probability of “{name}” while the map's most important pixels are put back (solid) or taken away (dashed): the "
        "wider the blue between them, the more these pixels carry the answer, and the higher the score."
    )


def card(values: np.ndarray, asked: AttributionQuery, display: Display, *, signed: bool, alt: str) -> DeltaGenerator:
    """Draws a map (H, W); returns the place for its evidence, which takes longer."""
    show_image(image_of(values, asked, display, signed=signed, side=MAP_PX), width=MAP_PX, alt=alt)
    return st.empty()


def image_of(values: np.ndarray, asked: AttributionQuery, display: Display, *, signed: bool, side: int) -> bytes:
    """A map (H, W) over the image, as PNG."""
    return overlay_png(
        values,
        asked.pixels,
        signed=signed,
        opacity=display.opacity,
        percentile=display.percentile,
        dark=dark(),
        side=side,
        smooth=display.smooth,
    )


def map_words(method: Method) -> tuple[str, str]:
    """What negative and positive values of a method's map say."""
    if method.signed and method.is_gradient:
        return "brighter lowers it", "brighter raises it"
    if method.signed or method.family == "activation":
        return "speaks against", "supports"
    return "", "reacts most"


def evidence(found: Faithfulness, verdict: Verdict | None, label: str) -> None:
    """Score in words, and the curves. verdict: None for a control, which is what others are compared with."""
    if verdict:
        badge(verdict, found.deletion.probabilities[0])
    else:
        st.markdown(f":gray-badge[{signed_number(found.score)}]  \n:small[a control, to be beaten]")
    ends = [f"{100 * curve.probabilities[-1]:.0f}%" for curve in (found.insertion, found.deletion)]
    show_image(
        small_curves(found, dark=dark()),
        width=MAP_PX,
        alt=f"Probability of {label}: area {found.insertion.area:.2f} while pixels are put back, up to {ends[0]}; area "
        f"{found.deletion.area:.2f} while they are taken away, down to {ends[1]}",
    )


def badge(verdict: Verdict, probability: float = 1.0) -> None:
    """The score and what it is worth, in words, with a sign and a colour. probability: of the class, of the whole image."""
    why = doubt(verdict, probability)
    colour, icon = ("gray", "remove") if why else ("green", "check")
    if why == verdict.label:
        colour, icon = "orange", "close"
    st.markdown(f":{colour}-badge[:material/{icon}: {signed_number(verdict.score)}]  \n:small[{why or verdict.label}]")


def doubt(verdict: Verdict, probability: float = 1.0) -> str:
    """Why nothing may be concluded from a map; empty where something may. probability: of the class, of the whole image."""
    if max(probability, *map(abs, (verdict.score, *verdict.controls.values()))) < LEAST:
        return IMPROBABLE
    if verdict.not_beaten:
        return verdict.label
    return "hardly more than nothing" if verdict.score < LEAST else ""


def small_curves(found: Faithfulness, *, dark: bool) -> str:
    """Both curves of a map as SVG, the area between them filled where insertion lies above deletion."""
    width, height, edge = MAP_PX, CURVE_PX, 2

    def points(shares: np.ndarray, probabilities: np.ndarray) -> list[str]:
        x = edge + shares * (width - 2 * edge)
        y = edge + (1 - probabilities) * (height - 2 * edge)
        return [f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)]

    inserted, deleted = found.insertion, found.deletion
    lower = np.minimum(inserted.probabilities, deleted.probabilities)
    there, back = points(inserted.shares, inserted.probabilities), points(deleted.shares, deleted.probabilities)
    between = [*there, *points(deleted.shares, lower)[::-1]]
    blue, text, muted = for_theme(BLUE, dark), TEXT[dark], MUTED[dark]
    frame = f"M{edge} {edge}V{height - edge}H{width - edge}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<path d="{frame}" fill="none" stroke="{muted}" stroke-opacity="0.5"/>'
        f'<polygon points="{" ".join(between)}" fill="{with_alpha(blue, 0.3)}"/>'
        f'<polyline points="{" ".join(there)}" fill="none" stroke="{text}" stroke-width="1.5"/>'
        f'<polyline points="{" ".join(back)}" fill="none" stroke="{text}" stroke-width="1.5" stroke-dasharray="4 3"/>'
        "</svg>"
    )


def number(value: float | None) -> str:
    """`0.41`, `−0.05`; a dash for what was not or cannot be measured."""
    return "–" if value is None or math.isnan(value) else f"{value:.2f}".replace("-", "−")


def signed_number(value: float) -> str:
    """`+0.41`, `−0.05`, `0.00`."""
    return signed(value, 2) if round(value, 2) else "0.00"


def time_words(milliseconds: float) -> str:
    """`31 ms`, `1.2 s`."""
    return f"{milliseconds:.0f} ms" if milliseconds < 999.5 else f"{milliseconds / 1000:.1f} s"


def shown_controls(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """A map (H, W) for each of CONTROLS; of random ones the first. pixels: (H, W, 3) uint8."""
    maps = control_maps(pixels)
    return {name: maps.get(name, maps["random-0"]) for name in CONTROLS}
