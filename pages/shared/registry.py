"""The pages of the lab: what the navigation, Home, every link and the tests know of them.

A room says what its page is (`PAGE`, or `PAGES` where it has several) in its package, and stands in ROOMS. More rooms come
from the environment variable LAB_ROOMS: comma-separated modules, which are imported and so trusted like PYTHONPATH.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NoReturn

from core.app import further_rooms, import_room
from core.common.errors import LabError

if TYPE_CHECKING:
    from streamlit.navigation.page import StreamlitPage

ROOMS = (
    "pages.home",
    "pages.runs",
    "pages.images",
    "pages.text",
    "pages.descent",
    "pages.backprop",
    "pages.convolution",
    "pages.datasets",
    "pages.networks",
    "pages.augmentation",
    "pages.regularization",
    "pages.synthesis",
    "pages.shift",
    "pages.attribution",
    "pages.attention",
    "pages.features",
    "pages.compression",
    "pages.hardware",
)
"""In the order of the navigation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page."""

    name: str
    """Its address, and its folder in pages/."""
    title: str
    icon: str
    section: str
    """Heading of the navigation under which it stands."""
    question: str = ""
    """In one short line: what it answers. The link on Home says this."""
    views: Mapping[str, str] = field(default_factory=dict)
    """View -> what it asks; the first is the one to start with."""
    script: Callable[[], None] | str = ""
    """A function that draws it, or the path of a script; empty for `page.py` of its folder."""

    def for_streamlit(self) -> StreamlitPage:
        """What `st.navigation` and links take."""
        import streamlit as st

        home = self.name == "home"
        script = self.script or f"{self.name}/page.py"
        return st.Page(script, title=self.title, icon=self.icon, url_path="" if home else self.name, default=home)


def pages() -> dict[str, Page]:
    """All pages by name, in the order of the navigation. Raises LabError where two have one name."""
    return _pages(os.environ.get("LAB_ROOMS", ""))


@cache
def _pages(more: str) -> dict[str, Page]:
    found: dict[str, Page] = {}
    for module in (*ROOMS, *further_rooms()):
        room = import_room(module)
        for page in getattr(room, "PAGES", (room.PAGE,) if hasattr(room, "PAGE") else ()):
            if page.name in found:
                raise LabError(f"Two pages are called {page.name}: rename the one in {module}.")
            found[page.name] = page
    return found


def sections() -> dict[str, list[Page]]:
    """Heading -> its pages, in order."""
    found: dict[str, list[Page]] = {}
    for page in pages().values():
        found.setdefault(page.section, []).append(page)
    return found


def page_link(name: str, label: str, *, icon: str | None = None, help: str | None = None, **query: str) -> None:
    """A link to a page. icon: the page's own where there is none. query: what its address carries."""
    import streamlit as st

    st.page_link(pages()[name].for_streamlit(), label=label, icon=icon, help=help, query_params=query)


PRESS = """<script>(function press(tries) {
  const link = document.querySelector(".st-key-leave a");
  if (link) link.click(); else if (tries) setTimeout(press, 50, tries - 1);
})(100)</script>"""


def switch_page(name: str, **query: str) -> NoReturn:
    """Leave for another page."""
    import streamlit as st

    _, here = st.session_state.get("visit", (0, ""))
    if not query or here == name:
        st.switch_page(pages()[name].for_streamlit(), query_params=query)
    # On its way to another page `st.switch_page` gives this one the other's query, as one more step in the browser's
    # history; a link does not.
    with st.container(key="leave"):
        page_link(name, "Open", **query)
        st.html(PRESS, unsafe_allow_javascript=True)
    st.stop()
