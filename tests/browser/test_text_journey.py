"""Train on a text of one's own, let the model write, stop it, change a character, and compare."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Dialog, Page, expect

from core.models import MODELS
from pages.shared.dataset_field import TEXT_FILE
from tests.browser.lab import Lab
from tests.browser.steps import badge, choose, enter, metric, no_overflow, press, run_id, text_of, upload, view, written
from tests.tiny_text import play

pytestmark = pytest.mark.alone

NAMES = {"↵ new line": "\n", "␣ space": " ", "⇥ tab": "\t"}
"""How the page names characters that cannot be seen."""
HOSTILE = "<img src=x onerror=\"document.title='pwned'\"> **ANNA** [x](//evil.example)"
SMALL = {"epochs": "4", "batch_size": "8", "window": "32", "eval_every": "1"}


def train(page: Page, name: str) -> str:
    """Train a small network on an uploaded play until it is finished; returns the run's id."""
    page.goto("/text")
    expect(page.get_by_role("heading", name="Text", exact=True)).to_be_visible()
    view(page, "Train")
    choose(page, "text-model", MODELS["char_rnn"].title)
    choose(page, "text-dataset", TEXT_FILE)
    expect(page.get_by_test_id("stAlert").first).to_contain_text("Choose a text file")
    expect(page.locator(".st-key-start").get_by_role("button")).to_be_disabled()
    upload(page, "short.txt", "text/plain", b"abc", "text-upload")
    expect(page.get_by_test_id("stAlert").first).to_contain_text("short.txt has 3 characters")
    upload(page, "play.txt", "text/plain", play(6_000).encode(), "text-upload")
    expect(page.locator(".st-key-start").get_by_role("button")).to_be_enabled()
    page.get_by_text("Advanced", exact=True).click()
    enter(page, "run-name", name)
    for group in ("Data and speed", "Evaluation and saving"):
        page.get_by_text(group).click()
    for field, value in SMALL.items():
        enter(page, f"{field}-char_rnn-quick", value)
    press(page, "start")
    started = run_id(page)
    badge(page, "Finished", 120_000)
    return started


def write(page: Page, *, length: int, pace: str, prompt: str) -> None:
    """Fill in the form of Write and press its button."""
    if not page.locator(".st-key-write-length input").is_visible():
        page.get_by_text("More settings", exact=True).click()
    enter(page, "write-length", str(length))
    page.locator(".st-key-write-pace").get_by_role("radio", name=pace).click()
    page.locator(".st-key-prompt textarea").fill(prompt)
    page.locator(".st-key-prompt textarea").press("Control+Enter")
    press(page, "write")
    expect(page.locator(".st-key-verse .verse-prompt")).to_have_text(prompt, use_inner_text=False)


def stop(page: Page) -> str:
    """Stop a text and return it; it may grow no more."""
    press(page, "stop-writing")
    expect(page.locator(".st-key-continue")).to_be_visible()
    text = text_of(page)
    page.wait_for_timeout(1000)
    assert text_of(page) == text
    return text


@pytest.fixture
def poet(page: Page, lab: Lab) -> str:
    return train(page, "Poet")


def test_train_on_a_text_write_stop_branch_and_compare(page: Page, poet: str, context: BrowserContext) -> None:
    dialogs: list[Dialog] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog), dialog.dismiss()))
    expect(metric(page, "Best val. (nats)")).to_have_text(re.compile(r"^\d\.\d{3}$"))
    expect(metric(page, "In bits")).to_have_text(re.compile(r"^\d\.\d\d$"))
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    expect(page.get_by_test_id("stText")).to_have_text(re.compile(r"\S"))

    # From the run to writing. What is typed is shown as it is and runs nothing.
    press(page, "use")
    expect(page.locator(".st-key-checkpoint").get_by_role("combobox")).to_have_value(re.compile("^Poet"))
    write(page, length=20_000, pace="To read along", prompt=HOSTILE)
    expect(written(page).nth(20)).to_be_attached()
    expect(written(page).nth(60)).to_be_attached()
    text = stop(page)
    assert 60 < len(text) < 20_000
    assert page.locator(".st-key-verse .verse-text").locator("img, a, b, strong").count() == 0
    assert not dialogs
    assert page.title() != "pwned"
    expect(page.get_by_text("reads them as others")).to_be_visible()

    # Another character in place of the sixth: what stands before it stays.
    written(page).nth(5).click()
    options = page.locator(".st-key-verse .verse-options button")
    expect(options).to_have_count(5)
    other = options.and_(page.locator(":enabled")).first
    name = other.locator(".verse-name").inner_text()
    other.click()
    expect(page.locator(".st-key-stop-writing")).to_be_visible()
    expect(written(page).nth(30)).to_be_attached()
    branched = stop(page)
    assert branched[:6] == text[:5] + NAMES.get(name, name)
    press(page, "undo")
    expect(page.locator(".st-key-verse .verse-body")).to_have_text(text, use_inner_text=False)

    # Keys go from character to character, and the text can be taken along.
    page.locator(".st-key-verse .verse-text").press("ArrowLeft")
    expect(written(page).last).to_have_class(re.compile("pinned"))
    expect(page.locator(".st-key-verse .verse-line")).to_contain_text("surprise")
    page.locator(".st-key-verse .verse-text").press("Escape")
    expect(page.locator(".st-key-verse .verse-line")).to_have_count(0)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy text").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == HOSTILE + text

    # A short text, and another one with the next seed, which the form then shows.
    write(page, length=30, pace="As fast as it can", prompt="ANNA:\n")
    expect(written(page)).to_have_count(30)
    expect(page.locator(".st-key-reseed")).to_be_visible()
    press(page, "reseed")
    expect(page.locator(".st-key-write-seed input")).to_have_value("1")
    expect(written(page)).to_have_count(30)
    press(page, "continue")
    expect(written(page)).to_have_count(60)
    expect(page.locator(".st-key-write-seed input")).to_have_value("1")

    view(page, "Side by side")
    page.get_by_text("Prompt and settings", exact=True).click()
    expect(page.locator(".st-key-prompt textarea")).to_have_value("ANNA:\n")
    enter(page, "pair-length", "50")
    press(page, "write-both")
    for key in ("verse-0", "verse-1"):
        expect(written(page, key)).to_have_count(50)
    expect(page.get_by_text("bits per character by the model's own count")).to_have_count(2)

    # What was written is still there, on a narrow screen too.
    page.set_viewport_size({"width": 390, "height": 844})
    for name, key, count in (("Write", "verse", 60), ("Side by side", "verse-0", 50)):
        view(page, name)
        expect(written(page, key)).to_have_count(count)
        no_overflow(page)
