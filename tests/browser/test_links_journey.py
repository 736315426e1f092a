"""Back and Forward over five pages, and a link that is copied and opened by somebody else."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from core.jobs import RunStore
from core.regularization.kind import STUDY
from core.regularization.study import StudyConfig
from tests.browser.lab import Lab
from tests.browser.steps import answer, enter, press, view

pytestmark = pytest.mark.alone

SIZE = "size-shipped-example"


def go(page: Page, name: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()


def arrived(page: Page, address: str) -> None:
    """The page of this address is drawn. Streamlit itself loses its way where Back is pressed again before that."""
    expect(page).to_have_url(re.compile(address))
    title = address.strip("/").partition("?")[0].strip("\\$").capitalize()
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    page.wait_for_timeout(300)  # until the run has begun
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    expect(page).to_have_url(re.compile(address))


def test_back_and_forward_restore_every_step(page: Page, lab: Lab) -> None:
    run_id = RunStore(lab.home / "runs").create(StudyConfig(), "Mine", kind=STUDY.name)
    page.goto("/")
    expect(page.get_by_text("in the background")).to_have_count(0, timeout=60_000)  # whose end draws the page again
    go(page, "Images")
    press(page, "example-ship")
    expect(page).to_have_url(re.compile(r"/images\?example=ship$"))
    page.get_by_role("link", name=re.compile("^Why ")).click()
    expect(page.get_by_role("heading", name=re.compile("^Why ship"))).to_be_visible()
    view(page, "Cover by hand")
    expect(page).to_have_url(re.compile("view=Cover.by.hand"))
    go(page, "Regularization")
    page.locator(f".st-key-{SIZE}").get_by_role("radio").nth(1).click()
    expect(page).to_have_url(re.compile(r"/regularization\?size=\d+$"))  # at once, though a fragment ran alone
    go(page, "Runs")
    page.locator(".st-key-runs-columns").get_by_text("All columns").click()
    expect(page).to_have_url(re.compile(r"/runs\?columns=1$"))
    go(page, "Compression")
    steps = [
        r"/runs\?columns=1$",
        "/runs$",
        r"/regularization\?size=\d+$",
        "/regularization$",
        r"/attribution\?view=Cover.by.hand&checkpoint=\w+&example=ship$",
        r"/attribution\?view=Explain&checkpoint=\w+&example=ship$",
        r"/images\?example=ship$",
        "/images$",
    ]
    for step in steps:
        page.go_back()
        arrived(page, step)
    expect(page.locator(".st-key-example-ship")).to_be_visible()
    for step in reversed(steps[:-1]):
        page.go_forward()
        arrived(page, step)
        if "/images" in step:
            expect(answer(page)).to_be_visible()
    # To a run and back: one step, though the page behind the table's link is another one.
    page.goto(f"/runs?runs={run_id}")
    expect(page.locator(".st-key-open")).to_be_visible()
    length = page.evaluate("history.length")
    press(page, "open")
    expect(page).to_have_url(re.compile(rf"/regularization\?view=Studies&study={run_id}$"))
    assert page.evaluate("history.length") == length + 1
    page.go_back()
    expect(page).to_have_url(re.compile(rf"/runs\?runs={run_id}$"))


def test_changed_settings_are_steps_back_and_a_link(page: Page, browser: Browser, lab: Lab) -> None:
    epochs, seed = (f"{name}-simple_cnn-quick" for name in ("epochs", "seed"))
    page.goto("/images?view=Train")
    enter(page, epochs, "5")
    expect(page).to_have_url(re.compile("set=.*epochs"))
    enter(page, seed, "7")
    expect(page).to_have_url(re.compile("set=.*seed"))
    stranger = browser.new_context().new_page()
    stranger.goto(page.url)
    for key, value in ((epochs, "5"), (seed, "7")):
        expect(stranger.locator(f".st-key-{key} input")).to_have_value(value)
    stranger.context.close()
    page.go_back()
    expect(page.locator(f".st-key-{seed} input")).to_have_value("0")
    expect(page.locator(f".st-key-{epochs} input")).to_have_value("5")


def test_a_copied_link_opens_the_same_answer(page: Page, context: BrowserContext, browser: Browser, lab: Lab) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/regularization")
    page.locator(f".st-key-{SIZE}").get_by_role("radio").nth(1).click()
    said = page.get_by_role("heading", level=2)
    expect(page).to_have_url(re.compile(r"\?size=\d+$"))
    page.get_by_role("button", name="Copy link").click()
    page.get_by_test_id("stCode").hover()
    page.get_by_test_id("stCode").get_by_role("button").click()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url
    stranger = browser.new_context().new_page()
    stranger.goto(link)
    expect(stranger.get_by_role("heading", level=2)).to_have_text(said.inner_text())
    stranger.context.close()


def test_a_wrong_address_says_so_and_leads_home(page: Page) -> None:
    page.goto("/nonsense")
    expect(page.get_by_text("There is no page at /nonsense")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_test_id("stMain").get_by_role("link", name="Home").click()
    expect(page.get_by_role("heading", name="Bottleneck Lab")).to_be_visible(timeout=30_000)
