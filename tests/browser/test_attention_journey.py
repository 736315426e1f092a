"""Pointing at a character shows what a head looks at there and tells nobody; a click keeps head and character in the address."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, WebSocket, expect

from tests.browser.steps import settled

pytestmark = pytest.mark.alone


def test_heads_by_pointer_and_by_keyboard(page: Page) -> None:
    sent: list[bytes] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: sent.append(frame if isinstance(frame, bytes) else frame.encode()))

    page.on("websocket", listen)
    page.goto("/attention")
    text = page.get_by_role("application", name=re.compile("^The text"))
    text.wait_for(timeout=60_000)
    settled(page)
    first = text.get_attribute("aria-label")
    letter = text.locator("span[data-index='40']")
    shades = "spans => spans.map(span => span.style.getPropertyValue('--share'))"

    def point() -> int:
        """Frames that were sent while the pointer came and went. A server that still warms up makes the page ask again."""
        before = len(sent)
        letter.hover()
        expect(text).to_have_attribute("aria-label", re.compile("character 41 of 119, looks at"))
        pointed = text.locator("span[data-index]").evaluate_all(shades)
        page.mouse.move(0, 0)
        expect(text).to_have_attribute("aria-label", first or "")
        assert text.locator("span[data-index]").evaluate_all(shades) != pointed
        page.wait_for_timeout(500)
        return len(sent) - before

    assert min(point() for _ in range(5)) == 0
    letter.click()
    page.wait_for_url(re.compile("at=40"))
    page.get_by_role("button", name=re.compile("^Head 5.4")).click()
    page.wait_for_url(re.compile(r"head=5\.4"))
    expect(page.get_by_text(re.compile("^Head 5.4 looks at the start of the line"))).to_be_visible()
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(re.compile(r"head=5\.3"))
    text.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_url(re.compile("at=41"))
    page.reload()
    expect(text).to_have_attribute("aria-label", re.compile("character 42 of 119"), timeout=60_000)
    expect(page.get_by_role("button", name=re.compile("^Head 5.3"))).to_have_attribute("aria-pressed", "true")
