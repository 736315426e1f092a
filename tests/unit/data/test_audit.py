"""Planted duplicates, leaks and faults are found, and nothing is found where nothing is."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from core.data import audit as audits
from core.data import folder
from core.data.audit import Audit, Finding, audit
from core.data.image_cache import perceptual_hash


@pytest.fixture(autouse=True)
def own_home(lab_home: Path) -> None:
    """Caches of one test are not seen by another."""


def photo(seed: int, side: int = 96) -> Image.Image:
    """Smooth random blobs: as unlike each other as photos are."""
    small = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def write_photos(root: Path, splits: dict[str, int], classes: str = "ab") -> Path:
    seed = 0
    for split, number in splits.items():
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for index in range(number):
                photo(seed := seed + 1).save(root / split / name / f"{index:03}.png")
    return root


def examine(root: Path) -> Audit:
    return audit(folder.read(f"folder:{root}"))


def finding(report: Audit, words: str) -> Finding:
    [found] = [each for each in report.findings if words in each.sentence]
    return found


def test_a_clean_folder_has_no_problem(tmp_path: Path) -> None:
    report = examine(write_photos(tmp_path, {"train": 150, "validation": 30, "test": 30}))
    assert report.problems == 0
    assert report.findings == ()
    assert report.counts == {"train": (150, 150), "validation": (30, 30), "test": (30, 30)}
    assert report.sides == (96, 96)


def test_the_same_file_in_training_and_test_is_an_error(tmp_path: Path) -> None:
    root = write_photos(tmp_path, {"train": 30, "test": 12, "val": 12})
    for index in range(3):
        shutil.copy(root / "train" / "a" / f"{index:03}.png", root / "test" / "a" / f"copy{index}.png")
    found = finding(examine(root), "the same image")
    assert found.removable == ("train/a/000.png", "train/a/001.png", "train/a/002.png"), "the test set stays whole"
    assert found.severity == "error"
    assert found.sentence.startswith("3 images")
    assert set(found.groups) == {(f"train/a/00{index}.png", f"test/a/copy{index}.png") for index in range(3)}


def changed(image: Image.Image, how: str, path: Path) -> None:
    if how == "smaller":
        image.resize((61, 61), Image.Resampling.LANCZOS).save(path.with_suffix(".png"))
    elif how == "compressed":
        image.save(path.with_suffix(".jpg"), quality=40)
    else:
        ImageEnhance.Brightness(image).enhance(1.25).save(path.with_suffix(".png"))


@pytest.mark.parametrize("how", ["smaller", "compressed", "brighter"])
def test_nearly_the_same_image_in_training_and_test_is_found(how: str, tmp_path: Path) -> None:
    root = write_photos(tmp_path, {"train": 30, "test": 12, "val": 12})
    for index in range(10):
        changed(Image.open(root / "train" / "b" / f"{index:03}.png"), how, root / "test" / "b" / f"again{index}")
    found = finding(examine(root), "nearly the same image")
    assert found.severity == "error"
    hits = sum(any("again" in name for name in group) for group in found.groups)
    assert hits == 10


def test_one_image_in_two_classes_is_an_error(tmp_path: Path) -> None:
    root = write_photos(tmp_path, {"train": 30, "test": 12, "val": 12})
    shutil.copy(root / "train" / "a" / "004.png", root / "train" / "b" / "twin.png")
    found = finding(examine(root), "two classes")
    assert found.severity == "error"
    assert found.groups == (("train/a/004.png", "train/b/twin.png"),)
    assert "a and b" in found.sentence


def test_copies_in_one_class_are_a_note_only(tmp_path: Path) -> None:
    root = write_photos(tmp_path, {"train": 30, "test": 12, "val": 12})
    shutil.copy(root / "train" / "a" / "004.png", root / "train" / "a" / "twin.png")
    report = examine(root)
    assert finding(report, "of its class").severity == "note"
    assert report.problems == 0


def test_images_of_one_colour_are_found_and_not_taken_for_copies(tmp_path: Path) -> None:
    root = write_photos(tmp_path, {"train": 40, "test": 12, "val": 12})
    for index in range(5):
        Image.new("RGB", (64, 64), (40 * index, 9, 9)).save(root / "train" / "a" / f"flat{index}.png")
        Image.new("RGB", (64, 64), (40 * index + 3, 90, 9)).save(root / "test" / "b" / f"flat{index}.png")
    report = examine(root)
    assert finding(report, "of one colour").sentence.startswith("10 images")
    assert [each for each in report.findings if each.severity == "error"] == []


def test_small_classes_rare_classes_small_images_and_unreadable_ones(tmp_path: Path) -> None:
    root = write_photos(tmp_path, {"train": 60, "test": 12, "val": 12})
    for split, number in (("train", 6), ("test", 2), ("val", 2)):
        (root / split / "c").mkdir()
        for index in range(number):
            photo(7000 + index + 100 * number, 12).save(root / split / "c" / f"{index}.png")
    (root / "train" / "a" / "bad.png").write_bytes(b"not an image")
    report = examine(root)
    assert "c (6)" in finding(report, "fewer than").sentence
    assert "5 times the images of c" in finding(report, "Balance").sentence
    assert "10 images less than half" in finding(report, "blurs").sentence
    unreadable = finding(report, "unreadable")
    assert unreadable.groups == (("train/a/bad.png",),)
    assert finding(report, "test images").severity == "note"
    assert report.counts["train"] == (60, 60, 6)


def test_a_hash_hardly_changes_with_the_image_and_differs_between_images() -> None:
    apart = [perceptual_hash(np.asarray(photo(seed))) for seed in range(200)]
    bits = [(a ^ b).bit_count() for i, a in enumerate(apart) for b in apart[:i]]
    assert min(bits) > audits.NEAR_BITS
    assert np.mean(bits) == pytest.approx(32, abs=2), "as for independent bits"
    for seed in range(20):
        small = photo(seed).resize((50, 50), Image.Resampling.LANCZOS)
        assert (perceptual_hash(np.asarray(small)) ^ apart[seed]).bit_count() <= 4
