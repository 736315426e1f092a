"""Folders of class folders: splits, statistics, the cache, and everything a person can get wrong."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.common import progress
from core.common.errors import LabError
from core.data import (
    ImageDataset,
    dataset_sizes,
    dataset_status,
    folder,
    image_cache,
    layout,
    load_dataset,
)
from tests.unit.failures import failing, refusal


@pytest.fixture(autouse=True)
def own_home(lab_home: Path) -> None:
    """Caches of one test are not seen by another."""


def write(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (32, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def write_classes(root: Path, classes: dict[str, int], suffix: str = ".png") -> Path:
    """`classes` maps a name to its number of images; image i of class c has the colour (i, 40·c, 7)."""
    for label, (name, count) in enumerate(classes.items()):
        for index in range(count):
            write(root / name / f"{index:03}{suffix}", (index, 40 * label, 7))
    return root


def load(root: Path) -> ImageDataset:
    return load_dataset(f"folder:{root}")


def colours(images: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(int(value) for value in image[0, 0]) for image in images}


def test_the_tiny_fixture_loads_with_the_same_card(tiny_dataset_folder: Path) -> None:
    dataset = load(tiny_dataset_folder)
    assert dataset.card.name == f"folder:{tiny_dataset_folder}"
    assert dataset.card.classes == ("circle", "cross", "square")
    assert dataset.card.sizes == {"train": 162, "validation": 18, "test": 60}
    assert type(dataset.card).from_dict(dataset.card.to_dict()) == dataset.card
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.images.dtype == np.uint8
        assert split.images.shape[1:] == (32, 32, 3)
        assert split.labels.dtype == np.int64


def test_missing_splits_are_a_stratified_tenth_each(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "d", {"ant": 30, "bee": 20, "cow": 3})
    dataset = load(root)
    assert np.bincount(dataset.test.labels).tolist() == [3, 2, 1]
    assert np.bincount(dataset.validation.labels).tolist() == [3, 2, 1]
    assert np.bincount(dataset.train.labels).tolist() == [24, 16, 1]
    assert dataset_sizes(dataset.card.name) == dataset.card.sizes, "they are counted without loading"
    parts = [colours(split.images) for split in (dataset.train, dataset.validation, dataset.test)]
    assert len(parts[0] | parts[1] | parts[2]) == 53, "no image is lost and none is in two splits"
    for split in (dataset.train, dataset.validation, dataset.test):
        assert np.array_equal(split.images[:, 0, 0, 1], 40 * split.labels), "images keep their labels"
    assert "test, then validation" in dataset.card.split
    again = load(root)
    assert np.array_equal(again.validation.images, dataset.validation.images)


@pytest.mark.parametrize("validation", ["validation", "val"])
def test_given_splits_are_taken_as_they_are(validation: str, tmp_path: Path) -> None:
    for split, count in (("train", 4), ("test", 3), (validation, 2)):
        write_classes(tmp_path / split, {"ant": count, "bee": count})
    dataset = load(tmp_path)
    assert dataset_sizes(dataset.card.name) == dataset.card.sizes == {"train": 8, "validation": 4, "test": 6}
    assert dataset.card.split == "From folders of their own: train, validation, test."
    for split in ("train", "test", validation):
        write_classes(tmp_path / "few" / split, {"ant": 1, "bee": 1})
    assert load(tmp_path / "few").card.sizes == {"train": 2, "validation": 2, "test": 2}, (
        "one of a class is enough here"
    )


def test_mean_and_spread_are_those_of_the_training_images(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "d", {"ant": 30, "bee": 30})
    dataset = load(root)
    scaled = dataset.train.images / 255
    assert dataset.card.mean == pytest.approx(scaled.mean(axis=(0, 1, 2)))
    assert dataset.card.std[:2] == pytest.approx(scaled.std(axis=(0, 1, 2))[:2])
    assert dataset.card.std[2] == pytest.approx(1 / 255), "a constant channel must not divide by zero"


def test_images_of_any_format_size_and_depth_become_model_inputs(tmp_path: Path) -> None:
    for index, suffix in enumerate((".png", ".JPG", ".jpeg", ".webp", ".bmp", ".gif")):
        write(tmp_path / "ant" / "deeper" / f"{index}{suffix}", (200, 10, 10), (50 + index, 40))
        write(tmp_path / "bee" / f"{index}{suffix}", (10, 10, 200), (7, 90))
    (tmp_path / "ant" / "notes.txt").write_text("not an image")
    (tmp_path / "ant" / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "bee" / ".hidden.png").write_bytes(b"\0")
    os.mkfifo(tmp_path / "bee" / "pipe.png")
    dataset = load(tmp_path)
    assert sum(dataset.card.sizes.values()) == 12
    for split in (dataset.train, dataset.validation, dataset.test):
        assert np.array_equal(split.images[:, 16, 16, 0] > 100, split.labels == 0)


def test_the_cache_is_used_until_something_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_classes(tmp_path / "d", {"ant": 5, "bee": 5})
    first = load(root)
    decoded: list[int] = []
    decode = image_cache.decode_image
    monkeypatch.setattr(image_cache, "decode_image", lambda data: decoded.append(1) or decode(data))
    assert np.array_equal(load(root).train.images, first.train.images)
    assert decoded == []
    write(root / "ant" / "new.png", (99, 0, 7))
    assert sum(load(root).card.sizes.values()) == 11
    assert len(decoded) == 11
    os.utime(root / "ant" / "new.png", ns=(1, 1))
    load(root)
    assert len(decoded) == 22


def test_folders_that_look_the_same_are_not_taken_for_each_other(tmp_path: Path) -> None:
    for name, shade in (("one", 10), ("two", 200)):
        for label in ("ant", "bee"):
            for index in range(4):
                path = tmp_path / name / label / f"{index}.bmp"
                write(path, (shade, shade, index))
                os.utime(path, ns=(1, 1))
    assert {colour[0] for colour in colours(load(tmp_path / "one").train.images)} == {10}
    assert {colour[0] for colour in colours(load(tmp_path / "two").train.images)} == {200}


def test_an_image_that_was_replaced_with_its_old_time_is_seen(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "d", {"ant": 5, "bee": 5}, suffix=".bmp")
    before, old = folder.state(f"folder:{root}"), (root / "ant" / "000.bmp").stat()
    load(root)
    write(tmp_path / "new.bmp", (77, 77, 77))
    os.utime(tmp_path / "new.bmp", ns=(old.st_atime_ns, old.st_mtime_ns))
    os.replace(tmp_path / "new.bmp", root / "ant" / "000.bmp")
    assert folder.state(f"folder:{root}") != before
    dataset = load(root)
    images = np.concatenate([dataset.train.images, dataset.validation.images, dataset.test.images])
    assert (77, 77, 77) in colours(images)


def test_what_cannot_be_opened_now_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_classes(tmp_path / "d", {"ant": 10, "bee": 10})
    broken = root / "ant" / "003.png"
    opened = Path.open

    def refuse(path: Path, *arguments: object, **options: object) -> object:
        if path == broken:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    assert sum(load(root).card.sizes.values()) == 19
    monkeypatch.undo()
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "lab"))
    assert sum(load(root).card.sizes.values()) == 20


def test_a_damaged_cache_is_decoded_again(tmp_path: Path, lab_home: Path) -> None:
    root = write_classes(tmp_path / "d", {"ant": 5, "bee": 5})
    first = load(root)
    [store] = (lab_home / "data" / "folders").iterdir()
    assert {file.name for file in store.iterdir()} == {"pixels.npy", "facts.npz", "facts.json", "card.json"}
    for name in ("pixels.npy", "facts.npz", "facts.json", "card.json"):
        good = (store / name).read_bytes()
        for at in range(0, len(good), 997):
            (store / name).write_bytes(good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])
            assert np.array_equal(load(root).train.images, first.train.images)
            assert load(root).card == first.card
        (store / name).write_bytes(good[: len(good) // 2])
        assert np.array_equal(load(root).train.images, first.train.images)


def test_only_so_many_caches_are_kept(tmp_path: Path, lab_home: Path) -> None:
    for number in range(image_cache.KEPT_CACHES + 3):
        load(write_classes(tmp_path / str(number), {"ant": 3, "bee": 3}))
    assert len(list((lab_home / "data" / "folders").iterdir())) == image_cache.KEPT_CACHES


def test_a_full_disk_costs_the_cache_only(tmp_path: Path, lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_classes(tmp_path / "d", {"ant": 3, "bee": 3})
    monkeypatch.setattr(np, "save", failing(errno.ENOSPC))
    assert load(root).card.sizes["train"] == 2
    assert list((lab_home / "data" / "folders").iterdir()) == []


def test_progress_counts_the_bytes_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REPORT_EVERY_S", 0.0)
    root = write_classes(tmp_path / "d", {"ant": 5, "bee": 5})
    seen: list[tuple[float, str]] = []
    load_dataset(f"folder:{root}", lambda *report: seen.append(report))
    assert {words.split(" (")[0] for _, words in seen} == {"decode"}
    fractions = [fraction for fraction, _ in seen]
    assert (len(fractions), fractions[0], fractions[-1]) == (11, 0.0, 1.0)
    assert fractions == sorted(fractions)


def test_a_few_unreadable_images_are_left_out_and_named(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "d", {"ant": 20, "bee": 20})
    (root / "bee" / "000.png").write_text("a text file named .png")
    (root / "ant" / "zero.jpg").write_bytes(b"")
    dataset = load(root)
    assert sum(dataset.card.sizes.values()) == 39
    assert "2 could not be decoded and were left out: ant/zero.jpg, bee/000.png." in dataset.card.split
    for split in (dataset.train, dataset.validation, dataset.test):
        assert np.array_equal(split.images[:, 0, 0, 1], 40 * split.labels)


def test_many_unreadable_images_are_an_error(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "d", {"ant": 6, "bee": 6})
    for index in range(2):
        (root / "bee" / f"{index:03}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(LabError, match=r"2 of the 12 images .* cannot be decoded \(bee/00[01]\.png: "):
        load(root)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ({}, "holds no class folders"),
        ({"ant": 5}, "holds 1 class folder and at least 2 are needed"),
        ({"ant": 5, "bee": 1}, "class 'bee' has 1 image for training .* at least 3 are needed"),
        ({"ant": 5, "bee": 2}, "class 'bee' has 2 images for training"),
        ({"ant": 5, "bee": 0}, "class 'bee' has no image for train"),
        ({"ant": 5, "b\x07ee": 5}, "unusable name"),
        ({"ant": 5, "b" * 101: 5}, "unusable name"),
        ({"test/ant": 5, "test/bee": 5}, r"holds test/ but no train/"),
        ({"train/ant": 5, "train/bee": 5, "test/ant": 5, "test/wasp": 5}, "different class folders"),
    ],
)
def test_folders_that_are_no_dataset_say_why(classes: dict[str, int], words: str, tmp_path: Path) -> None:
    for name in classes:
        (tmp_path / name).mkdir(parents=True)
    write_classes(tmp_path, classes)
    with refusal(words):
        load(tmp_path)
    with refusal(words):
        dataset_sizes(f"folder:{tmp_path}")


@pytest.mark.parametrize("path", [r"C:\Users\me\images", "d:/images", r"\\\\server\images"])
def test_a_path_of_a_windows_machine_is_called_that(path: str) -> None:
    with refusal("is a path of a Windows machine"):
        folder.parse_name(f"folder:{path}")


def test_caps_on_images_and_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_classes(tmp_path / "d", {"ant": 3, "bee": 3, "cow": 3})
    monkeypatch.setattr(layout, "MAX_IMAGES", 8)
    with pytest.raises(LabError, match="holds 9 images and at most 8"):
        load(root)
    monkeypatch.setattr(layout, "MAX_CLASSES", 2)
    with pytest.raises(LabError, match="holds 3 folders and at most 2"):
        load(root)


def test_a_folder_that_may_not_be_read_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_classes(tmp_path / "d", {"ant": 3, "bee": 3})

    monkeypatch.setattr(Path, "iterdir", failing(errno.EACCES))
    with refusal("change its permissions"):
        load(root)


def test_status_of_a_folder_needs_no_walk_through_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_classes(tmp_path / "shapes", {"ant": 3, "bee": 3})
    monkeypatch.setattr(os, "walk", None)
    status = dataset_status(f"folder:{root}")
    assert status.ready
    assert status.folder == root
    assert status.size_bytes == 0
    assert "shapes is on this machine" in status.sentence
