"""Datasets of torchvision, read by its own classes from files that are there already."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.common.errors import LabError
from core.common.progress import no_progress
from core.data import load_images
from core.data.torchvision_sets import LARGEST, NAMES, _files, add_torchvision


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    return tmp_path


def _write_idx(path: Path, array: np.ndarray) -> None:
    path.write_bytes(
        struct.pack(">I", 0x0800 + array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    )


def test_the_published_splits_become_ours_with_every_pixel(home: Path) -> None:
    raw = home / "sets" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    random, given = np.random.default_rng(0), {}
    for split, count in (("train", 40), ("t10k", 20)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        given[split] = (images, labels)
        _write_idx(raw / f"{split}-images-idx3-ubyte", images)
        _write_idx(raw / f"{split}-labels-idx1-ubyte", labels)
    seen: list[float] = []
    stored = add_torchvision("torchvision:fashionmnist", lambda share, words: seen.append(share), root=home / "sets")
    assert stored.images == 60
    assert seen
    dataset = load_images(f"{stored.name}?size=32")
    assert "T-shirt-top" in dataset.card.classes
    assert dataset.card.sizes["test"] == 20
    assert {len(dataset.train) + len(dataset.validation)} == {40}
    files = sorted(stored.path.glob("test/T-shirt-top/*"))
    images, labels = given["t10k"]
    for file, index in zip(files, np.flatnonzero(labels == 0), strict=True):
        assert (np.asarray(Image.open(file))[..., 0] == images[index]).all()


def test_a_dataset_without_splits_and_with_large_images(home: Path) -> None:
    for label in ("Forest", "River"):
        folder = home / "sets" / "eurosat" / "2750" / label
        folder.mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (400 + number, 300), (number, 2, 3)).save(folder / f"{number}.jpg")
    stored = add_torchvision("EuroSAT", root=home / "sets")
    dataset = load_images(f"{stored.name}?size=64")
    assert dataset.card.classes == ("Forest", "River")
    assert sum(dataset.card.sizes.values()) == 24
    assert {min(Image.open(file).size) for file in stored.path.rglob("0*")} == {LARGEST}


@pytest.mark.parametrize("name", ["FakeData", "ImageNet", "nothing", "../etc", "__doc__", ""])
def test_what_torchvision_does_not_download_is_refused(home: Path, name: str) -> None:
    with pytest.raises(LabError, match="torchvision downloads no dataset"):
        add_torchvision(name)


def test_one_label_an_image_is_needed() -> None:
    with pytest.raises(LabError, match="more than one label"):
        list(_files({"train": [(Image.new("RGB", (4, 4)), (1, 2))]}, "Two labels", no_progress))


def test_what_is_offered_is_in_torchvision() -> None:
    from torchvision import datasets

    assert set(NAMES) <= set(datasets.__all__)
