"""Pointing at an output shows its sum and tells nobody; a click keeps it in the address."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, WebSocket, expect

from tests.browser.steps import settled

pytestmark = pytest.mark.alone

PLACES = {
    "/convolution": ("Output, 6 by 6 values", re.compile(r"^y\[1, 4\] = −52$"), "at=1%2C4"),
    "/convolution?view=Through+a+network": ("Map of channel", re.compile(r"^It sees 4×4 of"), "unit=2%2C11"),
}
"""Address -> a canvas, the answer to the place at 3/4 of its width and 1/5 of its height, and how the address names that."""


@pytest.mark.parametrize("address", PLACES)
def test_a_click_keeps_the_place(page: Page, address: str) -> None:
    name, answer, param = PLACES[address]
    sent: list[bytes] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: sent.append(frame if isinstance(frame, bytes) else frame.encode()))

    page.on("websocket", listen)
    page.goto(address)
    canvas = page.get_by_role("application", name=name)
    canvas.wait_for(timeout=60_000)
    settled(page)
    page.mouse.move(0, 0)
    first = canvas.get_attribute("aria-label")
    box = canvas.bounding_box()
    assert box
    x, y = box["x"] + 0.75 * box["width"] + 1, box["y"] + 0.2 * box["height"]
    page.mouse.move(x, y, steps=5)
    expect(canvas).not_to_have_attribute("aria-label", first or "")
    page.mouse.move(0, 0)
    expect(canvas).to_have_attribute("aria-label", first or "")
    page.wait_for_timeout(500)
    assert not any(b'"event":"at"' in frame for frame in sent)
    page.mouse.click(x, y)
    page.wait_for_url(re.compile(param))
    assert any(b'"event":"at"' in frame for frame in sent)
    page.mouse.move(0, 0)
    chosen = canvas.get_attribute("aria-label") or ""
    assert chosen != first
    expect(page.get_by_text(answer)).to_be_visible()
    page.reload()
    expect(canvas).to_have_attribute("aria-label", chosen)
    page.go_back()
    expect(canvas).to_have_attribute("aria-label", first or "")
