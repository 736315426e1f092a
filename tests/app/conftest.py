"""Pages without a browser: Streamlit's AppTest runs the real entry script, on a LAB_HOME of each test's own."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

import core.checkpoints.store
from core.checkpoints.store import Calibration, Card
from core.common.progress import Progress
from core.data import DATASETS, Dataset
from core.data.dataset import ImageCard, TextCard
from core.jobs import LocalEngine, RunStore
from pages.shared import tasks, url, warmup
from pages.shared.registry import pages
from tests.tiny_text import play
from tests.unit.builders import synthetic

ROOT = Path(__file__).resolve().parents[2]
Open = Callable[..., AppTest]


@pytest.fixture(scope="session", autouse=True)
def _packages_are_scanned_once() -> Iterator[None]:
    """Every AppTest reads the metadata of all installed packages, in search of components: a third of a second each time."""
    with pytest.MonkeyPatch.context() as patch:
        scan = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", scan)
        yield


@pytest.fixture(autouse=True)
def _alone(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing on disk, nothing remembered from another test, and no import of torch before a page asks for it. Afterwards
    no thread goes on: it would slow the tests that follow, and one that is within torch when Python ends aborts it."""
    monkeypatch.setenv("LAB_WARM", "0")
    monkeypatch.setattr(core.checkpoints.store, "PRETRAINED", lab_home / "none")
    monkeypatch.setattr(url, "LATE_S", 0.0)  # an address that a test sets is no late one
    monkeypatch.setattr(warmup, "IDLE_S", 0.0)  # nobody waits for its end but this fixture
    st.cache_data.clear()
    st.cache_resource.clear()
    before = set(threading.enumerate())
    yield
    for task in tasks._tasks().values():
        task.stop()
    for thread in set(threading.enumerate()) - before:
        if thread.name in (tasks.THREAD, warmup.THREAD):
            thread.join(30)


@pytest.fixture
def open_page() -> Open:
    """Open a page as a link would: its name, and query parameters. Fails where the page shows an exception."""

    def opened(page: str, **query: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "pages" / "main.py"), default_timeout=60)
        for name, value in query.items():
            at.query_params[name] = value
        # `switch_page` asks for a run of Home before it finds a page whose file is not called as its address.
        assert page in pages()
        at._page_hash = calc_hash("" if page == "home" else page)
        at.run()
        assert not at.exception, at.exception
        return at

    return opened


def write_checkpoint(
    folder: Path, *, seed: int = 0, threshold: float | None = None, title: str = "Tiny", **metrics: float
) -> Card:
    """An untrained simple_cnn on CIFAR-10's classes."""
    import torch

    from core.checkpoints.store import save_checkpoint
    from core.models import build_model

    torch.manual_seed(seed)
    dataset = ImageCard(
        name="cifar10",
        title="CIFAR-10",
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        sizes={"train": 45_000, "validation": 5_000, "test": 10_000},
    )
    card = Card(
        title=title,
        model="simple_cnn",
        model_config={},
        dataset=dataset,
        metrics={"test_accuracy": 0.1234} | metrics,
        calibration=Calibration(temperature=2.0, energy_threshold=threshold, false_alarm_rate=0.05, images=5000),
    )
    return save_checkpoint(folder, build_model("simple_cnn", {}), card)


@pytest.fixture
def shipped(lab_home: Path) -> Card:
    """One checkpoint that ships, called `tiny`."""
    return write_checkpoint(lab_home / "none" / "tiny")


@pytest.fixture
def ten_classes(monkeypatch: pytest.MonkeyPatch, shipped: Card) -> None:
    """A small dataset in CIFAR-10's place, with its classes."""
    data = synthetic(train=40, held_out=80, classes=6)
    card = dataclasses.replace(data.card, name="cifar10", classes=shipped.dataset.classes)
    data = dataclasses.replace(data, card=card)
    source = dataclasses.replace(DATASETS["cifar10"], load=lambda _: data, is_ready=lambda: True)
    monkeypatch.setitem(DATASETS, "cifar10", source)


def write_text_checkpoint(
    folder: Path,
    *,
    seed: int = 0,
    title: str = "Scribe",
    model: str = "char_gru",
    dataset: TextCard | None = None,
    **metrics: float,
) -> Card:
    """An untrained language model; without a dataset, of a Tiny Shakespeare that has the generated play's characters."""
    import torch

    from core.checkpoints.store import save_checkpoint
    from core.models import build_model

    torch.manual_seed(seed)
    dataset = dataset or TextCard(
        name="tiny_shakespeare",
        title="Tiny Shakespeare",
        vocabulary="".join(sorted(set(play(20_000)))),
        sizes={"train": 18_000, "validation": 2_000},
        sha256={"text": "0" * 64},
    )
    shape = (
        {"width": 16, "layers": 1, "heads": 2, "context": 64}
        if model == "char_gpt"
        else {"width": 24, "layers": 2, "embedding": 8}
    )
    config = shape | {"vocabulary": len(dataset.vocabulary)}
    metrics = {"val_loss_nats": 2.0} | metrics
    card = Card(title=title, model=model, model_config=config, dataset=dataset, metrics=metrics)
    return save_checkpoint(folder, build_model(model, config), card)


@pytest.fixture
def scribe(lab_home: Path) -> Card:
    """One language model that ships, called `scribe`; its training text is not on this machine."""
    return write_text_checkpoint(lab_home / "none" / "scribe")


