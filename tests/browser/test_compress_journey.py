"""Compress a network by hand: put a recipe together, watch it, read what it bought, take the result away and run it."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import psutil
import pytest
from playwright.sync_api import Locator, Page, expect

from core.checkpoints.store import Checkpoint, find_checkpoint, load_checkpoint
from core.compression.kind import COMPRESS
from core.compression.recipe import PRESETS, CompressConfig
from core.compression.results import loss_words
from core.compression.store import read_compression
from core.data.decode import decode_image
from core.inference.images import classify, logits_of
from core.inference.onnx_network import OnnxNetwork, onnx_inputs
from core.jobs import RunStore
from core.training.recipes import RECIPES
from tests.browser.lab import Lab
from tests.browser.steps import badge, choose, circle, no_overflow, press, run_id, view
from tests.tiny import CLASSES, draw
from tests.unit.compression.quick_measuring import quicken
from tests.unit.in_process import finish

pytestmark = pytest.mark.alone

DONE_MS = 240_000
"""A variant is measured for some seconds on an idle machine."""
START = ".st-key-start-recipe"


@pytest.fixture(scope="module")
def trained(lab: Lab, tiny_dataset_folder: Path) -> str:
    """A small Simple CNN that knows the tiny dataset, trained into the server's LAB_HOME."""
    config = RECIPES["simple_cnn"]["default"].replace(
        dataset=f"folder:{tiny_dataset_folder}", epochs=15, model_config={"widths": [8, 16]}
    )
    store = RunStore(lab.home / "runs")
    run = finish(store, store.create(config, "Shapes"))
    assert run.status == "finished", run.message
    return run.id


def setting(page: Page, label: str) -> Locator:
    """The field of a step's setting."""
    return page.get_by_role("spinbutton", name=label)


def settle(page: Page, label: str, text: str) -> None:
    setting(page, label).fill(text)
    setting(page, label).press("Tab")


def unfold(page: Page, label: str) -> None:
    """Open that expander, if it is closed."""
    box = page.get_by_test_id("stExpander").filter(has=page.locator("summary", has_text=label))
    if box.locator("details").get_attribute("open") is None:
        box.locator("summary").click()


def add(page: Page, step: str) -> None:
    """One more step at the end of the recipe."""
    choose(page, "recipe-more-images", step)
    press(page, "recipe-add")
    expect(page.get_by_text(re.compile(rf"^\d+\. {step}$"))).to_be_visible()


def empty_recipe(page: Page) -> None:
    """A recipe without steps, which cannot be started."""
    press(page, "preset-half")
    unfold(page, "Customize")
    expect(page.get_by_text("1. float16")).to_be_visible()
    page.locator("[class*=st-key-recipe-out-]").get_by_role("button").click()
    refused(page, "A recipe has 1 to 12 steps: add one, or take some out.")


def refused(page: Page, sentence: str) -> None:
    expect(page.get_by_test_id("stAlert").filter(has_text=sentence)).to_be_visible()
    expect(page.locator(START).get_by_role("button")).to_be_disabled()


def start(page: Page) -> str:
    """Start the recipe; returns its run's id, once its worker is at work."""
    press(page, "start-recipe")
    started = run_id(page, "recipe")
    badge(page, "Running|Finished")
    return started


def table(page: Page, count: int) -> list[dict[str, str]]:
    """The table of variants, a mapping a row, once it has so many."""
    unfold(page, "All variants")
    expect(page.get_by_test_id("stTable").locator("tr")).to_have_count(count + 1)
    head, *body = (
        row.locator("th, td").all_inner_texts() for row in page.get_by_test_id("stTable").locator("tr").all()
    )
    return [dict(zip(head, (text.replace("\N{NO-BREAK SPACE}", " ") for text in row), strict=True)) for row in body]


