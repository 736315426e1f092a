"""What an address names: `?study=<run id>` opens a study, `?recipe=<run id>` the results of a recipe, `?checkpoint=` asks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from core.regularization.shipped import EXAMPLE, shipped_names


@dataclass(frozen=True, slots=True)
class Address:
    """Results of one kind. views: of their page, what ships first, those of this machine last."""

    param: str
    views: tuple[str, ...]
    shipped: Callable[[], tuple[str, ...]]

    def choose_view(self) -> None:
        """Before the view's widget is made: an address that names a result opens it, whatever view it names."""
        started = st.session_state.pop(self._next, None)
        if started:
            st.query_params[self.param] = started
            st.session_state["view"] = self.views[-1]
        elif "view" not in st.session_state and "view" not in st.query_params and self.param in st.query_params:
            ships = st.query_params[self.param] in self.shipped()
            st.session_state["view"] = self.views[0] if ships else self.views[-1]

    def here(self) -> str | None:
        """The run that the address names. A link within the page leaves the browser's address behind: it is said again."""
        run_id = st.query_params.get(self.param)
        if run_id:
            st.query_params[self.param] = run_id
        return run_id

    def open(self, run_id: str) -> None:
        """Show a result next."""
        st.session_state[self._next] = run_id
        st.rerun()

    def leave(self) -> None:
        """In views that show no result of this machine: the address must not name one."""
        st.query_params.pop(self.param, None)

    @property
    def _next(self) -> str:
        """In the session: the run that was just started, to be opened by the next run of the page."""
        return f"{self.param}-next"


STUDY = Address("study", ("Example", "New study", "Studies"), lambda: shipped_names())
RECIPE = Address("recipe", ("Example", "New recipe", "Results"), lambda: (EXAMPLE,))


def why_link(checkpoint: str, label: str = "Why did it say that?") -> None:
    """To the Attribution page with that checkpoint; the picture that was looked at last goes along."""
    st.page_link(
        "attribution/page.py",
        label=label,
        icon=":material/center_focus_strong:",
        query_params={"view": "Explain", "checkpoint": checkpoint},
    )
