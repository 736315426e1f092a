"""Cover a part of the image with the pointer, and the probability moves."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.steps import press


def test_cover_the_image_by_hand(page: Page) -> None:
    page.goto("/attribution?view=Cover+by+hand")
    press(page, "example-car")
    said = page.get_by_role("heading", name=re.compile(r"^automobile · \d"))
    expect(said).to_be_visible()
    canvas = page.locator(".st-key-cover canvas")
    expect(canvas).to_have_accessible_name(re.compile("32 by 32 pixels, 0% covered"))
    page.get_by_role("button", name="Brush of 4 by 4 pixels").click()
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    # Along row 18 of 32 from column 4 to 28: four rows of pixels, 16 to 19, from 2 to 29.
    x, y = (lambda column: box["x"] + column * box["width"] / 32), box["y"] + 18 * box["height"] / 32
    page.mouse.move(x(4), y)
    page.mouse.down()
    page.mouse.move(x(28), y, steps=8)
    expect(
        page.get_by_text(re.compile(r"^\d+ of 1,024 pixels are covered"))
    ).to_be_visible()  # before the end of the stroke
    page.mouse.up()
    expect(page.get_by_text(re.compile(r"^112 of 1,024 pixels are covered \(11%\)"))).to_be_visible()
    expect(said).to_have_text(re.compile(r"^automobile · (\S+) → (?!\1$)\S+$"))
    press(page, "cover-undo")
    expect(page.get_by_text("Nothing is covered yet")).to_be_visible()
    canvas.focus()
    for key in ("ArrowDown", "ArrowRight", "Space"):
        page.keyboard.press(key)
    expect(page.get_by_text(re.compile("^16 of 1,024 pixels are covered"))).to_be_visible()
    expect(page.locator(".st-key-cover [role=status]")).to_have_text(
        "Column 18, row 17: covered. Space changes nothing."
    )
