"""Explore the study that ships; start one, leave, come back, stop it; read the verdict of one, and use a network of it."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect

from core.jobs import RunStore
from core.regularization.kind import STUDY
from core.regularization.study import StudyConfig
from tests.browser.lab import Lab
from tests.browser.steps import answer, badge, choose, circle, enter, press, run_id, upload
from tests.unit.in_process import finish

pytestmark = pytest.mark.alone

VERDICT = re.compile("helps|hurts|within seed noise")


def table(page: Page):
    """The table of arms, in its expander."""
    return page.get_by_test_id("stTable").first


def test_the_example_is_there_without_any_training(page: Page) -> None:
    page.goto("/regularization")
    expect(page.get_by_role("heading", name=re.compile("^With 500 images .* helps most: "))).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_have_count(1)
    page.get_by_text("All arms", exact=True).click()
    first = table(page).inner_text()
    assert VERDICT.search(first)
    page.get_by_text("Curves, classes, files", exact=True).click()
    expect(page.locator(".js-plotly-plot").nth(3)).to_be_visible()  # the small multiples
    page.get_by_role("radio", name="5,000").click()
    expect(table(page)).not_to_have_text(first)
    for tab in ("Training images", "Strength", "Classes", "Files"):
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        shown = page.get_by_role("button", name="Download") if tab == "Files" else page.locator(".js-plotly-plot").last
        expect(shown.first).to_be_visible()


def test_start_a_study_leave_return_and_stop_it(page: Page, lab: Lab, tiny_dataset_folder: Path) -> None:
    page.goto("/regularization?view=New+study")
    choose(page, "dataset", "A folder of mine")
    enter(page, "folder", str(tiny_dataset_folder))
    enter(page, "study-sizes", "60")
    enter(page, "study-seeds", "2")
    page.get_by_text("Advanced", exact=True).click()
    enter(page, "study-name", "Shapes compared")
    enter(page, "study-steps", "9000")
    expect(page.get_by_text("10 runs")).to_be_visible()
    press(page, "start-study")
    study = run_id(page, "study")
    badge(page, "Running")
    address = page.url

    # Close the tab; the study goes on, and a new tab finds it by its address.
    page.goto("about:blank")
    page.goto(address)
    badge(page, "Running")
    press(page, "stop")
    badge(page, "Stopped")
    expect(page.locator(".st-key-resume").get_by_role("button")).to_be_enabled()
    assert RunStore(lab.home / "runs").get(study).resumable
    assert not psutil.wait_procs(lab.workers(), timeout=20)[1], "a study that was stopped leaves no process behind"


def test_read_a_verdict_and_use_what_a_study_trained(page: Page, lab: Lab, tiny_dataset_folder: Path) -> None:
    config = StudyConfig(
        dataset=f"folder:{tiny_dataset_folder}",
        arms=("none", "dropout=0.3"),
        train_sizes=(60,),
        seeds=2,
        steps=100,
        batch_size=16,
        evaluations=2,
        device="cpu",
    )
    store = RunStore(lab.home / "runs")
    study = store.create(config, "Shapes in 100 steps", kind=STUDY.name)
    assert finish(store, study).status == "finished"
    page.goto(f"/regularization?study={study}")
    badge(page, "Finished")
    page.get_by_text("All arms", exact=True).click()
    expect(table(page)).to_contain_text(VERDICT)
    page.get_by_text("Curves, classes, files", exact=True).click()
    page.get_by_role("tab", name="Checkpoints").click()
    page.get_by_role("link", name="No regularization").first.click()
    upload(page, "circle.png", "image/png", circle())
    expect(answer(page)).to_have_text(re.compile("circle"))

    page.goto("/runs")
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