def exported(page: Page, started: str, variant: str) -> tuple[str, bytes]:
    """Make the ONNX file of a variant in the tab Files and download it: its name, and its bytes."""
    unfold(page, "same image, files")
    page.get_by_role("tab", name="Files").click()
    box = page.locator(f"[class*=st-key-files-{started}]").get_by_role("combobox")
    if variant not in (box.input_value(), box.inner_text()):
        box.click()
        page.get_by_role("option", name=variant, exact=True).click()
    press(page, f"make-{started}")
    expect(page.get_by_text("the largest difference of a logit")).to_be_visible(timeout=DONE_MS)
    with page.expect_download() as waiting:
        press(page, f"file-{started}")
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def logits(data: bytes, images: np.ndarray) -> np.ndarray:
    """What a stranger gets from a file: by its own metadata, without this project."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # as its script does, for x86 without VNNI
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    mean, std = (np.float32(json.loads(about[key])) for key in ("mean", "std"))
    pixels = (images.astype(np.float32) / 255 - mean) / std
    return np.asarray(session.run(["logits"], {"images": pixels.transpose(0, 3, 1, 2)})[0])


def checkpoint(lab: Lab, name: str) -> Checkpoint:
    return load_checkpoint(find_checkpoint(name, lab.home / "runs"))


def shapes() -> np.ndarray:
    """Two images of each class, (6, 32, 32, 3) uint8."""
    rng = np.random.default_rng(5)
    return np.stack([np.asarray(draw(label, rng)) for label in (*CLASSES, *CLASSES)])


def test_compress_a_network_of_ones_own_and_run_what_comes_out(
    page: Page, lab: Lab, trained: str, tmp_path: Path
) -> None:
    page.goto("/")
    page.get_by_role("link", name="Compression").first.click()
    expect(page.get_by_role("heading", name="Compression", exact=True)).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    view(page, "New recipe")
    page.locator(".st-key-compress-images").get_by_role("combobox").click()
    page.get_by_role("option", name=re.compile("^Shapes")).click()

    empty_recipe(page)
    add(page, "Prune weights")
    settle(page, "Amount", "1")
    refused(
        page,
        "Amount 1.0 is not valid for prune weights: Amount must be a number above 0 and below 1.",
    )
    settle(page, "Amount", "0.8")
    add(page, "Fine-tune")
    settle(page, "Epochs", "10")
    add(page, "int8")
    settle(page, "Images to calibrate", "64")
    expect(page.get_by_text("3 variants")).to_be_visible()
    started = start(page)
    address = page.url

    # Rows join the table while the worker goes on.
    expect(page.get_by_text("All variants")).to_be_visible(timeout=DONE_MS)
    unfold(page, "All variants")
    expect(page.get_by_test_id("stTable").locator("tr").nth(1)).to_contain_text("original", timeout=DONE_MS)
    badge(page, "Finished", DONE_MS)
    assert not psutil.wait_procs(lab.workers(), timeout=20)[1], "a recipe that is over leaves no process behind"
    result = read_compression(RunStore(lab.home / "runs"), started)
    assert [item.id for item in result.measured] == ["original", "1-prune_weights", "2-fine_tune", "3-int8"]
    rows = table(page, 4)
    assert [row["Variant"].split()[0] for row in rows] == ["original", "1", "2", "3"]
    for row, item in zip(rows, result.measured, strict=True):
        assert row["Accuracy"].startswith(f"{100 * item.accuracy:.2f}%")
        assert row["Change"] == loss_words(item)
    assert all("points" in row["Change"] for row in rows[1:])
    _, pruned, tuned, _ = result.measured
    assert pruned.delta_points < tuned.delta_points, "pruning costs points, and training brings some back"
    assert [item.zeros for item in (pruned, tuned)] == pytest.approx([0.8, 0.8], abs=0.02), "zeros stay zero"

    # The last network, exported, compared, and taken along.
    name, data = exported(page, started, "3 int8")
    last = checkpoint(lab, f"{started}/3-int8")
    found = logits(data, shapes())
    own = OnnxNetwork(last.onnx).logits(onnx_inputs(last.card, shapes()))
    np.testing.assert_allclose(found, own, rtol=0, atol=1e-4)
    twin = logits_of(dataclasses.replace(last, onnx=b""), shapes(), "none").numpy()
    np.testing.assert_allclose(found, twin, rtol=0, atol=0.1 * np.abs(twin).max())

    # The script beside it runs it, and knows a circle.
    (tmp_path / name).write_bytes(data)
    (tmp_path / "circle.png").write_bytes(circle())
    with page.expect_download() as waiting:
        press(page, f"script-{started}")
    assert waiting.value.suggested_filename.endswith("-int8-classify.py")
    waiting.value.save_as(tmp_path / "classify.py")
    command = [sys.executable, "classify.py", "--json", "circle.png"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    answer = json.loads(said.stdout)
    expected = classify(last, decode_image(circle()).rgb[None])[0]
    assert max(answer["probabilities"], key=answer["probabilities"].get) == "circle" == expected.top[0][0]
    assert max(answer["probabilities"].values()) == pytest.approx(expected.top[0][1], abs=1e-4)
    assert answer["probably_none_of_these"] == expected.likely_none_of_these

    # It is where it was, by its address, and fits a phone in every tab.
    page.goto("about:blank")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(address)
    badge(page, "Finished", DONE_MS)
    assert table(page, 4) == rows
    unfold(page, "same image, files")
    for tab in ("Layers", "Classes", "Speed", "Same image", "Files"):
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        no_overflow(page)
    view(page, "New recipe")
    expect(page.locator(START).get_by_role("button")).to_be_enabled()
    no_overflow(page)


def test_a_network_that_ships_is_compressed_without_its_data(
    page: Page, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.goto("/compression?view=New+recipe")
    page.locator(".st-key-compress-images").get_by_role("combobox").click()
    page.get_by_role("option", name=re.compile("^Simple CNN · ")).click()
    expect(page.locator(".st-key-fetch-compress").get_by_role("button")).to_be_visible()
    press(page, "preset-half")
    expect(page.get_by_text("1 variant", exact=True)).to_be_visible()
    expect(page.locator(START).get_by_role("button")).to_be_enabled()

    store = RunStore(lab.home / "runs")
    steps = tuple(step.to_dict() for step in PRESETS["half"].steps)
    config = CompressConfig(checkpoint="simple_cnn", steps=steps, model="simple_cnn", dataset="cifar10", device="cpu")
    started = store.create(config, "Half", kind=COMPRESS.name)
    quicken(monkeypatch)
    assert finish(store, started).status == "finished"
    page.goto(f"/compression?recipe={started}")
    badge(page, "Finished", DONE_MS)
    original, half = table(page, 2)
    assert {original["Accuracy"], half["Accuracy"], half["Change"]} == {"–"}
    result = read_compression(store, started)
    assert result.measured[1].stored_bytes < 0.52 * result.measured[0].stored_bytes

    _, data = exported(page, started, "1 float16")
    images = shapes()
    expected = logits_of(checkpoint(lab, f"{started}/1-float16"), images, "none").numpy()
    np.testing.assert_allclose(logits(data, images), expected, rtol=1e-3, atol=1e-3)
