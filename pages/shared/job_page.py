"""A page about one kind of job: what ships, a form for a new one, the jobs of this machine, and one of them, live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from core.common.errors import LabError
from core.jobs import Run, RunStore
from core.jobs.kind import JobKind
from pages.shared.registry import Page
from pages.shared.resources import runs_now, store
from pages.shared.run_controls import find_run, job_line, live_job
from pages.shared.text import escape_markdown, show_error
from pages.shared.url import choose_view, linked, linked_fragment, set_address, write_url
from pages.shared.url_values import one_of

EXAMPLE = "example"
"""`?study=example` opens what ships."""
DONE_S, GROWN_S = 6.0, 15.0
"""Least age of a result that is drawn again: where a part is over, and where it has only grown. Each drawing costs server
and browser a part of a core that the job could use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPage:
    """What a room declares of its page; `draw` does the rest."""

    page: Page
    """Its last views are, in this order: what ships, if anything does, a new job, and the jobs of this machine."""
    kind: JobKind
    param: str
    """`?param=<run id>` opens a job."""
    form: Callable[[], None]
    """Draws a new job, with a `start_job_button`."""
    result: Callable[[Any, str, Run | None], None]
    """Draws what was read of a job, or of an example (without a run). The text is a key, of what the viewer chooses."""
    read: Callable[[RunStore, str], Any] = RunStore.metrics
    """What there is of a job's result by now. Raises LabError."""
    examples: Mapping[str, str] = field(default_factory=dict)
    """What ships: name -> the word that chooses it."""
    load_example: Callable[[str], Any] = lambda name: None
    """One of them. Raises LabError."""
    others: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    """View -> what draws it: those of the page that stand before the ones about jobs."""
    live: Callable[[Run], None] | None = None
    """Draws under the head of a job, at every look."""
    actions: Callable[[Run], None] | None = None
    """Draws what can be done with a job, beside it in the list and in its head."""
    message: Callable[[Run], str] = lambda run: run.message
    """What its head says of a job, where that is news."""
    changes: Callable[[Run], Mapping[float, Any]] = lambda run: {DONE_S: run.parts_done, GROWN_S: run.step}
    """Seconds -> a value; the result is drawn again when one is another and the drawing so old."""
    help: Callable[[], None] = lambda: None
    """Draws the folded explanation at the foot of all views but those in `explained`."""
    explained: frozenset[str] = frozenset()
    """Views of `others` that explain themselves."""

    def draw(self) -> None:
        *example, _, jobs = self._views()
        run_id = st.query_params.get(self.param)
        view = choose_view(self.page, (example or [jobs])[0] if run_id == EXAMPLE else jobs if run_id else None)
        body = st.container()
        if view not in self.explained:
            self.help()  # first: a form may have to wait for torch
        with body:
            try:
                self._view(view, run_id)
            except LabError as error:
                show_error(error)

    def _views(self) -> list[str]:
        """Those about jobs."""
        return [view for view in self.page.views if view not in self.others]

    def _view(self, view: str, run_id: str | None) -> None:
        *example, new, jobs = self._views()
        if view in self.others:
            self.others[view]()
        elif view != jobs:
            write_url(self.param, self.param, None)  # the address must not name a job that is not shown
            (self.form if view == new else self._example)()
        elif run_id:
            write_url(self.param, self.param, run_id)
            # No link: one within the page would leave the job in the browser's address.
            if st.button(
                f"All {jobs.lower()}", key=f"all-{jobs.lower()}", icon=":material/arrow_back:", type="tertiary"
            ):
                set_address({"view": jobs})
                st.rerun()
            self._job(run_id)
        elif runs := [run for run in runs_now() if run.kind == self.kind.name]:
            for run in runs:
                self._line(run)
        else:
            shows = f"; {example[0]} shows what you will see" if example else ""
            st.info(f"There are no {jobs.lower()} here yet. {new} starts one{shows}.")

    def _line(self, run: Run) -> None:
        if self.actions is None:
            job_line(run)
            return
        with st.container(horizontal=True, gap="small"):
            with st.container():
                job_line(run)
            self.actions(run)

    def _job(self, run_id: str) -> None:
        run = find_run(run_id)
        if run.kind != self.kind.name:  # a link may say so
            job_line(run)
            return
        found = self.read(store(), run_id)
        live_job(run, live=self.live, buttons=self.actions, message=self.message, changes=self.changes)
        linked_fragment(self.result)(found, run_id, run)

    def _example(self) -> None:
        name = next(iter(self.examples))
        if len(self.examples) > 1:
            linked("of", "example-task", one_of(self.examples, "kind of example"), name)
            name = st.segmented_control(
                "Example of",
                list(self.examples),
                required=True,
                format_func=self.examples.__getitem__,
                key="example-task",
                label_visibility="collapsed",
                persist_state="session",
            )
        try:
            found = self.load_example(name)
        except LabError as error:
            st.info(f"{escape_markdown(error)} {self._views()[1]} starts one.")
            return
        linked_fragment(self.result)(found, f"shipped-{name}", None)
