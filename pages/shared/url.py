"""What the address of a page carries, so that a link opens with the same choices, and Back and Forward restore them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.common.errors import LabError
from pages.shared.copy_link import PRIVATE, offer_link, page_title
from pages.shared.registry import Page
from pages.shared.text import escape_markdown
from pages.shared.url_values import one_of

LATE_S = 1.0
"""For so long a browser may not have heard of an address that was sent to it."""
MOST_UNHEARD = 10
"""Addresses that were sent one after another."""
Texts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Link:
    """A value of the session and the parameters that carry it."""

    params: tuple[str, ...]
    key: str
    texts: Callable[[], Texts]
    """What the address should say of the value as it is now."""
    default: Texts
    base: Texts
    """What an address without the parameters stands for in this visit."""
    scope: str
    """The fragment that it is drawn in; empty for the page."""


@contextmanager
def visit(page: str) -> Iterator[None]:
    """One run of a page. What is `linked` in it goes to the browser at its end: each message is a step in its history.

    The first run after another page says nothing: the browser may still be on its way here.
    """
    state, query = st.session_state, st.query_params
    number, last = state.get("visit", (0, None))
    state["visit"] = (number + (page != last), page)
    here = query.to_dict()
    if page != last:
        # An address that says nothing leaves all as it was here; one that says something means just that.
        state["link-arrival"], state["link-back"] = "links" if here else "bare", _from_history()
        state["links-before"] = {}
        state["url"], state["urls-before"] = here, []
    elif here != state["url"] and here in state["urls-before"] and not _from_history() and _late(here):
        query.from_dict(state["url"])  # of something done before the browser heard of the address that it has by now
    elif here not in (state["url"], state.get("url-entered")):  # Back, Forward, or a link within the page
        state["url-entered"], state["entered"] = here, state.get("entered", 0) + 1
    if here == state["url"]:
        state["urls-before"] = []
    state["links"], state["link-scope"], state["link-notes"], state["link-place"] = {}, "", {}, None
    state["link-problems-place"] = st.container()
    if page == last:
        _give_again()
    try:
        yield
        # Streamlit does not tell the browser of a link within the page.
        _send(say=last in (None, page), again=query.to_dict() != state["url"] and not _from_history())
    finally:
        state.pop("links", None)
        state["link-problems-place"] = None


def linked_fragment(draw: Callable[..., None], *, run_every: float | None = None) -> Callable[..., None]:
    """A fragment whose choices reach the address as soon as it runs by itself."""

    @wraps(draw)
    def run(*args: Any) -> None:
        state = st.session_state
        alone, before = "links" not in state, state.get("link-scope", "")
        state["link-scope"] = f"{draw.__module__}.{draw.__qualname__}"
        state["link-notes"].pop(state["link-scope"], None)
        if alone:
            if st.query_params.to_dict() != state["url"]:
                st.query_params.from_dict(state["url"])  # nobody goes Back into a fragment: the browser will hear of it
            state["links"] = {}
            _give_again()
            offer_link({})  # what stood in its place is gone
        elif state["link-place"] is not None:
            state["link-place"].empty()  # this fragment will write there, so Streamlit keeps it a place
        try:
            draw(*args)
            if alone:
                _send(state["link-scope"])
        finally:
            state["link-scope"] = before
            if alone:
                state.pop("links", None)

    return st.fragment(run, run_every=run_every)


def linked(
    param: str,
    key: str,
    parse: Callable[[str], Any],
    default: Any,
    *,
    write: Callable[[Any], str | None] = str,
    keep: bool | None = None,
    of: Any = None,
    options: Collection[Any] | None = None,
) -> bool:
    """Before the widget `key`: its value and `?param=` are one choice. A change of the address wins, then the widget is the
    truth and the address follows it. What the address named and a later run does not draw any more is dropped from it.

    parse: from the address to the value; where it raises LabError, the page warns and it is the default. write: the way
    back; None for a value that no address can carry. default: the value without a parameter. keep: whether the value of
    the session stands instead when somebody comes from another page; by default where that address says nothing at all.
    of: what the value belongs to, such as the image; for another one it is the default again. options: what the widget
    offers now; any other value becomes the default.
    Returns whether the address has changed, or names a value at the begin of a visit.
    """

    def written(value: Any) -> Texts:
        text = write(value)
        return {} if text is None else {param: text}

    changed = linked_together(
        (param,), key, lambda texts: parse(texts[param]), default, write=written, keep=keep, of=of
    )
    if options is not None and st.session_state[key] not in options:
        give(key, default, again=False)
    return changed


def linked_together(
    params: tuple[str, ...],
    key: str,
    parse: Callable[[Texts], Any],
    default: Any,
    *,
    write: Callable[[Any], Texts],
    keep: bool | None = None,
    of: Any = None,
) -> bool:
    """The same for one value that several parameters carry, such as an image from the test set or by its name."""

    def written(value: Any) -> Texts:
        return {} if value is None else write(value)

    state = st.session_state
    texts = _in_address(params)
    visit, entered, seen, kept = state.get(f"{key}-from-url", (None, 0, {}, ()))
    arrived, arrival = visit != state["visit"], state["link-arrival"]
    entering = state.get("url-entered") is not None and entered != state["entered"]
    moved, state[f"{key}-of"] = state.get(f"{key}-of", of) != of, of
    stood: dict[tuple[str, str], tuple[Any, ...]] = state.setdefault("links-stood", {})
    place = state["visit"][1], key
    if arrived and not moved and not texts and key in state and (arrival != "links" if keep is None else keep):
        # Two quick presses of Back leave out an address that said the value: then it is what it was before that one.
        kept = stood.get(place, ()) if state["link-back"] and seen else (state[key],)
    elif arrived or moved or keep is False:
        kept = ()
    if arrived and not texts:
        stood[place] = kept
    value = kept[0] if kept else default
    if arrived and not arrival:
        kept = ()  # a view that is opened later: this is a step anyway, and the address says all
    problems: dict[str, str] = state.setdefault("link-problems", {})
    changed = False
    if arrived or entering or key not in state or seen != texts:
        problems.pop(key, None)
        before = state.get(key)
        # What no address can carry: Back to one without it does not delete it.
        unsaid = entering and before not in (None, default) and not written(before)
        try:
            value = parse(texts) if texts else before if unsaid else value
            changed = bool(texts) if arrived else seen != texts or before != value
        except LabError as error:
            problems[key] = str(error)
        give(key, value, again=not arrived)
        state[f"{key}-from-url"] = (state["visit"], state.get("entered", 0), texts, kept)
    elif moved:
        give(key, default, again=False)
    base = {param: text for param, text in written(kept[0] if kept else default).items() if param not in PRIVATE}
    _register(_Link(params, key, lambda: written(state.get(key)), written(default), base, state["link-scope"]))
    if key in problems and written(state[key]) != base:
        del problems[key]
    elif key in problems:
        warn(problems[key])
    return changed


def warn(problem: str) -> None:
    """Say above the page what of its address cannot be used; a fragment that runs by itself leaves what stands there."""
    if st.session_state["link-problems-place"]:
        st.session_state["link-problems-place"].warning(escape_markdown(problem))


def give(key: str, value: Any, *, again: bool = True) -> None:
    """Set the value of a widget before it is drawn. again: also in the next run, where this one is cut short and the browser
    says what the widget had before."""
    state = st.session_state
    if again:
        state.setdefault("links-cut", {})[key] = state.get(key), value
    state[key] = value
    state.setdefault("links-given", set()).add(key)


def _give_again() -> None:
    """A run that gave widgets their values may have been cut short: the browser may not know of them."""
    state = st.session_state
    cut: dict[str, tuple[Any, Any]] = state.get("links-cut", {})
    for key in state.get("links-given", ()):
        if key in cut and state.get(key) == cut[key][0]:
            state[key] = cut[key][1]
        elif key in state:
            state[key] = state[key]


def write_url(param: str, key: str, text: str | None) -> None:
    """The address says `?param=text`, or nothing for None, whatever the session holds."""
    texts: Texts = {} if text is None else {param: text}
    _register(_Link((param,), key, lambda: texts, {}, {}, st.session_state["link-scope"]))


def insist(texts: Texts, params: tuple[str, ...]) -> None:
    """These parameters of the address say this where the browser names an address of before, as one that lags does. Back, Forward
    and addresses that are new here still win."""
    if not _from_history() and st.query_params.to_dict() in st.session_state["urls-before"]:
        for param in params:
            if texts.get(param) != st.query_params.get(param):
                if param in texts:
                    st.query_params[param] = texts[param]
                else:
                    del st.query_params[param]


def set_address(query: Texts) -> None:
    """The page that is drawn next has this address, as if somebody had followed a link within the page."""
    st.query_params.from_dict(query)
    st.session_state["url-sent"] = float("-inf")  # also where the browser had this one a moment ago


def _register(link: _Link) -> None:
    if "links" in st.session_state:  # a fragment that is not a `linked_fragment` cannot say anything by itself
        st.session_state["links"][link.params] = link


def choose_view(page: Page, start: str | None = None) -> str:
    """Draw the title of a page, the row of its views and what the chosen one asks; returns that view.

    start: where the address names no view; by default the one that was left, or the first.
    """
    state, views = st.session_state, list(page.views)
    left: dict[str, str] = state.setdefault("views-left", {})
    if state.get("view-visit") != state["visit"]:
        state["view-visit"], state["view"] = state["visit"], left.get(page.name, views[0])
    keep = None if start is None else False
    linked("view", "view", one_of(views, "view"), start or views[0], keep=keep, options=views)
    page_title(page.title)
    view = str(st.segmented_control("View", views, required=True, key="view", label_visibility="collapsed"))
    left[page.name] = view
    st.markdown(page.views[view])
    return view


def linked_flag(param: str, key: str, default: bool = False) -> None:
    """`linked` for a toggle or a fold: `?param=1` or `?param=0`."""
    linked(param, key, lambda text: one_of("01", param)(text) == "1", default, write=lambda on: str(int(bool(on))))


def _from_history() -> bool:
    """Whether somebody pressed Back or Forward."""
    return bool(getattr(get_script_run_ctx(), "is_history_navigation", False))


def _connection() -> str:
    """Another one once the browser had to connect again."""
    return st.context.headers.get("Sec-WebSocket-Key", "")


def _late(here: dict[str, str]) -> bool:
    """Whether an address that the browser had before comes from one that has not heard of the newer ones: they were just sent,
    or its connection broke since, or somebody has changed something with it, which a link within the page does not. A busy
    browser takes its time."""
    state = st.session_state
    if here == state["urls-before"][-1] and time.monotonic() - state["url-sent"] < LATE_S:
        return True
    if state["url-connection"] != _connection():
        return True
    links: dict[tuple[str, ...], _Link] = state["links-before"]
    said: dict[tuple[str, ...], Texts] = state.get("links-said", {})
    return any(params in said and link.texts() != said[params] for params, link in links.items())


def _in_address(params: tuple[str, ...]) -> Texts:
    return {param: st.query_params[param] for param in params if param in st.query_params}


def _send(scope: str = "", *, say: bool = True, again: bool = False) -> None:
    """Let the address follow what is linked, in one message, and offer it as a link. scope: a fragment that ran by itself.
    again: also what the address says already."""
    state, query = st.session_state, st.query_params
    links: dict[tuple[str, ...], _Link] = state["links"]
    before: dict[tuple[str, ...], _Link] = state["links-before"]
    gone = [link for params, link in before.items() if params not in links and scope in ("", link.scope)]
    wanted: dict[str, str | None] = {param: None for link in gone for param in link.params}
    for link in links.values():
        texts = link.texts()
        silent = texts == link.base and texts != _in_address(link.params)
        wanted |= {param: None if silent else texts.get(param) for param in link.params}
    changed = {param: text for param, text in wanted.items() if text != query.get(param)} if say else {}
    if changed or (say and again):
        query.update({param: [] if text is None else text for param, text in changed.items()})
    for param in (param for param, text in changed.items() if text is None):
        del query[param]  # the address is without it already
    for link in (*gone, *links.values()):
        visit, entered, _, kept = state.get(f"{link.key}-from-url", (None, 0, {}, ()))
        state[f"{link.key}-from-url"] = (visit, entered, _in_address(link.params), kept)
    others = {params: link for params, link in before.items() if link not in gone} if scope else {}
    state["links-before"], state["links-cut"] = others | links, {}
    if query.to_dict() != state["url"]:
        state["urls-before"] = [*state["urls-before"], state["url"]][-MOST_UNHEARD:]
        state["url"], state["url-sent"], state["url-connection"] = query.to_dict(), time.monotonic(), _connection()
    state["links-said"] = {params: link.texts() for params, link in state["links-before"].items()}
    if not scope:
        state["links-given"] = set()
        state["link-arrival"], state["url-entered"] = "", None
    offer_link(_unsent(state["links-before"].values()))


def _unsent(links: Iterable[_Link]) -> Texts:
    """What the address may not say yet. A default is left out, but one that the address names stays in it."""
    found: dict[str, str] = {}
    for texts, default in ((link.texts(), link.default) for link in links):
        found |= {} if texts == default else texts
    return found
