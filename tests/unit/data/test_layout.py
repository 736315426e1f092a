"""The layouts of folders that people have, and what is said about what was left out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from core.common.errors import LabError
from core.data import ImageDataset, load_dataset
from core.data.layout import Listing, list_images
from tests.unit.data.test_folder import write, write_classes


@pytest.fixture(autouse=True)
def own_home(lab_home: Path) -> None:
    """Caches of one test are not seen by another."""


def counts(listing: Listing) -> dict[str, list[int]]:
    return {
        split: np.bincount([file.label for file in files], minlength=len(listing.classes)).tolist()
        for split, files in listing.splits.items()
    }


def load(root: Path) -> ImageDataset:
    return load_dataset(f"folder:{root}")


@pytest.mark.parametrize(
    "names",
    [
        ("train", "valid", "test"),
        ("Training", "Validation", "Testing"),
        ("TRAIN", "Val", "Test"),
        ("trn", "dev", "eval"),
    ],
)
def test_split_folders_by_the_names_that_people_give_them(names: tuple[str, str, str], tmp_path: Path) -> None:
    for name, number in zip(names, (4, 2, 3), strict=True):
        write_classes(tmp_path / name, {"ant": number, "bee": number})
    listing = list_images(tmp_path)
    assert counts(listing) == {"train": [4, 4], "validation": [2, 2], "test": [3, 3]}
    for name, split in zip(names, ("train", "validation", "test"), strict=True):
        assert (f"{name}/ is read as {split}." in listing.notes) == (name != split)


def test_classes_match_between_splits_whatever_their_case(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"Ant": 4, "Bee": 4})
    write_classes(tmp_path / "test", {"ant": 2, "bee": 3})
    assert counts(list_images(tmp_path)) == {"train": [4, 4], "test": [2, 3]}
    assert load(tmp_path).card.classes == ("Ant", "Bee")


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    write_classes(tmp_path, {"car": 4, "plane": 4, "train": 5})
    assert list_images(tmp_path).classes == ("car", "plane", "train")


def test_the_folder_inside_a_folder_is_found(tmp_path: Path) -> None:
    write_classes(tmp_path / "archive" / "my photos", {"ant": 4, "bee": 4})
    write(tmp_path / "__MACOSX" / "archive" / "._0.png", (0, 0, 0))
    listing = list_images(tmp_path)
    assert listing.root == tmp_path / "archive" / "my photos"
    assert counts(listing) == {"train": [4, 4]}
    assert any("my photos" in note for note in listing.notes)


def test_splits_inside_of_classes_are_read_as_such(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        write_classes(tmp_path / name, {"Train": 5, "test": 2})
    listing = list_images(tmp_path)
    assert listing.classes == ("ant", "bee")
    assert counts(listing) == {"train": [5, 5], "test": [2, 2]}


def test_classes_that_all_hold_the_same_folders_are_refused_with_the_reason(tmp_path: Path) -> None:
    for year in ("2021", "2022"):
        write_classes(tmp_path / year, {"ant": 3, "bee": 3})
    with pytest.raises(LabError, match=r"same folders \(ant, bee\).*call the outer folders train"):
        list_images(tmp_path)


def test_one_folder_of_the_same_name_in_every_class_is_gone_through(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        write_classes(tmp_path / name, {"images": 3})
    assert counts(list_images(tmp_path)) == {"train": [3, 3]}


def test_what_belongs_to_the_system_is_left_out_and_counted(tmp_path: Path) -> None:
    write_classes(tmp_path, {"ant": 3, "bee": 3})
    for junk in ("__MACOSX", "@eaDir", "#recycle", ".git", "$RECYCLE.BIN"):
        write(tmp_path / junk / "x.png", (0, 0, 0))
    write(tmp_path / "ant" / "@eaDir" / "thumb.jpg", (0, 0, 0))
    (tmp_path / "ant" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "ant" / "notes.txt").write_text("ant, ant")
    (tmp_path / "bee" / "labels.xml").write_text("<a/>")
    listing = list_images(tmp_path)
    assert listing.classes == ("ant", "bee")
    assert counts(listing) == {"train": [3, 3]}
    assert "2 files left out, not an image (1 .txt, 1 .xml)." in listing.notes
    assert "2 hidden or of the system left out." in listing.notes


def test_files_are_images_by_content_and_not_by_name(tmp_path: Path) -> None:
    write_classes(tmp_path, {"ant": 4, "bee": 4})
    (tmp_path / "ant" / "000.png").rename(tmp_path / "ant" / "photo")
    (tmp_path / "ant" / "001.png").rename(tmp_path / "ant" / "photo.dat")
    write(tmp_path / "bee" / "a.jpeg", (9, 9, 9))
    (tmp_path / "bee" / "a.jpeg").rename(tmp_path / "bee" / "a.jfif")
    (tmp_path / "bee" / "b.dat").write_bytes(b"no image at all")
    listing = list_images(tmp_path)
    assert counts(listing) == {"train": [4, 5]}
    assert "2 files with an unusual ending read as an image." in listing.notes
    assert "1 file left out, not an image (1 .dat)." in listing.notes
    assert sum(load(tmp_path).card.sizes.values()) == 9


def test_test_images_without_classes_are_left_out_and_others_taken(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"ant": 10, "bee": 10})
    write_classes(tmp_path, {"test": 7})
    listing = list_images(tmp_path)
    assert counts(listing) == {"train": [10, 10]}
    assert "7 images left out in test/: without a class." in listing.notes
    assert load(tmp_path).card.sizes == {"train": 16, "validation": 2, "test": 2}


def test_images_beside_the_classes_are_counted(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"ant": 4, "bee": 4})
    write(tmp_path / "train" / "loose.png", (0, 0, 0))
    write(tmp_path / "extra" / "deep" / "other.png", (0, 0, 0))
    notes = list_images(tmp_path).notes
    assert "1 image left out in train/: without a class." in notes
    assert "1 image left out in extra/: without a class." in notes


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    for name in ("train", "val", "valid"):
        write_classes(tmp_path / name, {"ant": 3, "bee": 3})
    with pytest.raises(LabError, match="holds both val/ and valid/"):
        list_images(tmp_path)


def write_images(root: Path, number: int, suffix: str = ".png") -> list[str]:
    names = [f"{index:03}{suffix}" for index in range(number)]
    for index, name in enumerate(names):
        write(root / name, (index, 40 * (index % 2), 7))
    return names


def write_csv(path: Path, rows: list[list[str]], delimiter: str = ",") -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", [["filename", "label"], ["Image", "breed"], ["label", "id"]])
def test_a_list_in_csv_gives_the_classes(delimiter: str, header: list[str], tmp_path: Path) -> None:
    names = write_images(tmp_path / "images", 20)
    rows = []
    for index, name in enumerate(names):
        label = ["ant", "bee"][index % 2]
        shown = name.removesuffix(".png") if header[1] == "id" else f"images/{name}"  # Kaggle leaves the ending out
        rows.append([label, shown] if header[1] == "id" else [shown, label])
    write_csv(tmp_path / "labels.csv", [header, *rows], delimiter)
    listing = list_images(tmp_path)
    assert listing.classes == ("ant", "bee")
    assert counts(listing) == {"train": [10, 10]}
    assert "Classes read from labels.csv." in listing.notes
    dataset = load(tmp_path)
    assert np.array_equal(dataset.train.images[:, 0, 0, 1] // 40, dataset.train.labels), "images keep their labels"


def test_a_column_of_splits_and_rows_that_fit_nothing(tmp_path: Path) -> None:
    names = write_images(tmp_path, 20)
    rows = [["file", "class", "split", "note"]]
    rows += [[name, "ab"[i % 2], ["train", "test"][i >= 12], "x"] for i, name in enumerate(names[:18])]
    rows += [["missing.png", "a", "train", ""], [names[0], "b", "train", ""], [names[18], "", "train", ""]]
    write_csv(tmp_path / "all.csv", rows)
    listing = list_images(tmp_path)
    assert counts(listing) == {"train": [6, 6], "test": [3, 3]}, "a second row of an image counts for nothing"
    notes = " ".join(listing.notes)
    assert "1 row of all.csv left out: the image is not there." in notes
    assert "1 image in all.csv left out: without a class, or with several." in notes
    assert "1 row of all.csv left out: the image is listed before." in notes
    assert "2 images left out: in no list." in notes


def test_a_row_never_names_an_image_of_another_folder(tmp_path: Path) -> None:
    for folder in ("", "images", "images/deep"):
        write_images(tmp_path / folder, 10)
    (tmp_path / "images" / "003.png").unlink()
    (tmp_path / "003.png").unlink()
    rows = [[f"images/{index:03}.png", "ab"[index % 2]] for index in range(10)]  # 003 is only in images/deep/
    rows += [["000.png", "b"]]
    write_csv(tmp_path / "all.csv", [["file", "label"], *rows])
    listing = list_images(tmp_path)
    found = {
        file.path.relative_to(tmp_path).as_posix(): listing.classes[file.label] for file in listing.splits["train"]
    }
    assert found == {f"images/{index:03}.png": "ab"[index % 2] for index in range(10) if index != 3} | {"000.png": "b"}


def test_a_column_for_each_class_as_roboflow_writes_it(tmp_path: Path) -> None:
    for split, number in (("train", 12), ("valid", 4)):
        names = write_images(tmp_path / split, number)
        rows = [[name, str(int(i % 2 == 0)), str(int(i % 2 == 1))] for i, name in enumerate(names)]
        rows[-1][1:] = ["1", "1"]
        write_csv(tmp_path / split / "_classes.csv", [["filename", " ant", " bee"], *rows])
    listing = list_images(tmp_path)
    assert listing.classes == ("ant", "bee")
    assert counts(listing) == {"train": [6, 5], "validation": [2, 1]}


def test_annotations_of_coco_with_one_class_an_image(tmp_path: Path) -> None:
    names = write_images(tmp_path / "train", 13, ".jpg")
    boxes = [{"image_id": i, "category_id": 1 + i % 2} for i in range(12)] + [{"image_id": 0, "category_id": 1}]
    content = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "categories": [{"id": 0, "name": "insects"}, {"id": 1, "name": "ant"}, {"id": 2, "name": "bee"}],
        "annotations": [*boxes, {"image_id": 3, "category_id": 1}],
    }
    (tmp_path / "train" / "_annotations.coco.json").write_text(json.dumps(content))
    listing = list_images(tmp_path)
    assert listing.classes == ("ant", "bee"), "a class of no image is none"
    assert counts(listing) == {"train": [6, 5]}
    assert any(note.startswith("2 images in _annotations.coco.json left out") for note in listing.notes)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "file,label\n", "has no rows"),
        ("a.csv", "file,label\nnone.png,ant\n", "No column of a.csv names images"),
        ("a.csv", "file,x,y\n000.png,1,5\n001.png,2,6\n", "unclear which column of a.csv holds the class"),
        ("a.csv", "file,label\n000.png,ant\n001.png,ant\n", "names 1 classes and 2 to"),
        ("a.csv", "file,label\n../secret.png,ant\n/etc/passwd,bee\n", "No column of a.csv names images"),
        ("a.json", '{"annotations": [{"image_id": 1}], "images": [], "categories": []}', "not in COCO's format"),
        (
            "a.json",
            '{"annotations": [], "images": [{"id": [], "file_name": "x"}], "categories": []}',
            "not in COCO's format",
        ),
        ("a.json", '{"annotations": ', "not in COCO's format"),
        ("a.json", "[" * 100_000 + '"annotations"', "not in COCO's format"),
    ],
)
def test_lists_that_cannot_be_understood_say_why(name: str, content: str, words: str, tmp_path: Path) -> None:
    root = tmp_path / "d"
    write_images(root, 6)
    write(tmp_path / "secret.png", (0, 0, 0))
    (root / name).write_text(content)
    with pytest.raises(LabError, match=words):
        list_images(root)


def test_a_list_beside_others_that_say_nothing_of_classes(tmp_path: Path) -> None:
    names = write_images(tmp_path, 12)
    write_csv(tmp_path / "labels.csv", [["file", "label"], *([name, "ab"[i % 2]] for i, name in enumerate(names[:10]))])
    write_csv(tmp_path / "sample_submission.csv", [["file", "label"], *([name, "a"] for name in names[10:])])
    write_csv(tmp_path / "prices.csv", [["day", "price"], ["monday", "3"]])
    listing = list_images(tmp_path)
    assert counts(listing) == {"train": [5, 5]}
    assert any("prices.csv" in note and note.startswith("A list is not used") for note in listing.notes)
    assert "Classes read from labels.csv." in listing.notes


def test_a_test_folder_without_labels_is_counted_and_left_out(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"ant": 4, "bee": 4})
    write_classes(tmp_path / "test", {"unknown": 3})
    listing = list_images(tmp_path)
    assert counts(listing) == {"train": [4, 4]}
    assert any("3 images" in note and "test/" in note for note in listing.notes)


def test_class_folders_come_before_a_list(tmp_path: Path) -> None:
    write_classes(tmp_path, {"ant": 3, "bee": 3})
    (tmp_path / "notes.csv").write_text("file,label\nant/000.png,wasp\n")
    assert list_images(tmp_path).classes == ("ant", "bee")
