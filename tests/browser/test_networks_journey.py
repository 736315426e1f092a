"""A network from elsewhere: a file is dropped, read and asked, is kept, and answers on the pages."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.steps import answer, no_overflow, press, upload
from tests.unit.networks.files import Small, bomb, export

READ_MS = 60_000


def test_an_onnx_file_is_asked_kept_and_explained(page: Page) -> None:
    page.goto("/networks")
    upload(page, "mine.onnx", "application/octet-stream", export(Small(), (2, 3, 32, 32)), key="network-file-0")
    expect(page.get_by_text("Input: N × 3 × 32 × 32 float32")).to_be_visible(timeout=READ_MS)
    press(page, "try-network")
    expect(page.get_by_role("heading", name=re.compile(r"It says class \d"))).to_be_visible(timeout=READ_MS)
    no_overflow(page)
    press(page, "keep-network")
    expect(page.get_by_text("Converted to PyTorch for gradients and layers")).to_be_visible()
    page.get_by_role("link", name="Classify").click()
    press(page, "example-ship")
    expect(answer(page)).to_contain_text("mine says class")
    page.get_by_role("link", name=re.compile("^Why class")).click()
    expect(page.get_by_text(re.compile("takes class \\d from|Cannot tell")).first).to_be_visible(timeout=READ_MS)
    page.goto("/networks?view=One+network")
    page.get_by_role("button", name="Delete").click()
    press(page, "delete-network")
    expect(page.get_by_text("There are no networks here yet")).to_be_visible()


def test_a_bomb_is_one_sentence_and_the_server_goes_on(page: Page) -> None:
    page.goto("/networks")
    upload(page, "bomb.onnx", "application/octet-stream", bomb(2**40), key="network-file-0")
    expect(page.get_by_text("Operators: ")).to_be_visible(timeout=READ_MS)
    press(page, "try-network")
    expect(page.get_by_text("more memory than a check may take")).to_be_visible(timeout=READ_MS)
    page.goto("/images?example=ship")
    expect(answer(page)).to_be_visible()
