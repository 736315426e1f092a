"""The first thing that a newcomer does: open the app, upload a photo, get an answer from a checkpoint that ships."""

from __future__ import annotations

import re
from urllib.parse import quote

from playwright.sync_api import Page, expect

from tests.browser.steps import answer, choose, no_overflow, press, upload
from tests.tiny import photo

CUT_LINKS = """[...document.querySelectorAll("[data-testid=stPageLink] p")]
    .filter(text => text.scrollWidth > text.clientWidth || text.offsetHeight > text.closest("a").offsetHeight)
    .map(text => text.innerText)"""
"""What links say that is not shown in full."""
JPEG = ("car.jpg", "image/jpeg", photo())


def test_home_shows_the_way_to_a_first_answer(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", name="Bottleneck Lab")).to_be_visible()
    expect(answer(page)).to_have_text(re.compile(r"^Fast ResNet says ship · \d"), timeout=60_000)
    expect(page.get_by_text("Cover the map's top 10%")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("img", name=re.compile("^Grad-CAM: heatmap"))).to_be_visible()
    expect(page.get_by_text("wrote this after")).to_be_visible()
    expect(page.get_by_role("link", name="1. Classify a drawing")).to_be_visible()
    for door, way in (("Teach with it", "An apple it never learned"), ("Use my data", "Classify my photo")):
        expect(page.get_by_role("link", name=way)).not_to_be_visible()
        page.get_by_text(door, exact=True).click()
        expect(page.get_by_role("link", name=way)).to_be_visible()
    page.get_by_text("All pages", exact=True).click()
    expect(page.get_by_role("link", name="Which settings make it fast on this machine?")).to_be_visible()
    assert not page.evaluate(CUT_LINKS)
    no_overflow(page)
    page.get_by_role("button", name="Classify an image").click()
    expect(page.get_by_role("heading", name="Images")).to_be_visible()
    expect(page).to_have_url(re.compile("/images"))


def test_a_photo_gets_a_label_that_survives_a_visit_to_another_page(page: Page) -> None:
    page.goto("/images")
    upload(page, *JPEG)
    expect(answer(page)).to_be_visible()
    expect(page.get_by_text(re.compile(r"What the model sees: 32×32 pixels"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"car\.jpg, 640×480 JPEG"))).to_be_visible()
    page.get_by_text("Details", exact=True).click()
    expect(page.get_by_text(re.compile(r"Answered in \d+ ms by"))).to_be_visible()
    said = answer(page).inner_text()
    page.get_by_role("link", name="Runs").first.click()
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    page.get_by_role("link", name="Images").first.click()
    expect(answer(page)).to_have_text(said)
    page.set_viewport_size({"width": 390, "height": 844})
    no_overflow(page)


def test_every_choice_is_one_step_of_the_browser(page: Page) -> None:
    page.goto("/images")
    press(page, "example-ship")
    expect(answer(page)).to_be_visible()
    page.get_by_role("link", name=re.compile("^Why ")).click()
    explained = re.compile(r"/attribution\?view=Explain&checkpoint=\w+&example=ship$")
    expect(page).to_have_url(explained)
    baseline = page.locator(".st-key-why-baseline").get_by_role("combobox")
    expect(baseline).to_have_value(re.compile("^Mean"))
    choose(page, "why-baseline", "Black")
    expect(page).to_have_url(re.compile("&baseline=black$"))
    page.go_back()
    expect(page).to_have_url(explained)
    expect(baseline).to_have_value(re.compile("^Mean"))
    page.go_back()
    expect(page).to_have_url(re.compile(r"/images\?example=ship$"))
    expect(answer(page)).to_be_visible()
    page.go_back()
    expect(page).to_have_url(re.compile("/images$"))
    expect(page.locator(".st-key-example-ship")).to_be_visible()
    press(page, "example-ship")
    page.get_by_role("link", name=re.compile("^Why ")).click()
    expect(page).to_have_url(explained)
    expect(baseline).to_be_visible()
    page.evaluate("history.go(-2)")  # as two quick presses of Back
    expect(page).to_have_url(re.compile("/images$"))
    expect(page.locator(".st-key-example-ship")).to_be_visible()


def test_a_click_on_an_example_image_is_answered(page: Page) -> None:
    page.goto("/images")
    card = page.locator(".st-key-clickable-example-bird")
    expect(card).to_have_css("position", "relative")  # the style that makes one piece of it may come a moment after it
    box = card.locator("img").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(answer(page)).to_have_text(re.compile(r"says bird · \d"))


def test_an_address_cannot_plant_a_link(page: Page) -> None:
    for hostile in ("https://evil.example/x", "www.evil.example", "someone@evil.example", "[x](//evil.example)"):
        page.goto(f"/images?checkpoint={quote(hostile)}")
        expect(page.get_by_test_id("stAlert")).to_contain_text("evil")
        expect(page.locator("a[href*='evil']")).to_have_count(0)
