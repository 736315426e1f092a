"""The same pixels in memory and memory-mapped, cropped and as a whole, at every size."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.common.errors import LabError
from core.data import canonical_name, image_cache, load_images
from core.data.decode import decode_image, fit_to_model, model_input, pad_to_square
from tests.unit.failures import failing, refusal


@pytest.fixture
def photos(tmp_path: Path, lab_home: Path) -> Path:
    random = np.random.default_rng(3)
    for name in "ab":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(12):
            shape = (50 + 7 * index, 80 - 3 * index, 3)
            pixels = random.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index:02}.png")
    (tmp_path / "photos" / "b" / "00bad.png").write_bytes(b"not an image")
    return tmp_path / "photos"


@pytest.mark.parametrize("options", ["", "?size=64", "?size=96&fit=whole", "?fit=whole"])
def test_mapped_and_in_memory_give_the_pixels_of_the_decoder(
    options: str, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = f"folder:{photos}{options}"
    memory = load_images(name)
    size = memory.card.image_size
    for split in (memory.train, memory.validation, memory.test):
        for image, file in zip(split.images, split.files, strict=True):
            assert np.array_equal(
                image, model_input(decode_image((photos / file).read_bytes()).rgb, size, memory.card.fit)
            )
            assert split.images.shape[1:] == (size, size, 3)
    monkeypatch.setattr(image_cache, "IN_MEMORY_BYTES", 1000)
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "other"))
    for _ in range(2):  # decoded now, then out of the cache
        mapped = load_images(name)
        assert mapped.card == memory.card
        for split in ("train", "validation", "test"):
            images = getattr(mapped, split).images
            assert isinstance(images.base if not isinstance(images, np.memmap) else images, np.memmap)
            assert np.array_equal(images, getattr(memory, split).images)
            assert getattr(mapped, split).files == getattr(memory, split).files


def test_a_name_says_size_and_fit_in_one_way_only(photos: Path) -> None:
    assert canonical_name(f"folder:{photos}?size=32&fit=crop") == f"folder:{photos}"
    assert canonical_name(f"folder:{photos}?fit=whole") == f"folder:{photos}?fit=whole"
    assert canonical_name(f"folder:{photos}?size=224&fit=whole") == f"folder:{photos}?size=224&fit=whole"
    odd = photos.rename(photos.with_name("what?"))
    assert canonical_name(f"folder:{odd}") == f"folder:{odd}", "no options"
    with refusal("Images of 33 pixels are not offered"):
        canonical_name(f"folder:{photos}?size=33")
    with refusal("fit=stretch is not offered"):
        canonical_name(f"folder:{photos}?fit=stretch")


def test_a_whole_image_keeps_its_shape_on_grey() -> None:
    square = pad_to_square(np.zeros((20, 60, 3), np.uint8))
    assert square.shape == (60, 60, 3)
    assert (square[20:40] == 0).all()
    assert (square[:20] == 128).all()
    assert (square[40:] == 128).all()
    small = model_input(np.zeros((20, 60, 3), np.uint8), 30, "whole")
    assert (small[12:18] == 0).all()
    assert (small[:8] == 128).all(), "up to where bicubic weights reach"
    assert pad_to_square(np.zeros((1, 20_000, 3), np.uint8)).shape == (1024, 1024, 3)
    photo = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    assert np.array_equal(model_input(photo, 32, "whole"), fit_to_model(photo, 32)), "a square has no grey"


def test_images_that_need_the_disk_say_when_it_is_full(
    photos: Path, monkeypatch: pytest.MonkeyPatch, lab_home: Path
) -> None:
    monkeypatch.setattr(image_cache, "IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(image_cache, "FREE_BYTES", 10**18)
    with pytest.raises(LabError, match="choose a smaller image size"):
        load_images(f"folder:{photos}")
    monkeypatch.undo()
    monkeypatch.setenv("LAB_HOME", str(lab_home))
    monkeypatch.setattr(image_cache, "IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(np, "savez", failing(errno.ENOSPC))
    with pytest.raises(LabError, match="is full"):
        load_images(f"folder:{photos}")
    assert list((lab_home / "data" / "folders").iterdir()) == []


def test_a_stop_leaves_nothing_behind(photos: Path, lab_home: Path) -> None:
    def stop(share: float, words: str) -> None:
        raise LabError("stopped")

    with pytest.raises(LabError, match="stopped"):
        load_images(f"folder:{photos}", stop)
    assert list((lab_home / "data" / "folders").iterdir()) == []


def test_two_processes_that_decode_the_same_images_at_once(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_images(f"folder:{photos}?size=64").train.images.copy()
    monkeypatch.setattr(image_cache, "IN_MEMORY_BYTES", 1000)
    name, replace = f"folder:{photos}?size=64&fit=crop", os.replace
    [kept] = image_cache.cache_folder("").iterdir()
    shutil.rmtree(kept)

    def overtaken(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "replace", replace)
        load_images(name)  # ends between the removal of what was there and the move
        replace(source, target)

    monkeypatch.setattr(os, "replace", overtaken)
    assert np.array_equal(load_images(name).train.images, expected)
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_what_a_killed_process_left_is_removed_after_a_day(photos: Path, lab_home: Path) -> None:
    home = lab_home / "data" / "folders"
    for name, age_s in ((".killed", 2 * 24 * 3600), (".working", 60)):
        (home / name).mkdir(parents=True)
        os.utime(home / name, (time.time() - age_s,) * 2)
    load_images(f"folder:{photos}")
    assert {path.name for path in home.iterdir() if path.name.startswith(".")} == {".working"}
