"""The frame around every page: which device this server found, and what runs on it."""

from __future__ import annotations

import os
import re

import streamlit as st

from core.common.access import read_only
from core.common.devices import cores, processor_name
from core.common.errors import LabError
from core.jobs import Run
from pages.shared.registry import page_link
from pages.shared.resources import runs_now
from pages.shared.run_labels import address, fraction
from pages.shared.text import escape_markdown, shorten
from pages.shared.warmup import warmup

POLL_S = 2.0
"""As often as a training that one watches is looked at: the same run must not have two states on one screen."""
NAME_CHARACTERS = 24
"""Of a run in the sidebar, which leaves room for its state."""
RUN_ID = r"\d{8}-[\w-]+"
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32" viewBox="0 0 32 32">'
    '<path d="M11 2h10v7c0 4 7 6 7 13v8H4v-8c0-7 7-9 7-13z" fill="#0072b2"/>'
    '<path d="M7 27v-5c0-2 1-4 3-5h12c2 1 3 3 3 5v5z" fill="#ffffff"/></svg>'
)
"""The browser tab's icon, drawn here: Streamlit would fetch its own from elsewhere."""


def active_runs() -> list[Run]:
    """Runs that are queued or running, the running one first."""
    try:
        runs = [run for run in runs_now() if run.active]
    except LabError:
        return []
    return sorted(runs, key=lambda run: (run.status == "queued", run.queue_position or 0))


def device_line() -> str:
    """The device in words; before torch is there, what the system says."""
    warm = warmup()
    if warm.devices:
        return warm.devices[0]
    return f"{processor_name()}, {cores()} {'core' if cores() == 1 else 'cores'}"


def links_style() -> str:
    """CSS that keeps links with a query from looking like the page that is open, but for the run that is open: Streamlit
    marks every link to the same page."""
    link = '[data-testid="stPageLink-NavLink"][href*="?"]'
    opened = [text for text in st.query_params.to_dict().values() if re.fullmatch(RUN_ID, text)]
    link += "".join(f':not([href*="={run_id}"])' for run_id in opened)
    return f"<style>{link}:not(:hover, :focus-visible) {{ background: none; }} {link} * {{ font-weight: inherit; }}</style>"


def sidebar() -> None:
    """Device and jobs. Refreshes itself only while something is under way."""
    st.html(links_style())
    busy = bool(active_runs()) or _warming()
    # Not a fragment that opens the sidebar itself: Streamlit refuses it after a visit that was cut short.
    with st.sidebar:
        st.fragment(_panel, run_every=POLL_S if busy else None)(busy)


def _warming() -> bool:
    return os.environ.get("LAB_WARM") != "0" and not warmup().done.is_set()


def _panel(polling: bool) -> None:
    runs = active_runs()
    st.caption(f":material/memory: {device_line()}")
    if read_only():
        st.caption(":material/lock: Read-only: look, classify, explain.")
    if _warming():
        st.caption(f":material/hourglass_top: {warmup().stage} in the background")
    for run in runs[:4]:
        page, query = address(run)
        icon = ":material/play_circle:" if run.status == "running" else ":material/schedule:"
        page_link(page, f"{escape_markdown(shorten(run.name, NAME_CHARACTERS))} · {_state(run)}", icon=icon, **query)
    if len(runs) > 4:
        page_link("runs", f"{len(runs) - 4} more in the queue")
    if polling and not runs and not _warming():
        st.rerun()


def _state(run: Run) -> str:
    if run.status == "queued":
        return "queued"
    if run.total_steps or run.step:
        return f"{100 * fraction(run):.0f}%"
    # The width of the sidebar holds one short word; its page says more.
    return "stopping" if run.status == "stopping" else "starting"
