"""What every page shows the same way: images, figures, files to download."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

from core.common.pixels import data_url
from pages.shared.url import linked, linked_flag
from pages.shared.url_values import one_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SAVE = ("toImage",)
"""The camera of a figure, which saves it as an image."""
SAVE_AND_RESET = ("resetScale2d", "toImage")
"""Of a live figure too, in which people zoom."""
FILES_NOTE = "In files, accuracy runs from 0 to 1. To save a figure, point at it and click the camera."
STYLE = Path(__file__).with_name("style.css")
"""What Streamlit has no word for: every page sends it once."""


def show_image(image: bytes | str, *, width: int, alt: str) -> None:
    """Show a PNG, a JPEG or an SVG (as text), `width` pixels wide.

    It is sent inside the page. `st.image` puts the bytes of an image into a file of the server instead, which the next run
    of the script removes: a browser that has not fetched it by then gets a 404.
    """
    st.image(data_url(image), width=width, alt=alt)


def clickable_image(
    image: bytes,
    label: str,
    *,
    key: str,
    alt: str,
    on_click: Callable[..., None],
    args: tuple[Any, ...],
    width: int = 84,
    shortcut: str | None = None,
) -> None:
    """An image with a button below it, as one piece: a click anywhere presses the button. shortcut: a key that does, too."""
    with st.container(key=f"clickable-{key}", width=width + 2, gap=None):
        show_image(image, width=width, alt=alt)
        st.button(label, key=key, on_click=on_click, args=args, type="tertiary", width="stretch", shortcut=shortcut)


def show_figure(
    figure: Figure,
    *,
    key: str,
    alt: str,
    buttons: Sequence[str] | None = SAVE,
    width: Literal["stretch", "content"] = "stretch",
    on_click: Callable[[Any], None] | None = None,
) -> None:
    """Show a Plotly figure in its own colours. buttons: what its bar offers; None for Plotly's choice. on_click: told the
    customdata of a point that was clicked."""
    bar = {} if buttons is None else {"displayModeBar": False} if not buttons else {"modeBarButtons": [list(buttons)]}
    config = {"displaylogo": False, **bar}
    if on_click is None:
        st.plotly_chart(figure, theme=None, width=width, key=key, config=config, alt=alt)
        return

    def selected() -> None:
        if points := st.session_state[key]["selection"]["points"]:
            on_click(points[0]["customdata"])

    st.plotly_chart(
        figure,
        theme=None,
        width=width,
        key=key,
        config=config,
        alt=alt,
        on_select=selected,
        selection_mode="points",
    )


def show_table(columns: Mapping[str, Sequence[str]], *, key: str) -> None:
    """A table, and on a narrow screen a card for each row. columns: cells in Markdown; the first names the row."""
    with st.container(key=f"wide-{key}"):
        st.table(dict(columns), border="horizontal", hide_index=True)
    with st.container(key=f"narrow-{key}", gap="xsmall"):
        for first, *cells in zip(*columns.values(), strict=True):
            figures = (f"{name}: {cell}" for name, cell in zip(list(columns)[1:], cells, strict=True) if cell != "–")
            with st.container(border=True):
                st.markdown("  \n".join((first if "**" in first else f"**{first}**", *figures)))


def download(
    label: str,
    data: bytes | str | Callable[[], bytes],
    file_name: str,
    *,
    key: str,
    help: str | None = None,
    primary: bool = False,
    disabled: bool = False,
) -> None:
    """A button that saves `data`, or what that function returns once it is pressed. Pressing it does not run the page again."""
    st.download_button(
        label,
        data,
        file_name,
        mimetypes.guess_type(file_name)[0] or "application/octet-stream",
        key=key,
        help=help,
        type="primary" if primary else "secondary",
        icon=":material/download:",
        on_click="ignore",
        disabled=disabled,
    )


def open_tab(tabs: Mapping[str, Callable[[], None]], *, key: str) -> None:
    """A row of tabs, of which the open one alone is drawn. The address says which."""
    linked("tab", key, one_of(tabs, "tab"), next(iter(tabs)))
    for draw, tab in zip(tabs.values(), st.tabs(list(tabs), key=key, on_change="rerun"), strict=True):
        if tab.open:
            with tab:
                draw()


def folded(label: str, draw: Callable[[], None], *, key: str, param: str, icon: str | None = None) -> None:
    """An expander that is closed at first, and drawn only while it is open. param: what the address says of it."""
    linked_flag(param, key)
    box = st.expander(label, key=key, icon=icon, on_change="rerun")
    if box.open:
        with box:
            draw()


@st.cache_resource(show_spinner=False)
def component(file: str, prelude: str = "") -> Any:
    """The component whose script and style lie beside a file, all of the name of their folder. prelude: a script in the folder
    above that stands before it: what the components of a room share. What all share stands before both."""
    folder = Path(file).parent
    name = folder.name
    shared = Path(__file__).with_name
    before = [shared("element.js"), *([folder.parent / prelude] if prelude else [])]
    return st.components.v2.component(
        f"bottleneck_lab_{name}",
        html=f'<div class="{name}"></div>',
        css=shared("element.css").read_text() + (folder / f"{name}.css").read_text(),
        js="".join(path.read_text() for path in (*before, folder / f"{name}.js")),
    )


def sent(key: str, what: str) -> Any:
    """What the component `key` sent last; None where that is nothing."""
    found = st.session_state.get(key)
    return None if found is None else found.get(what)


def sent_of(key: str, what: str, revision: str) -> dict[str, Any]:
    """The same of values that name their revision; empty where it is another one."""
    found = sent(key, what)
    return found if isinstance(found, dict) and found.get("revision") == revision else {}
