"""A checkpoint on disk, for the tests that damage it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.checkpoints.store import save_checkpoint
from core.models import build_model
from tests.unit.checkpoints.test_store import card


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "made", build_model("simple_cnn", {"classes": 4}), card())
    return tmp_path / "made"
