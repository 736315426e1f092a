"""Photos of one's own: an archive is dropped, read and examined, and leads to the form that trains on it."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.steps import no_overflow, upload

pytestmark = pytest.mark.alone

READ_MS = 60_000


def photo(seed: int) -> bytes:
    small = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((200, 150), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for label, name in enumerate(("cat", "dog")):
            for index in range(30):
                packed.writestr(f"pets/{name}/{index}.jpg", photo(100 * label + index))
        packed.writestr("pets/dog/again.jpg", photo(3))  # a cat's
    return buffer.getvalue()


def test_an_archive_of_photos_is_examined_and_can_be_trained_on(page: Page) -> None:
    page.goto("/datasets?view=Add+photos")
    upload(page, "pets.zip", "application/zip", archive(), key="photos-zip-0")
    expect(page.get_by_text("61 photos in 2 classes.")).to_be_visible(timeout=READ_MS)
    expect(page.get_by_text("1 image in two classes at once")).to_be_visible()
    page.get_by_text("1 image in two classes at once").click()
    expect(page.get_by_text("cat/3.jpg").locator("visible=true").first).to_be_visible()
    address = page.url
    assert "open=" in address
    page.reload()
    expect(page.get_by_text("61 photos in 2 classes.")).to_be_visible(timeout=READ_MS)
    page.set_viewport_size({"width": 390, "height": 844})
    no_overflow(page)
    page.set_viewport_size({"width": 1280, "height": 844})

    page.locator(".st-key-train-on-it").get_by_role("button").click()
    expect(page.locator(".st-key-dataset").get_by_role("combobox")).to_have_value("pets", timeout=READ_MS)
    expect(page.locator(".st-key-images-start").get_by_role("combobox")).to_have_value(
        "ImageNet weights (EfficientNet-Lite0)"
    )
    expect(page.locator(".st-key-image-size").get_by_role("combobox")).to_have_value("128×128 pixels")
    page.go_back()
    expect(page.get_by_text("61 photos in 2 classes.")).to_be_visible(timeout=READ_MS)

    page.get_by_text("Delete", exact=True).click()
    page.locator(".st-key-delete-dataset").get_by_role("button").click()
    expect(page.locator(".st-key-dataset-cifar10")).to_be_visible()
    expect(page.get_by_text("pets", exact=True)).to_have_count(0)
    page.goto(address)
    expect(page.get_by_text("is not on this server, or was deleted")).to_be_visible()
