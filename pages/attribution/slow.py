"""Methods that take a while: what they will cost here, asked for one by one, in the background where that is long."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from core.attribution.evidence.curves import CONTROL_MAPS, CURVE_PASSES
from core.attribution.method import Method
from core.attribution.methods.registry import METHODS, SLOW, get_method
from core.checkpoints.store import CheckpointRef
from core.common.errors import LabError
from core.common.progress import Progress
from pages.attribution.cached import attributed
from pages.attribution.settings import settings_of
from pages.shared import tasks
from pages.shared.resources import loaded
from pages.shared.text import duration, escape_markdown
from pages.shared.url import linked

if TYPE_CHECKING:
    from core.attribution.explainer import Attribution
    from pages.attribution.query import AttributionQuery

PARAM, WANTED = "methods", "why-methods"
INLINE_S = 1.0
"""What is expected to take less holds the page; the rest is a task."""
GRACE_S = 0.15
"""A task that is over by then, because its result is kept, is not shown as one."""
TRIAL = 10
"""Passes that are measured."""
MINE, SESSION = "why-tasks", "why-session"


def wanted() -> tuple[str, ...]:
    """Slow methods that were asked for, in the order of METHODS; an address that names some wins once."""
    linked(PARAM, WANTED, _known, (), write=lambda names: ",".join(name for name in SLOW if name in names) or None)
    return tuple(name for name in SLOW if name in st.session_state[WANTED])


def _known(names: str) -> tuple[str, ...]:
    for name in filter(None, names.split(",")):
        if name not in METHODS:
            st.warning(
                f"The link asks for {escape_markdown(name[:60])}, which is no attribution method: it is left out."
            )
    return tuple(name for name in names.split(",") if name in SLOW)


def add(name: str) -> None:
    """Ask for a slow method."""
    st.session_state[WANTED] = (*st.session_state.get(WANTED, ()), name)


def remove(name: str) -> None:
    st.session_state[WANTED] = tuple(other for other in st.session_state.get(WANTED, ()) if other != name)


def seconds(asked: AttributionQuery, name: str) -> float:
    """What a method should take on this machine, by its passes and the measured time of one. Raises LabError."""
    forward, backward = costs_of(asked.reference)
    forwards, backwards = _method(asked, name).passes(asked.pixels.shape[0])
    return forwards * forward + backwards * backward


def costs_of(reference: CheckpointRef) -> tuple[float, float]:
    """Seconds of a pass forward and of one backward, for one image among several, measured once. Raises LabError."""
    return _costs(reference.card.fingerprint, reference)


def scoring_seconds(asked: AttributionQuery, maps: int) -> float:
    """What the curves of so many maps and of the controls should take on this machine. Raises LabError."""
    forward, _ = costs_of(asked.reference)
    return forward * CURVE_PASSES * (maps + CONTROL_MAPS)


def about(expected_s: float) -> str:
    """`about 0.4 s`, `about 12 s`."""
    return f"about {max(expected_s, 0.1):.1f} s" if expected_s < 9.95 else f"about {duration(expected_s)}"


def more_methods(asked: AttributionQuery, missing: tuple[str, ...]) -> None:
    """A button for each slow method that is not shown, with its time. Raises LabError."""
    if not missing:
        return
    st.markdown("**More methods, which take longer**")
    with st.container(horizontal=True, gap="small"):
        for name in missing:
            st.button(
                f"{METHODS[name].title}, {about(seconds(asked, name))}",
                key=f"add-{name}",
                icon=":material/add:",
                on_click=add,
                args=(name,),
            )


def slow_map(asked: AttributionQuery, name: str) -> Attribution | None:
    """The map of a slow method, or None with how far it is on the page. Raises LabError."""
    method = _method(asked, name)
    if seconds(asked, name) <= INLINE_S:
        return attributed(asked, name, method.settings())

    def work(report: Progress) -> Attribution:
        return attributed(asked, name, method.settings(), on_progress=lambda share: report(share, "computing"))

    found: Attribution | None = background(asked, ("map", name, method.settings()), work, start=True)
    return found


def background(
    asked: AttributionQuery,
    what: tuple[str, str, Any],
    work: Callable[[Progress], Any],
    *,
    start: bool,
    label: str = "Start again",
    draw: Callable[[], None] = lambda: None,
) -> Any | None:
    """The result of a task about this question, or None with its progress, or what became of it, on the page.

    what: kind of work, method, and what else it depends on. start: whether it begins by itself; else, and after it was
    stopped, a button of that label begins it. draw: as of `tasks.watch`. Another question stops it: see `only`. Raises
    LabError where it went wrong.
    """
    key = _key(asked, what)
    task = tasks.find(key)
    if task is None and start:
        task = _begin(key, work)
        until = time.monotonic() + GRACE_S
        while not task.done and time.monotonic() < until:
            time.sleep(0.01)
    if task is not None and task.error:
        raise LabError(task.error)
    if tasks.watch(key, draw=draw):
        return None
    if task is None or task.stopped:
        draw()
        name, icon = f"start-{what[0]}-{what[1]}", ":material/play_arrow:"
        st.button(label, key=name, icon=icon, on_click=_begin, args=(key, work))
        return None
    return task.result


def _begin(key: str, work: Callable[[Progress], Any]) -> tasks.BackgroundTask:
    st.session_state[MINE] = {*st.session_state.get(MINE, ()), key}
    return tasks.start(key, work)


def only(asked: AttributionQuery | None) -> None:
    """Stop what this session began for another image, class, checkpoint or baseline, or for any: nobody waits for it."""
    mine = st.session_state.get(MINE, set())
    kept = {key for key in mine if asked and key.startswith(_question(asked))}
    for key in mine - kept:
        tasks.drop(key)
    st.session_state[MINE] = kept


def _question(asked: AttributionQuery) -> str:
    """Of this session alone, so that nobody else's question ends it."""
    session = st.session_state.setdefault(SESSION, uuid.uuid4().hex[:8])
    question = hashlib.sha256(asked.pixels.tobytes())
    question.update(repr((asked.reference.card.fingerprint, asked.target, asked.baseline)).encode())
    return f"why-{session}-{question.hexdigest()[:16]}"


def _key(asked: AttributionQuery, what: tuple[str, str, Any]) -> str:
    return f"{_question(asked)}-{hashlib.sha256(repr(what).encode()).hexdigest()[:8]}"


def _method(asked: AttributionQuery, name: str) -> Method:
    return get_method(name, settings_of(name, asked.reference))


@st.cache_resource(max_entries=16, show_spinner=False)
def _costs(fingerprint: str, _reference: CheckpointRef) -> tuple[float, float]:
    from core.attribution.explainer import Explainer

    explainer = Explainer(loaded(_reference))  # of its own: what others ask meanwhile is not in its times
    pixels = np.random.default_rng(0).integers(0, 256, (explainer.side, explainer.side, 3), dtype=np.uint8)
    inputs = explainer.inputs(pixels).expand(TRIAL, -1, -1, -1)
    both = get_method("integrated_gradients", {"steps": TRIAL, "max_gap": 1})
    times: list[tuple[float, float]] = []
    for _ in range(2):  # the first builds kernels
        started = time.perf_counter()
        explainer.logits(inputs)
        forward_s = time.perf_counter() - started
        refused = explainer.refusal(both)  # of a network without gradients, which are then not needed
        times.append((forward_s, forward_s if refused else explainer.attribute(both, pixels, 0).milliseconds / 1000))
    forward, with_backward = (min(column) / TRIAL for column in zip(*times, strict=True))
    return forward, max(0.0, with_backward - forward)
