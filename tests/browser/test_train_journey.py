"""Train on a folder of images, leave, come back, stop, resume, lose the worker, and classify with what was trained."""

from __future__ import annotations

import re
import time
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect

from core.jobs import RunStore
from tests.browser.lab import Lab
from tests.browser.steps import answer, badge, choose, circle, enter, metric, press, run_id, upload

pytestmark = pytest.mark.alone

EPOCHS = "5000"
"""Two steps each: minutes of work, so that the run is still under way at every step of the journey."""
MEASURED_MS = 120_000


def start_run(page: Page, folder: Path, name: str, epochs: str = EPOCHS) -> str:
    """Fill in the form and start; returns the run's id."""
    page.goto("/images?view=Train")
    choose(page, "model", "Simple CNN")
    choose(page, "dataset", "A folder of mine")
    enter(page, "folder", str(folder))
    expect(
        page.get_by_text(re.compile(r"Suggested for \d+ training images"))
    ).to_be_visible()  # fills the next field anew
    enter(page, "epochs-simple_cnn-quick", epochs)
    page.get_by_text("Advanced", exact=True).click()
    enter(page, "run-name", name)
    press(page, "start")
    return run_id(page)


def goes_on(page: Page, runs: RunStore, run_id: str) -> None:
    """Wait until it has done more steps."""
    before, deadline = runs.get(run_id).step, time.monotonic() + 60
    while runs.get(run_id).step <= before:
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def test_train_leave_return_stop_resume_and_classify(page: Page, lab: Lab, tiny_dataset_folder: Path) -> None:
    started = start_run(page, tiny_dataset_folder, "Shapes")
    runs = RunStore(lab.home / "runs")
    badge(page, "Running")
    expect(metric(page, "Best validation")).to_have_text(re.compile(r"^\d+\.\d%$"), timeout=MEASURED_MS)
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    address = page.url

    # Close the tab; the run goes on, and a new tab finds it by its address.
    page.goto("about:blank")
    left_at = runs.get(started).step
    page.goto(address)
    badge(page, "Running")
    expect(page.get_by_role("heading", name=re.compile("^Shapes"))).to_be_visible()
    assert runs.get(started).step > left_at

    press(page, "stop")
    badge(page, "Stopped")
    stopped = runs.get(started)
    assert stopped.status == "stopped"
    assert stopped.resumable
    assert not psutil.wait_procs(lab.workers(), timeout=20)[1], "a stopped run's worker must end"

    # A stopped run is where it was after the server came back.
    page.goto("about:blank")
    lab.stop()
    lab.start()
    page.goto(address)
    badge(page, "Stopped")
    assert runs.get(started).step == stopped.step

    press(page, "resume")
    badge(page, "Running")
    goes_on(page, runs, started)

    # The worker dies without a word: the page says so and offers to go on.
    for worker in lab.workers():
        worker.kill()
    psutil.wait_procs(lab.workers(), timeout=10)
    badge(page, "Interrupted")
    press(page, "resume")
    badge(page, "Running")
    goes_on(page, runs, started)
    press(page, "stop")
    badge(page, "Stopped")
    assert runs.get(started).step >= stopped.step
    steps = [row["step"] for row in runs.metrics(started) if row["kind"] == "eval"]
    assert steps == sorted(set(steps)), "no evaluation may be lost or written twice"

    press(page, "use")
    upload(page, "circle.png", "image/png", circle())
    expect(answer(page)).to_have_text(re.compile("circle|cross|square"))

    page.goto("/runs")
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()


def test_a_second_run_waits_its_turn(page: Page, lab: Lab, tiny_dataset_folder: Path) -> None:
    first = start_run(page, tiny_dataset_folder, "First")
    badge(page, "Running")
    second = start_run(page, tiny_dataset_folder, "Second", epochs="2")
    badge(page, "Queued")
    expect(page.get_by_text("place 1").first).to_be_visible()
    page.goto(f"/images?view=Train&run={first}")
    press(page, "stop")
    badge(page, "Stopped")
    page.goto(f"/images?view=Train&run={second}")
    badge(page, "Finished")
    assert RunStore(lab.home / "runs").get(second).status == "finished"
