"""What a person at the screen waits for: the first page of a cold server, the first answer, a page switch, an upload."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from core.benchmark import Figure, figure
from core.benchmark.browser import Server, browser

ANSWER = re.compile(r"· .*%")


def measure(rounds: int) -> Iterator[Figure]:
    names = (
        "first page, from starting the server",
        "first page, from opening it",
        "first answer, from starting the server",
    )
    cold: dict[str, list[float]] = {name: [] for name in names}
    switches: list[float] = []
    uploads: list[float] = []
    with browser() as opened:
        for number in range(rounds):
            with Server() as server:
                server.wait()
                page = opened.new_page(viewport={"width": 1280, "height": 800})
                opened_at = time.perf_counter()
                page.goto(server.url, wait_until="commit")
                page.get_by_role("heading", level=1).first.wait_for()
                seen = time.perf_counter()
                cold[names[0]].append(seen - server.started)
                cold[names[1]].append(seen - opened_at)
                page.get_by_role("link", name="Images", exact=True).click()
                _upload(page, number)
                cold[names[2]].append(time.perf_counter() - server.started)
                for again in range(5):
                    started = time.perf_counter()
                    _upload(page, 1000 * number + again + 500)
                    uploads.append((time.perf_counter() - started) * 1000)
                for name, title in (("Runs", "Runs"), ("Images", "Images")) * 4:
                    page.wait_for_timeout(300)
                    started = time.perf_counter()
                    page.get_by_role("link", name=name, exact=True).click()
                    page.get_by_role("heading", level=1, name=title, exact=True).wait_for()
                    switches.append((time.perf_counter() - started) * 1000)
                page.close()
    for name, values in cold.items():
        yield figure("app", name, values, "s")
    yield figure("app", "upload to label in the browser, warm", uploads, "ms")
    yield figure("app", "page switch", switches, "ms")


def _upload(page: Any, seed: int) -> None:
    """Upload an image that was not seen before and wait until its answer is on the page."""
    from PIL import Image

    name = f"image-{seed}.jpg"
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((640, 480)).save(buffer, "JPEG")
    page.locator(".st-key-upload input[type=file]").set_input_files(
        {"name": name, "mimeType": "image/jpeg", "buffer": buffer.getvalue()}
    )
    page.get_by_text(f"What you gave: {name}").wait_for(timeout=60_000)
    page.get_by_role("heading", name=ANSWER).first.wait_for(timeout=60_000)
