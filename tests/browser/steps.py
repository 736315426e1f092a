"""What a person does on these pages, by the keys that the pages give their widgets."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
from playwright.sync_api import Locator, Page, TimeoutError, expect

from tests.tiny import draw

ANSWER = re.compile(r"\w+ · <?>?\s?\d+(\.\d+)?\s?%")
"""The line that names a class and its probability."""


def upload(page: Page, name: str, mime: str, data: bytes, key: str = "upload") -> None:
    """Choose a file in an upload box; by default in that of images."""
    file: Any = {"name": name, "mimeType": mime, "buffer": data}
    page.locator(f".st-key-{key} input[type=file]").set_input_files(file)


def answer(page: Page) -> Locator:
    return page.get_by_role("heading", name=ANSWER)


def choose(page: Page, key: str, option: str) -> None:
    """Pick an option of a select box. What was entered just before may draw the page again, which closes the list."""
    for timeout_ms in (3_000, 10_000, 30_000):
        page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
        page.locator(f".st-key-{key}").get_by_role("combobox").click()
        try:
            page.get_by_role("option", name=option, exact=True).click(timeout=timeout_ms)
            return
        except TimeoutError:
            page.keyboard.press("Escape")
    raise AssertionError(f"{key} does not offer {option}")


def enter(page: Page, key: str, text: str) -> None:
    """Type into a text or number field and leave it."""
    field = page.locator(f".st-key-{key} input")
    field.fill(text)
    field.press("Tab")


def press(page: Page, key: str) -> None:
    page.locator(f".st-key-{key}").get_by_role("button").click()


def view(page: Page, name: str) -> None:
    """Choose a view of the page in the row under its title."""
    page.locator(".st-key-view").get_by_role("radio", name=name, exact=True).click()


def written(page: Page, key: str = "verse") -> Locator:
    """The characters of a written text, one element each."""
    return page.locator(f".st-key-{key} .verse-body span")


def text_of(page: Page, key: str = "verse") -> str:
    """What was written, as it stands on the page now."""
    return page.locator(f".st-key-{key} .verse-body").evaluate("body => body.textContent")


def metric(page: Page, label: str) -> Locator:
    """The value under a metric's label."""
    return page.get_by_test_id("stMetric").filter(has_text=label).get_by_test_id("stMetricValue")


def run_id(page: Page, param: str = "run") -> str:
    """The run that the address names. param: `study` where it is one."""
    named = re.compile(rf"[?&]{param}=([A-Za-z0-9_-]+)")
    expect(page).to_have_url(named)
    found = named.search(page.url)
    assert found
    return found.group(1)


def badge(page: Page, text: str, timeout_ms: float = 60_000) -> None:
    """Wait until the page shows this state of the run."""
    expect(page.get_by_test_id("stMain").locator(".stMarkdownBadge")).to_have_text(
        re.compile(rf"{text}$"), timeout=timeout_ms
    )


def settled(page: Page) -> None:
    """Wait until the page is drawn."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()


def no_overflow(page: Page) -> None:
    """Once the page is drawn and its tables and figures have taken the new width, it is no wider than the screen."""
    settled(page)
    wider = 0
    for pause_ms in (0, 500, 2000):
        page.wait_for_timeout(pause_ms)
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wider <= 0:
            return
    raise AssertionError(f"the page is {wider} pixels wider than the screen")


def circle() -> bytes:
    """An image of a circle, one of the classes of the tiny dataset, as a PNG."""
    buffer = io.BytesIO()
    draw("circle", np.random.default_rng(99)).save(buffer, "PNG")
    return buffer.getvalue()
