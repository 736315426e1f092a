"""An address and a widget that carry the same choice."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from pages.shared import url
from tests.app.conftest import rerun


def script() -> None:
    import streamlit as st

    from core.common.errors import LabError
    from pages.shared.url import linked, set_address, visit

    def parse(text: str) -> int:
        if not text.isdecimal():
            raise LabError(f"{text} is no number: choose one below.")
        return int(text)

    with visit(st.query_params.get("page", "")):
        won = linked("n", "number", parse, 0, write=lambda value: None if value == 99 else str(value))
        if st.session_state.pop("cut", False):
            st.stop()
        value = st.number_input("Number", 0, 99, key="number")
        st.caption(f"{value} {won}")
        if st.button("Back to all"):
            set_address({})
            st.rerun()


def opened(**query: str) -> AppTest:
    at = AppTest.from_function(script)
    at.query_params.update(query)
    rerun(at)
    return at


def address(at: AppTest) -> str | None:
    """What `?n=` says now; Streamlit's tester keeps what a run wrote as a list."""
    found = at.query_params.get("n")
    return found[0] if isinstance(found, list) else found


@pytest.mark.parametrize(("query", "shown", "left"), [({}, "0 False", None), ({"n": "7"}, "7 True", "7")])
def test_a_link_opens_with_its_choice(query: dict[str, str], shown: str, left: str | None) -> None:
    at = opened(**query)
    assert at.caption[0].value == shown
    assert address(at) == left


def test_the_address_follows_the_widget_and_wins_again_when_it_changes() -> None:
    at = opened(n="7")
    at.number_input[0].set_value(8).run()
    assert (at.caption[0].value, address(at)) == ("8 False", "8")
    at.number_input[0].set_value(0).run()
    assert address(at) is None
    at.query_params["n"] = "7"  # the link of before once more
    at.run()
    assert (at.caption[0].value, address(at)) == ("7 True", "7")


def test_back_to_an_address_without_the_choice_is_back_to_the_default() -> None:
    at = opened(n="7")
    at.number_input[0].set_value(8).run()
    del at.query_params["n"]
    at.run()
    assert (at.caption[0].value, address(at)) == ("0 True", None)
    at.number_input[0].set_value(9).run()
    assert (at.caption[0].value, address(at)) == ("9 False", "9")


def test_back_keeps_what_no_address_can_carry() -> None:
    at = opened()
    at.number_input[0].set_value(8).run()
    at.number_input[0].set_value(99).run()
    assert address(at) is None
    at.query_params["other"] = "1"  # Back or Forward to an address that says nothing of it either
    at.run()
    assert at.number_input[0].value == 99
    at.query_params["n"] = "8"
    at.run()
    assert at.number_input[0].value == 8


@pytest.mark.parametrize("number", [8, 99])
def test_back_over_an_address_that_said_the_choice_leads_to_what_was_before(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Back twice in quick succession: the address between is never seen. What no address can carry stays."""
    at = opened()
    at.number_input[0].set_value(5).run()
    at.query_params.clear()
    at.query_params["page"] = "other"
    at.number_input[0].set_value(number).run()
    at.number_input[0].set_value(number).run()
    assert address(at) == (None if number == 99 else str(number))
    monkeypatch.setattr(url, "_from_history", lambda: True)
    at.query_params.clear()
    at.run()
    assert (at.number_input[0].value, address(at)) == (99 if number == 99 else 0, None)


def test_back_to_a_bare_page_shows_what_it_kept_when_somebody_came_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    at = opened(page="other")
    at.number_input[0].set_value(8).run()
    at.query_params.clear()
    at.run()
    assert (at.number_input[0].value, address(at)) == (8, None)
    at.query_params.update({"page": "other", "n": "8"})
    at.run()
    monkeypatch.setattr(url, "_from_history", lambda: True)
    at.query_params.clear()
    at.run()
    assert (at.number_input[0].value, address(at)) == (8, None)


def test_an_address_that_the_browser_had_before_it_heard_of_the_new_one_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(url, "LATE_S", 60.0)
    at = opened()
    at.number_input[0].set_value(8).run()
    del at.query_params["n"]  # of a click in the moment before
    at.run()
    assert (at.caption[0].value, address(at)) == ("8 False", "8")
    at.button[0].click().run()  # as soon, but by a button of the page
    assert (at.caption[0].value, address(at)) == ("0 True", None)
    at.number_input[0].set_value(8).run()
    at.session_state["url-sent"] = float("-inf")
    del at.query_params["n"]  # later it is a link within the page
    at.run()
    assert (at.caption[0].value, address(at)) == ("0 True", None)


def test_who_changes_something_is_not_following_a_link_however_late_the_address() -> None:
    """A busy browser may do two things, or three, before it hears of an address."""
    at = opened(n="7")
    for number in (8, 9, 5):
        at.query_params["n"] = "7"
        at.number_input[0].set_value(number).run()
        assert (at.caption[0].value, address(at)) == (f"{number} False", str(number))
    at.query_params["n"] = "8"  # heard of some
    at.number_input[0].set_value(6).run()
    assert (at.caption[0].value, address(at)) == ("6 False", "6")
    at.run()  # and of all
    at.query_params["n"] = "8"  # a link within the page, or an address by hand
    at.run()
    assert (at.caption[0].value, address(at)) == ("8 True", "8")


def test_a_value_that_a_run_gave_before_it_was_cut_short_is_given_again() -> None:
    at = opened()
    at.query_params["n"] = "7"
    at.session_state["cut"] = True
    at.run()
    assert not at.number_input
    at.session_state["number"] = 0  # what a browser says that has not heard of the value
    at.run()
    assert (at.number_input[0].value, address(at)) == (7, "7")


def test_the_first_run_of_another_page_leaves_the_address_alone() -> None:
    """The browser may still be on its way there."""
    at = opened()
    at.number_input[0].set_value(8)
    at.query_params["page"] = "other"
    at.run()
    assert address(at) is None
    at.number_input[0].set_value(9).run()
    assert address(at) == "9"


def test_a_link_that_says_nonsense_is_left_out_with_a_warning() -> None:
    at = opened(n="*seven*")
    assert at.caption[0].value == "0 False"
    assert "is no number" in at.warning[0].value
    assert "*seven*" not in at.warning[0].value  # escaped: no Markdown
    assert address(at) is None
