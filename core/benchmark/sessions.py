"""A class at one server: many browsers that each upload image after image, and what each waits for its label."""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.benchmark import Figure, figure
from core.benchmark.app import ANSWER
from core.benchmark.browser import FLAGS, Server, program
from core.common.errors import LabError

if TYPE_CHECKING:
    from playwright.async_api import Page

SESSIONS, UPLOADS, PAUSE_S = 20, 5, 4.0
"""Browsers, images of each, and the longest pause before an upload."""
LIMIT_MS = 60_000.0
"""After so long an upload counts as lost, and as having taken that long."""


def measure(rounds: int) -> Iterator[Figure]:
    waits: list[float] = []
    served: list[float] = []
    worst: list[float] = []
    broken, lost = 0, 0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "timings"
            os.environ["LAB_TIMINGS"] = str(path)
            try:
                with Server() as server:
                    server.wait()
                    found, exceptions = asyncio.run(_class(server.url))
            finally:
                del os.environ["LAB_TIMINGS"]
            own = [json.loads(line)["ms"] for line in path.read_text().splitlines()]
        lost += found.count(None)
        taken = [LIMIT_MS if wait is None else wait for wait in found]
        waits += taken
        served.append(_p95(own))
        worst.append(_p95(taken))
        broken += exceptions
    name = f"{SESSIONS} browsers, {UPLOADS} uploads each with pauses up to {PAUSE_S:g} s"
    yield figure("sessions", f"{name}: upload to label in the browser, median", waits, "ms")
    yield figure("sessions", f"{name}: upload to label in the browser, p95", worst, "ms")
    yield figure(
        "sessions", f"{name}: answered by the server, p95", served, "ms", "from the run of the script to the label"
    )
    note = f"of {SESSIONS * UPLOADS * rounds}, within {LIMIT_MS / 1000:g} s"
    yield figure("sessions", f"{name}: uploads without an answer", [float(lost)], "uploads", note)
    yield figure("sessions", f"{name}: pages that showed an exception", [float(broken)], "pages")


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else values[0] if values else math.nan


async def _class(url: str) -> tuple[list[float | None], int]:
    """Milliseconds from upload to label of all browsers, None for what was lost, and how many pages showed an exception."""
    try:
        from playwright.async_api import async_playwright
    except ImportError as error:
        raise LabError("This part needs Playwright and a browser: run `make test` once, which sets them up.") from error
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program(), args=FLAGS)
        pages = [await (await browser.new_context()).new_page() for _ in range(SESSIONS)]
        for page in pages:
            await page.goto(f"{url}/images", timeout=LIMIT_MS)
            await page.locator(".st-key-upload input[type=file]").wait_for(state="attached", timeout=LIMIT_MS)
        found = await asyncio.gather(*(_visitor(page, number) for number, page in enumerate(pages)))
        exceptions = [await page.get_by_test_id("stException").count() for page in pages]
        await browser.close()
    return [wait for waits in found for wait in waits], sum(map(bool, exceptions))


async def _visitor(page: Page, number: int) -> list[float | None]:
    """Upload images that nobody has seen before; what each took, in milliseconds."""
    from PIL import Image

    random = np.random.default_rng(number)
    waits: list[float | None] = []
    for turn in range(UPLOADS):
        await asyncio.sleep(float(random.uniform(0, PAUSE_S)))
        name, buffer = f"image-{number}-{turn}.jpg", io.BytesIO()
        pixels = random.integers(0, 256, (15, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((640, 480)).save(buffer, "JPEG")
        started = time.perf_counter()
        try:
            async with asyncio.timeout(LIMIT_MS / 1000):
                await page.locator("[class*=st-key-upload] input[type=file]").set_input_files(
                    {"name": name, "mimeType": "image/jpeg", "buffer": buffer.getvalue()}, timeout=0
                )
                await page.get_by_text(f"What you gave: {name}").wait_for(timeout=0)
                await page.get_by_role("heading", name=ANSWER).first.wait_for(timeout=0)
            waits.append(1000 * (time.perf_counter() - started))
        except TimeoutError:
            waits.append(None)
    return waits
