"""Datasets: what is there, photos that are added, what is wrong with them, and their end."""

from __future__ import annotations

import dataclasses
import io
import math
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from core.common.errors import LabError
from core.common.progress import Progress, no_progress
from core.data import load_images, store_upload, stored_folders, stored_texts
from core.data.dataset import ImageDataset
from core.images.diagnosis import Diagnosis, Forecast, diagnose
from pages.datasets.labels import forecast_words
from pages.shared import tasks
from pages.shared.dataset_field import allowed_name
from tests.app.conftest import HOSTILE, Open, click, follow, rerun, sources, texts, wait_for
from tests.tiny_text import play


def photo(seed: int, side: int = 100) -> bytes:
    small = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def photos(number: int = 30) -> dict[str, bytes]:
    return {
        f"pets/{name}/{index}.png": photo(1000 * label + index)
        for label, name in enumerate("ab")
        for index in range(number)
    }


def packed(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def settled(at: AppTest) -> AppTest:
    wait_for(lambda: all(task.done for task in tasks._tasks().values()))
    at = rerun(at)
    wait_for(lambda: all(task.done for task in tasks._tasks().values()))
    return rerun(at)


def add(open_page: Open, content: dict[str, bytes], name: str = "pets.zip") -> AppTest:
    at = open_page("datasets", view="Add photos")
    return settled(rerun(at.file_uploader(key="photos-zip-0").set_value((name, packed(content), "application/zip"))))


def test_all_datasets_are_listed_with_what_they_take(open_page: Open) -> None:
    at = open_page("datasets")
    assert "CIFAR-10" in texts(at)
    assert "Not on this machine yet (170 MB to fetch)" in texts(at)
    at = click(at, "open-cifar10")
    assert "CIFAR-10 is not on this machine yet" in texts(at)


def test_a_zip_of_photos_is_examined_and_listed(open_page: Open) -> None:
    content = photos() | {"pets/b/twin.png": photos()["pets/a/3.png"], "pets/a/notes.txt": b"x"}
    at = add(open_page, content)
    assert "61 photos in 2 classes." in texts(at)
    assert "1 image in two classes at once, the first in a and b" in " ".join(box.label for box in at.expander)
    assert "pets/a/3.png" not in texts(at), "files are named below the folder that holds the classes"
    assert re.search(r"\n(a/3.png · b/twin.png|b/twin.png · a/3.png)\n", texts(at))
    assert "1 file left out: not an image." in texts(at)
    assert "Model input: 96×96 pixels." in texts(at), "as large as the photos allow"
    click(at, next(each.key for each in at.button if each.label == "Leave 2 files out"))
    at = settled(open_page("datasets", open=stored_folders()[0].path.name))
    assert "59 photos in 2 classes. No problem found." in texts(at)
    assert "2 files left out: by you, after the check." in texts(at)
    (stored,) = stored_folders()
    assert at.query_params["open"] == stored.path.name, "a reload still shows it"
    at = follow(at, "datasets", view="Add photos")
    assert len(at.file_uploader) == 2, "empty again"
    at = follow(at, "datasets")
    assert "59 image files of yours" in texts(at)
    at = click(at, f"open-{stored.path.name}")
    assert "59 photos in 2 classes." in texts(at)
    assert at.query_params["open"] == stored.path.name


def test_train_on_it_opens_the_form_with_the_photos(open_page: Open) -> None:
    at = add(open_page, photos())
    (stored,) = stored_folders()
    at = rerun(at.button(key="train-on-it").click())
    (link,) = (link for link in at.get("page_link") if link.proto.label == "Open")
    assert f"dataset={stored.path.name}" in link.proto.query_string
    at = follow(at, link.proto.page, view="Train", dataset=stored.path.name)
    assert at.selectbox(key="dataset").value == stored.name


def test_deleted_photos_are_gone_and_a_link_to_them_says_so(open_page: Open) -> None:
    at = add(open_page, photos())
    (stored,) = stored_folders()
    click(at, "delete-dataset")
    assert stored_folders() == []
    assert not stored.path.exists()
    assert "is not on this server, or was deleted" in texts(open_page("datasets", open=stored.path.name))
    at = follow(at, "datasets", view="Add photos")
    assert at.error.len == 0
    assert len(at.file_uploader) == 2, "ready for other photos"


def test_an_uploaded_text_can_be_deleted(open_page: Open) -> None:
    name = store_upload(play(2000).encode(), "play.txt")
    click(open_page("datasets", open=Path(name).stem), "delete-dataset")
    assert not stored_texts()
    assert not Path(name.removeprefix("text:")).exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no archive", "not a zip archive that can be read"),
        (packed({"a/x.txt": b"text"}), "holds no image"),
    ],
)
def test_a_bad_archive_is_one_sentence_and_the_form_stays(data: bytes, words: str, open_page: Open) -> None:
    at = open_page("datasets", view="Add photos")
    at = settled(rerun(at.file_uploader(key="photos-zip-0").set_value(("x.zip", data, "application/zip"))))
    assert words in texts(at)
    assert len(at.file_uploader) == 2


