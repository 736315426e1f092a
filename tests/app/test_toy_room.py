"""A room from elsewhere is on Home, has a page with form, list, live view, Stop and Resume, and its runs are on Runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.jobs import LocalEngine, Run, RunStore
from pages.shared.registry import sections
from pages.shared.resources import forget_runs
from tests import toy_room
from tests.app.conftest import ROOT, Open, arrive, click, rerun, texts, wait_for
from tests.app.studies import progress
from tests.toy_room import COUNT, CountConfig

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def room(_alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_ROOMS", " tests.toy_room ,")


def wait_until(reached: Callable[[Run], bool]) -> Run:
    """The only run, once it is so far."""
    (run,) = RunStore().list()
    wait_for(lambda: reached(LocalEngine().state(run.id)))
    forget_runs()
    return RunStore().get(run.id)


def links(at: AppTest) -> list[tuple[str, str]]:
    return [(link.proto.page, link.proto.query_string) for link in at.get("page_link")]


def test_no_file_of_the_lab_knows_the_room() -> None:
    files = [path for folder in ("core", "pages", "scripts") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    assert not [path for path in files if "toy_room" in path.read_text()]
    assert Path(toy_room.__file__).parent == ROOT / "tests"


def test_the_room_is_in_the_navigation_and_on_home(open_page: Open) -> None:
    assert ("toy", "") in links(open_page("home"))
    assert [page.name for page in sections()["Trust"]] == ["attribution", "attention", "features", "toy"]
    at = open_page("toy", view="Counts")
    assert at.title[0].value == "Toy"
    assert "There are no counts here yet. New count starts one." in texts(at)


def test_a_value_out_of_range_is_one_sentence(open_page: Open) -> None:
    at = open_page("toy")
    rerun(at.number_input(key="count-steps").set_value(0))
    assert len(at.error) == 1


def test_a_job_is_started_stopped_resumed_and_found_again(open_page: Open) -> None:
    at = open_page("toy")
    at.number_input(key="count-steps").set_value(40)
    at.number_input(key="count-step_s").set_value(0.05)
    click(at, "start-count")
    run = wait_until(lambda run: run.step >= 2)
    assert at.segmented_control(key="view").value == "Counts"
    assert (run.config, at.query_params["count"]) == (CountConfig(steps=40, step_s=0.05), run.id)

    click(at.run(), "stop")
    run = wait_until(lambda run: not run.active)
    assert run.status == "stopped"
    at.run()
    assert f"step {run.step} of 40" in progress(at)
    assert list(at.table[0].value["Square"]) == [number * number for number in range(1, run.step + 1)]

    assert at.button(key="resume").label == "Resume"
    click(at, "resume")
    run = wait_until(lambda run: not run.active)
    assert run.status == "finished"
    assert "Counted to 40." in texts(at.run())
    assert len(at.table[0].value) == 40
    click(at, "all-counts")
    assert links(at)[-1] == ("toy", f"view=Counts&count={run.id}")
    assert not at.table


def test_a_run_of_the_room_is_on_runs_and_opens_on_its_page(open_page: Open) -> None:
    run_id = RunStore().create(CountConfig(), "Mine", kind=COUNT.name)
    at = open_page("runs")
    assert list(at.dataframe[0].value["Name"]) == ["Mine"]
    for key in ("", "open"):
        at.session_state[at.dataframe[0].key] = {"selection": {"rows": [0], "columns": [], "cells": []}}
        at = arrive(click(at, key)) if key else rerun(at)
    assert (at.title[0].value, at.query_params["count"]) == ("Toy", run_id)
    assert at.button(key="resume").label == "Start"
