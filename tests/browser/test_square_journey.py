"""Drag the square of a photo from one thing to another, by pointer and by keys, and the answer follows."""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from pages.shared.examples import examples
from tests.browser.steps import answer, no_overflow, upload


def car_and_ship() -> bytes:
    """A car on the left half, a ship on the right."""
    halves = [np.array(Image.open(io.BytesIO(examples()[name])).convert("RGB")) for name in ("car", "ship")]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(halves, axis=1)).save(buffer, "PNG")
    return buffer.getvalue()


def says(page: Page, what: str) -> None:
    expect(page.get_by_role("heading", name=re.compile(rf"\b{what} · "))).to_be_visible()
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()


def drag(page: Page, share: float) -> None:
    """Move the square by that share of the photo's width; it is taken at its middle."""
    box, photo = (page.locator(f".st-key-photo-square .square-{name}").bounding_box() for name in ("box", "photo"))
    assert box
    assert photo
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + share * photo["width"], y, steps=6)
    page.mouse.up()


def test_the_answer_follows_the_square(page: Page) -> None:
    page.goto("/images")
    upload(page, "two.png", "image/png", car_and_ship())
    square = page.get_by_role("application", name="What the model sees")
    square.wait_for()
    expect(page.get_by_role("button", name="Central square")).to_be_disabled()
    expect(answer(page)).to_be_visible(timeout=60_000)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    square.scroll_into_view_if_needed()
    drag(page, -0.5)
    says(page, "automobile")
    expect(page).to_have_url(re.compile(r"[?&]square=0%2C0%2C1$"))
    drag(page, 0.75)
    says(page, "ship")
    page.go_back()
    says(page, "automobile")
    square.focus()
    for _ in range(50):  # a step is 2% of the shorter side
        page.keyboard.press("ArrowRight")
    says(page, "ship")
    expect(page).to_have_url(re.compile(r"[?&]square=0\.5%2C0%2C1$"))
    page.keyboard.press("-")
    page.keyboard.press("Shift+ArrowDown")
    expect(page.locator(".st-key-photo-square [role=status]")).to_have_text(re.compile("96% of the shorter side"))
    expect(page).to_have_url(re.compile(r"[?&]square=0\.51%2C0\.02%2C0\.96$"))
    page.reload()
    says(page, "ship")
    square.wait_for()
    page.get_by_role("link", name="Why ship?").click()
    says(page, "ship")
    expect(page).to_have_url(re.compile(r"/attribution\?.*square=0\.51%2C0\.02%2C0\.96"))
    expect(square).to_be_visible()
    no_overflow(page)