@pytest.fixture
def warm() -> None:
    """What loads in the background is there: no thread goes on importing after the test."""
    import torch  # noqa: F401

    from pages.shared.warmup import warmup

    warmup().ready.set()
    warmup().done.set()


def random_image(kind: str = "PNG", size: tuple[int, int] = (64, 48)) -> bytes:
    """An image from a seed."""
    pixels = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def read(markdown: str) -> str:
    """Markdown as a person reads it: without the backslashes and joiners that keep names from being markup, and any space as
    a space."""
    return re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", markdown.replace("\u2060", "").replace("\u00a0", " "))


def sources(at: AppTest) -> str:
    """The Markdown of all that the page says in words, titles and notes included."""
    kinds = (at.title, at.markdown, at.caption, at.info, at.warning, at.error)
    return "\n".join(element.value for kind in kinds for element in kind)


def texts(at: AppTest) -> str:
    """All that the page says in words, as a person reads it."""
    return read(sources(at))


def at_tab(at: AppTest, key: str, tab: str) -> AppTest:
    """With that one of a result's tabs open, and the expander that holds them."""
    at.session_state[f"more-{key}"] = True
    at.session_state[f"tabs-{key}"] = tab
    at.run()
    assert not at.exception, at.exception
    return at


def unfold(at: AppTest, key: str) -> AppTest:
    """With that expander open."""
    at.session_state[key] = True
    return rerun(at)


def chart(at: AppTest, place: int) -> dict[str, Any]:
    """A figure as the browser gets it."""
    found: dict[str, Any] = json.loads(at.get("plotly_chart")[place].proto.spec)
    return found


def table(at: AppTest, place: int = 0) -> dict[str, list[str]]:
    """A table, usually the first, as a person reads it."""
    return {name: [read(str(cell)) for cell in column] for name, column in at.table[place].value.items()}


HOSTILE = "![x](http:evil.example).png"
"""A name that would be an image if any page took it for Markdown."""


def plain_image(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(buffer, "PNG")
    return buffer.getvalue()


def rerun(changed: Any) -> AppTest:
    """The page once more, after a change of one of its elements if that is given. Fails where it shows an exception."""
    at = changed.run()
    assert not at.exception, at.exception
    return at


def click(at: AppTest, key: str) -> AppTest:
    """The page after a press of a button."""
    return rerun(at.button(key=key).click())


def link(at: AppTest) -> dict[str, str]:
    """The parameters of the link to copy."""
    return dict(parse_qsl(urlsplit(at.code[0].value).query, keep_blank_values=True))


def follow(at: AppTest, page: str, **query: str) -> AppTest:
    """As the browser does with a link: another page and its query parameters, in the same session."""
    at._page_hash = calc_hash("" if page == "home" else page)
    at.query_params.clear()
    at.query_params.update(query)
    return rerun(at)


def arrive(at: AppTest) -> AppTest:
    """The page behind the link to another page that a browser presses by itself."""
    (link,) = (link for link in at.get("page_link") if link.proto.label == "Open")
    return follow(at, link.proto.page, **dict(parse_qsl(link.proto.query_string)))


def mark(at: AppTest, *rows: int) -> AppTest:
    """Mark rows for the next run of the page; AppTest forgets a selection after it."""
    at.session_state[at.dataframe[0].key] = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
    return at


def select(at: AppTest, *rows: int) -> AppTest:
    mark(at, *rows).run()
    assert not at.exception, at.exception
    return at


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not end"
        time.sleep(0.02)


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs that the page handed to the engine; no worker is started."""
    found: list[str] = []
    monkeypatch.setattr(LocalEngine, "submit", lambda self, run_id, **_: found.append(run_id))
    return found


@pytest.fixture
def endless_fetch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], threading.Event]]:
    """Lets a dataset be fetched until it is stopped; what it returns is set once the fetch has said how far it is."""
    begun = threading.Event()

    def fetch(on_progress: Progress | None) -> Dataset:
        assert on_progress
        while True:
            on_progress(0.43, "download (12.0 MB/s, 0:09 left)")
            begun.set()
            time.sleep(0.01)

    def replace(name: str) -> threading.Event:
        monkeypatch.setitem(DATASETS, name, dataclasses.replace(DATASETS[name], load=fetch))
        return begun

    yield replace
    for task in tasks._tasks().values():
        task.stop()
    st.cache_resource.clear()


Figures = Callable[[int], dict[str, float]]


def write_three_epochs(run_id: str, train: Figures, evaluation: Figures, **status: object) -> Path:
    """Leave the figures of a run as its worker does: of an epoch's last batch and of its evaluation. Returns its folder."""
    folder = RunStore().folder(run_id)
    rows: list[dict[str, object]] = []
    for epoch in (1, 2, 3):
        shared = {"examples": 1000 * epoch, "lr": 0.1, "total_steps": 30}
        batch = {"kind": "train", "step": 10 * epoch - 1, "epoch": epoch - 0.1, "seconds": 5.0 * epoch}
        evaluated = {"kind": "eval", "step": 10 * epoch, "epoch": float(epoch), "seconds": 6.0 * epoch, "is_best": True}
        rows += [batch | shared | train(epoch), evaluated | shared | evaluation(epoch)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = json.loads((folder / "status.json").read_text())
    values |= {"status": "finished", "message": "Trained for 3 epochs.", "final": True, "step": 30, "total_steps": 30}
    (folder / "status.json").write_text(json.dumps(values | {"epoch": 3.0} | status))
    return folder
