"""The ImageNet backbone: fetched once, converted to a checkpoint, and nothing of its archive trusted."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from core.checkpoints import backbone
from core.checkpoints.backbone import BLOCK_PARTS, EFFICIENTNET_LITE0, PARTS, fetch_backbone, is_fetched, rename
from core.checkpoints.store import load_checkpoint
from core.data.archives import Archive
from core.models import build_model
from tests.unit.failures import refusal

NAME = EFFICIENTNET_LITE0.name
Put = Callable[[Any], Path]


def package_names() -> dict[str, str]:
    """Name of a tensor here -> its name in the package."""
    parts = {new: old for old, new in PARTS.items()}
    block_parts = {new: old for old, new in BLOCK_PARTS.items()}
    names = {}
    for name in build_model(NAME, {}).state_dict():
        owner, _, tensor = name.rpartition(".")
        if owner.startswith("blocks."):
            _, number, part = owner.split(".", 2)
            names[name] = f"_blocks.{number}.{block_parts[part]}.{tensor}"
        else:
            names[name] = f"{parts[owner]}.{tensor}"
    return names


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Random weights under the package's names."""
    torch.manual_seed(0)
    names = package_names()
    return {names[key]: value for key, value in build_model(NAME, {"classes": 1000}).state_dict().items()}


@pytest.fixture
def put(lab_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Put an archive with these contents in the place of the published one, its checksum pinned."""

    def put(content: Any) -> Path:
        path, buffer = tmp_path / EFFICIENTNET_LITE0.mirrors[0].archive.filename, io.BytesIO()
        torch.save(content, buffer)
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(EFFICIENTNET_LITE0.member, buffer.getvalue())
        data = path.read_bytes()
        archive = Archive(filename=path.name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        mirror = dataclasses.replace(EFFICIENTNET_LITE0.mirrors[0], archive=archive)
        monkeypatch.setitem(backbone.BACKBONES, NAME, dataclasses.replace(EFFICIENTNET_LITE0, mirrors=(mirror,)))
        monkeypatch.setenv("LAB_EFFICIENTNET_LITE0", str(path))
        return path

    return put


def test_every_tensor_has_one_name_there_and_one_here() -> None:
    names = package_names()
    assert len(set(names.values())) == len(names) == 296
    assert all(rename(old) == new for new, old in names.items())


def test_it_becomes_a_checkpoint_once(put: Put, state: dict[str, torch.Tensor], lab_home: Path) -> None:
    path = put(state)
    assert not is_fetched(NAME)
    seen: list[str] = []
    folder = fetch_backbone(NAME, lambda share, words: seen.append(words))
    assert seen[0] == "verify"
    assert is_fetched(NAME)
    checkpoint = load_checkpoint(NAME)
    assert checkpoint.card.parameters == 4_652_008
    assert len(checkpoint.card.image_data.classes) == 1000
    assert "Apache-2.0" in checkpoint.card.notes
    found = checkpoint.model.state_dict()
    assert all(torch.equal(found[rename(key)], value) for key, value in state.items())
    path.unlink()
    assert fetch_backbone(NAME) == folder == lab_home / "backbones" / NAME


class Malicious:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('run')",))


def test_an_archive_that_holds_something_else_is_refused(put: Put, state: dict[str, torch.Tensor]) -> None:
    for content in ({"_fc.weight": state["_fc.weight"]}, state | {"strange": torch.zeros(1)}, [1, 2], Malicious()):
        put(content)
        with refusal("holds other weights"):
            fetch_backbone(NAME)
    path = put(state)
    path.write_bytes(pickle.dumps(1))
    with refusal("The size or the checksum"):
        fetch_backbone(NAME)
    assert not is_fetched(NAME)
