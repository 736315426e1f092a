"""What the very first visitor of a fresh server meets, when it comes by an address and not by the front door."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.lab import Lab

pytestmark = pytest.mark.alone


def test_the_first_visit_by_an_address_finds_its_page(browser: Browser, tmp_path: Path) -> None:
    """A run's address, opened again after a restart of the server, leads to the page and not to a dialog over it."""
    fresh = Lab(home=tmp_path / "home", log=tmp_path / "server.log")
    fresh.start()
    try:
        page = browser.new_page()
        page.goto(f"{fresh.url}/images?view=Train")
        expect(page.get_by_role("heading", name="Images", exact=True)).to_be_visible(timeout=30_000)
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.close()
    finally:
        fresh.stop()
