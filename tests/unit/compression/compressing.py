"""A small checkpoint to compress, a queue that starts nothing, and what is said of a mistake."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from core.checkpoints.store import Card, save_checkpoint
from core.data import load_images
from core.jobs import LocalEngine, RunStore
from core.models import build_model


def save_small(folder: Path, images: Path) -> Path:
    """A Simple CNN, not trained, for a folder of class folders (three classes); returns `folder`."""
    torch.manual_seed(0)
    settings = {"classes": 3, "widths": [8, 8]}
    dataset = load_images(f"folder:{images}").card
    card = Card(title="Small network", model="simple_cnn", model_config=settings, dataset=dataset)
    save_checkpoint(folder, build_model("simple_cnn", settings), card)
    return folder


@contextlib.contextmanager
def only_queued(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs are queued and never started; those that were made meanwhile are removed."""
    before = {run.id for run in RunStore().list()}
    monkeypatch.setattr(LocalEngine, "tick", lambda self: None)
    yield
    for run in RunStore().list():
        if run.id not in before:
            RunStore().delete(run.id)
