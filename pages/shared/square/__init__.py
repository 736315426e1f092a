"""The square of an upload that the model sees, to be dragged and sized: by mouse, finger or keyboard.

The browser holds the square while somebody drags and sends it a few times a second. Where the page sets another one it gives
that a new revision, and what the browser still sends of an older one is not taken.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from core.common.errors import LabError
from core.common.pixels import data_url, enlarge
from core.data.square import LEAST_PX, Square, parse_square
from pages.shared.elements import component, sent_of, show_image
from pages.shared.text import escape_markdown
from pages.shared.url import linked

if TYPE_CHECKING:
    from pages.shared.image_view import DecodedUpload
    from pages.shared.upload_box import InputImage

KEY, CHOSEN, REVISION = "photo-square", "photo-square-chosen", "photo-square-revision"
SEEN_PX = 160
"""Side of what the model sees: it fits beside a photo on a phone, and each of its pixels becomes 5x5 of the screen's."""


def with_square(image: InputImage) -> InputImage:
    """The image with the square that somebody chose on it. Other images than uploads are as the model sees them."""
    if not image.token:
        return image
    state = st.session_state
    if linked("square", CHOSEN, _from_address, None, write=lambda square: square and str(square), of=image.token):
        _new_revision()
    square, done = _sent(_revision(image)) or (state[CHOSEN], True)
    if done:  # a drag is one step in the browser's history
        state[CHOSEN] = square
    return replace(image, square=square)


def show_input_image(image: InputImage, seen: DecodedUpload) -> None:
    """The image as it came, of an upload with the square, and beside it what the model sees."""
    side = seen.pixels.shape[0]
    cut = min(seen.square_px, side)
    with st.container(horizontal=True, gap="small"):
        with st.container(width="stretch" if image.token else SEEN_PX + 4, gap="xsmall"):
            if image.token:
                _draw(image, seen)
            else:
                show_image(seen.preview, width=SEEN_PX, alt=f"The image as it came: {image.title}")
            notes = "".join(f", {escape_markdown(note)}" for note in seen.notes)
            st.caption(
                f"What you gave: {escape_markdown(image.title)}, {seen.width}×{seen.height} {seen.format}{notes}"
            )
        with st.container(width=SEEN_PX + 4, gap="xsmall"):
            show_image(
                enlarge(seen.pixels, SEEN_PX), width=SEEN_PX, alt=f"The same image as {side} by {side} large pixels"
            )
            enlarged = f", enlarged from {cut}×{cut}" if cut < side else ""
            st.caption(f"What the model sees: {side}×{side} pixels{enlarged}")
            if image.token:
                st.button(
                    "Central square",
                    key="central-square",
                    icon=":material/crop_free:",
                    on_click=_centre,
                    disabled=image.square is None,
                )


def _draw(image: InputImage, seen: DecodedUpload) -> None:
    data: dict[str, Any] = {
        "photo": data_url(seen.preview),
        "width": seen.width,
        "height": seen.height,
        "least": min(1.0, LEAST_PX / min(seen.width, seen.height)),
        "square": str(image.square or ""),
        "revision": _revision(image),
        "alt": f"The photo as it came: {image.title}",
    }
    component(__file__)(key=KEY, data=data, on_square_change=lambda: None)


def _sent(revision: str) -> tuple[Square, bool] | None:
    """What the browser sent last of this revision, and whether the drag is over; None where it sent no square."""
    found = sent_of(KEY, "square", revision)
    try:
        return (
            (parse_square(found["square"]), found.get("done") is True) if isinstance(found.get("square"), str) else None
        )
    except LabError:
        return None


def _from_address(text: str) -> Square:
    try:
        return parse_square(text)
    except LabError as error:
        raise LabError(f"In the link, {error} The central square is used.") from error


def _centre() -> None:
    st.session_state[CHOSEN] = None
    _new_revision()


def _new_revision() -> None:
    st.session_state[REVISION] = st.session_state.get(REVISION, 0) + 1


def _revision(image: InputImage) -> str:
    return f"{image.token} {st.session_state.get(REVISION, 0)}"