def test_photos_that_are_no_dataset_are_stored_and_say_why(open_page: Open) -> None:
    at = add(open_page, {f"{index}.png": photo(index) for index in range(5)})
    assert "holds no class folders" in texts(at)


def test_names_of_files_and_archives_are_no_markup(open_page: Open) -> None:
    content = photos()
    content[f"pets/a/{HOSTILE.replace(':', '')}"] = content["pets/b/1.png"]
    at = add(open_page, content, f"{HOSTILE}.zip")
    assert "![x](" not in sources(at)


def test_a_server_open_to_others_reads_only_the_folders_it_was_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, open_page: Open
) -> None:
    options: dict[str, Any] = {"server.address": "0.0.0.0"}
    monkeypatch.setattr("streamlit.get_option", lambda name: options.get(name))
    (tmp_path / "given" / "deep").mkdir(parents=True)
    (tmp_path / "given" / "way-out").symlink_to(tmp_path)
    monkeypatch.setenv("LAB_FOLDERS", f"/nowhere:{tmp_path / 'given'}")
    assert allowed_name(f"folder:{tmp_path / 'given' / 'deep'}") == f"folder:{tmp_path / 'given' / 'deep'}"
    assert allowed_name("cifar10") == "cifar10"
    out = tmp_path / "given" / "way-out"
    for path in (
        tmp_path,
        tmp_path / "given" / ".." / "other",
        out,
        f"{out} ",
        f"{out}?size=96",
        f"{out} ?fit=whole",
        "/etc",
    ):
        with pytest.raises(LabError, match="LAB_FOLDERS"):
            allowed_name(f"folder:{path}")
    options["server.address"] = "localhost"
    assert allowed_name("folder:/etc") == "folder:/etc"


def test_labels_to_look_at_and_what_more_photos_bring(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network's features are replaced by the colour of an image; what is judged is real."""
    content = {f"pets/{name}/{i}.png": photo(1000 * j + i) for j, name in enumerate("ab") for i in range(30)}
    shade = {"a": 60, "b": 190}
    for name in list(content):
        small = np.full((8, 8, 3), shade[name[5]] + int(name.split("/")[2][:-4]), np.uint8)
        small[0, 0] = 0
        buffer = io.BytesIO()
        Image.fromarray(small).resize((100, 100)).save(buffer, "PNG")
        content[name] = buffer.getvalue()
    content["pets/a/99.png"] = content["pets/b/7.png"]

    def judged(name: str, on_progress: Progress = no_progress) -> tuple[Diagnosis, ImageDataset]:
        dataset = load_images(name)
        images = np.concatenate([dataset.train.images, dataset.validation.images])
        labels = np.concatenate([dataset.train.labels, dataset.validation.labels])
        return diagnose(images.mean(axis=(1, 2)).astype(np.float32), labels), dataset

    monkeypatch.setattr("pages.datasets.labels.diagnose_dataset", judged)
    at = settled(click(add(open_page, content), "check-labels"))
    assert "1 label** to look at" in texts(at)
    assert "a/99.png" in texts(at)
    assert "Label a, looks like **b**" in texts(at)
    assert "Hardest class: **a**" in texts(at)
    assert "Twice the photos: about" in texts(at)


def test_a_forecast_in_words() -> None:
    forecast = Forecast(
        sizes=(10, 100), accuracies=(0.5, 0.8), spread=(0.1, 0.1), doubled=(0.85, 0.8, 0.9), factor=(4.2, 2.0, math.inf)
    )
    said = forecast_words(forecast)
    assert said.startswith("Twice the photos: about **85%** right (80% to 90%), now 80%.")
    assert said.endswith("about 4.2 times the photos (2.0 to no limit in sight).")
    never = forecast_words(dataclasses.replace(forecast, factor=(math.inf, 9.0, math.inf)))
    assert never.endswith("More photos alone are not expected to halve the error.")
