"""The exported web page in a real Chromium, served by `python -m http.server`: it answers as the app does.

The browser decodes and manages colours by its own libraries, and resampling is written anew in JavaScript: so pixels may differ
by a level or two, and probabilities by 0.02. What no browser reads (TIFF, HEIC) is refused in a sentence.
"""

from __future__ import annotations

import functools
import http.server
import io
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from core.common.errors import LabError
from core.compression.onnx.export import export_onnx
from core.compression.web.bundle import web_page
from core.compression.web.runtime import load_runtime
from core.data.decode import decode_image, model_input
from core.inference.images import answers_of, classify, threshold_of, warning_scores
from tests.unit.compression.onnx.test_scripts import FILES, classifier

READ = tuple(name for name in FILES if not name.endswith((".tif", ".heic", ".mpo")) and "profile" not in name)
CLOSE = 0.02
NEAR = 0.03
"""Of a score to the threshold: a level of a pixel may decide."""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def runtime(pytestconfig: pytest.Config) -> Iterator[None]:
    """ONNX Runtime Web in pytest's own cache: it is downloaded once."""
    assert pytestconfig.cache is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.compression.web.runtime.folder", lambda: pytestconfig.cache.mkdir("web") / "runtime")
        try:
            load_runtime()
        except LabError as error:
            pytest.skip(str(error))
        yield


@pytest.fixture(scope="module", params=["plain", "flip+shift", "whole", "distance", "int8", "float16"])
def served(
    request: pytest.FixtureRequest, runtime: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """What is particular about the network, and the page's address."""
    kind = request.param
    checkpoint = classifier("plain" if kind == "float16" else kind)
    folder = tmp_path_factory.mktemp("web")
    data = web_page(checkpoint, export_onnx(checkpoint, half=kind == "float16"))
    zipfile.ZipFile(io.BytesIO(data)).extractall(folder)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield kind, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def opened(served: tuple[str, str], browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(served[1])
    expect(page.locator("#drop")).to_be_visible(timeout=60_000)
    yield page
    context.close()
    assert not complaints, complaints


def ask(page: Page, name: str, data: bytes) -> dict[str, Any]:
    page.locator("#result").evaluate("node => { node.hidden = true; delete node.dataset.answer }")
    page.locator("#file").set_input_files({"name": name, "mimeType": "application/octet-stream", "buffer": data})
    expect(page.locator("#result")).to_have_attribute("data-answer", re.compile("."))
    return json.loads(page.locator("#result").get_attribute("data-answer") or "")


def test_it_answers_as_the_app(served: tuple[str, str], opened: Page) -> None:
    kind = served[0]
    checkpoint = classifier("plain" if kind == "float16" else kind)
    calibration = checkpoint.card.calibration
    different, compared = [], 0
    for name in READ if kind == "plain" else READ[::4]:
        seen = model_input(decode_image(FILES[name]).rgb, 32, checkpoint.card.image_data.fit)[None]
        expected, score = (
            classify(checkpoint, seen)[0],
            float(warning_scores(answers_of(checkpoint, seen), calibration)),
        )
        found = ask(opened, name, FILES[name])
        different.append((float(np.abs(np.array(found["probabilities"]) - expected.probabilities).max()), name))
        if abs(score - (threshold_of(calibration) or 0.0)) > NEAR:
            assert found["warned"] == expected.likely_none_of_these, name
            compared += 1
    assert max(different)[0] < CLOSE, sorted(different)[-5:]
    assert compared > 1


def test_what_cannot_be_read_is_said_and_nothing_of_the_last_image_stays(opened: Page) -> None:
    ask(opened, "rgb.png", FILES["rgb.png"])
    for name in ("rgb.png", "lzw.tif"):
        data = FILES[name] if name == "lzw.tif" else b"no image"
        opened.locator("#file").set_input_files({"name": name, "mimeType": "image/png", "buffer": data})
        expect(opened.locator("#status")).to_have_text(
            "This browser cannot read that file: choose a PNG or a JPEG image."
        )
        expect(opened.locator("#result")).to_be_hidden()


def test_it_shows_five_classes_and_the_warning(served: tuple[str, str], opened: Page) -> None:
    if served[0] != "plain":
        return
    warned = set()
    for name in READ:
        answer = ask(opened, name, FILES[name])
        expect(opened.locator("#answers li")).to_have_count(5)
        best = max(answer["probabilities"])
        expect(opened.locator("#answers li").first).to_contain_text(f"{100 * best:.1f}%")
        warning = opened.locator("#warning")
        (expect(warning).to_be_visible if answer["warned"] else expect(warning).to_be_hidden)()
        warned.add(answer["warned"])
    assert warned == {True, False}
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
