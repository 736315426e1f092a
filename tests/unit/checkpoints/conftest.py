"""A checkpoint on disk, for the tests that damage it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch

from core.checkpoints.store import Card, read_card, save_checkpoint
from core.models import build_model
from tests.unit.builders import synthetic


def card(**changes: object) -> Card:
    base = Card(title="A test", model="simple_cnn", model_config={"classes": 4}, dataset=synthetic(8, 8).card)
    return dataclasses.replace(base, **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "made", build_model("simple_cnn", {"classes": 4}), card())
    return tmp_path / "made"


def edit_card(folder: Path, **changes: object) -> None:
    values = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(values | changes))


def replace_weights(folder: Path, data: bytes) -> None:
    """Other bytes in the place of the weights, with their checksum on the card."""
    (folder / read_card(folder).weights_file).write_bytes(data)
    edit_card(folder, weights_sha256=hashlib.sha256(data).hexdigest())
