"""Images / Classify."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import shlex
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import streamlit as st
import torch
from streamlit.testing.v1 import AppTest

from core.checkpoints.store import Calibration, Card, Misses, find_checkpoint, load_checkpoint, save_checkpoint
from core.common.report import File, Report
from core.data import DATASETS, load_images
from core.data.dataset import ImageDataset, Split
from core.data.decode import decode_image, fit_to_model
from core.models import build_model
from pages.images.report import answer_report
from pages.shared import tasks
from pages.shared.examples import examples
from pages.shared.image_view import look, predict
from pages.shared.upload_box import CAMERA, InputImage, has_camera, varied_images
from tests.app.conftest import (
    HOSTILE,
    Open,
    chart,
    click,
    follow,
    plain_image,
    random_image,
    read,
    rerun,
    sources,
    texts,
    wait_for,
    write_checkpoint,
)
from tests.tiny import write_class_folders
from tests.unit.builders import synthetic
from tests.unit.terminal import run_main

BAD = {
    "zero bytes": b"",
    "text called png": b"not an image at all",
    "truncated": random_image()[:200],
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07os\nname\x94.",
}


def headline(at: AppTest) -> str:
    found = [element.value for element in at.markdown if element.value.startswith("## ")]
    assert len(found) == 1, found
    return found[0]


def shown(at: AppTest) -> str:
    """What the image is called that the page is about."""
    return str(at.session_state["input-image"].title)


def give(at: AppTest, data: bytes, name: str = "photo.png") -> AppTest:
    rerun(at.file_uploader(key="upload").set_value((name, data, "image/png")))
    return at


def test_an_upload_is_answered_as_core_answers_it(open_page: Open, shipped: Card, lab_home: Path) -> None:
    from core.inference.images import classify

    at = give(open_page("images"), random_image())
    rgb = decode_image(random_image()).rgb
    expected = classify(load_checkpoint(str(lab_home / "none" / "tiny")), fit_to_model(rgb)[None])[0]
    label, probability = expected.top[0]
    assert headline(at) == f"## Tiny says {label} · {100 * probability:.0f}%"
    said = texts(at)
    assert "photo.png, 64×48 PNG" in said
    assert "What the model sees: 32×32 pixels" in said


@pytest.mark.parametrize("what", BAD)
def test_bad_files_are_answered_in_one_sentence_and_the_app_goes_on(open_page: Open, shipped: Card, what: str) -> None:
    at = give(open_page("images"), BAD[what])
    assert len(at.error) == 1
    assert "\n" not in at.error[0].value
    give(at, random_image())
    assert not at.error
    assert headline(at)


def test_an_upload_whose_callback_was_lost_is_answered_all_the_same(open_page: Open, shipped: Card) -> None:
    at = give(open_page("images"), random_image())
    said = headline(at)
    for key in ("input-image", "taken-upload"):
        del at.session_state[key]
    at.run()
    assert headline(at) == said
    click(at, "clear-image")
    assert not [element for element in at.markdown if element.value.startswith("## ")]  # and cleared stays cleared


def test_an_example_can_be_tried_without_a_photo(open_page: Open, shipped: Card) -> None:
    at = open_page("images")
    click(at, "example-ship")
    assert headline(at)
    click(at, "clear-image")
    assert at.button(key="example-ship")


def test_a_image_unlike_the_training_images_is_warned_about(open_page: Open, lab_home: Path) -> None:
    for threshold in (1000.0, -1000.0):
        write_checkpoint(lab_home / "none" / "tiny", threshold=threshold)
        at = give(open_page("images"), random_image())
        assert bool(at.warning) == headline(at).startswith("## Nearest class for Tiny: ") == (threshold < 0)
    assert "probably none of the 10 classes" in at.warning[0].value
    assert "About 5 in 100" in at.warning[0].value


def test_what_the_warning_misses_is_said_of_each_answer_without_one(open_page: Open, lab_home: Path) -> None:
    misses = Misses(rate=0.456, images=400, auroc=0.7, by_kind={HOSTILE: 1.0, "patterns": 0.004})
    for threshold in (1000.0, -1000.0):
        card = write_checkpoint(lab_home / "none" / "tiny", threshold=threshold, test_flagged=0.213)
        calibration = dataclasses.replace(card.calibration, misses=misses)
        card = dataclasses.replace(card, calibration=calibration)
        (lab_home / "none" / "tiny" / "card.json").write_text(card.to_json())
        at = give(open_page("images"), random_image())
        answer = " ".join(read(element.value) for element in at.markdown)
        assert ("46% of 400 images of other things got none" in answer) == (threshold > 0)
        captions = " ".join(read(element.value) for element in at.caption)
        assert "flags 21.3% of its 10,000 test images and lets 46% of 400 images of other things pass" in captions
        assert "100%, patterns < 1%" in captions
        assert "![" not in sources(at)
    assert "About 21 in 100" in at.warning[0].value


def test_two_checkpoints_answer_side_by_side(open_page: Open, shipped: Card, lab_home: Path) -> None:
    for count in (1, 2):  # the only one there is, beside itself; then another
        at = rerun(give(open_page("images"), random_image()).toggle(key="compare").set_value(True))
        answers = [element.value for element in at.markdown if element.value.startswith("## ")]
        assert len(answers) == 2
        assert len({at.selectbox(key=key).value for key in ("checkpoint", "second")}) == count
        assert {answer.split(" says ")[0] for answer in answers} == (
            {"## Tiny"} if count == 1 else {"## Tiny", "## Other"}
        )
        if count == 1:
            assert answers[0] == answers[1]
        write_checkpoint(lab_home / "none" / "other", seed=5, title="Other")
    left, right = (chart(at, place)["data"][0]["y"] for place in (0, 1))
    assert left == right
    assert len(left) >= 5


def test_a_link_opens_with_its_checkpoint(open_page: Open, shipped: Card, lab_home: Path) -> None:
    write_checkpoint(lab_home / "none" / "other", seed=5, title="Other")
    for name in ("tiny", "other"):
        assert open_page("images", checkpoint=name).selectbox(key="checkpoint").value == name


def test_a_link_cannot_plant_a_image(open_page: Open, shipped: Card) -> None:
    at = open_page("images", second=HOSTILE)
    assert HOSTILE in read(at.warning[0].value)
    assert "![" not in sources(at)
    assert "](http:evil" not in sources(at)


@pytest.mark.parametrize("data", [b"not an image", random_image()])
def test_the_name_of_an_upload_is_no_markup(open_page: Open, shipped: Card, data: bytes) -> None:
    at = give(open_page("images"), data, HOSTILE)
    assert HOSTILE in texts(at)
    assert "![" not in sources(at)


def test_without_a_calibration_none_is_claimed(open_page: Open, lab_home: Path) -> None:
    folder = lab_home / "none" / "tiny"
    card = write_checkpoint(folder)
    claim = "This checkpoint is uncalibrated"
    assert claim not in texts(give(open_page("images"), random_image()))
    assert claim not in texts(open_page("images", view="Evaluate"))
    (folder / "card.json").write_text(dataclasses.replace(card, calibration=Calibration()).to_json())
    at = give(open_page("images"), random_image())
    assert claim in texts(at)
    assert "probability, if it is one of these (%)" in at.get("plotly_chart")[0].proto.spec
    assert "Probability, if it is one of these 10 classes. How far to trust it was not measured." in texts(at)
    assert claim in texts(open_page("images", view="Evaluate"))


def test_what_a_card_says_is_no_markup(open_page: Open, lab_home: Path) -> None:
    folder = lab_home / "none" / "tiny"
    card = write_checkpoint(folder, title=HOSTILE, threshold=-1000.0)
    data = dataclasses.replace(card.dataset, title=HOSTILE, classes=(HOSTILE, *card.image_data.classes[1:]))
    (folder / "card.json").write_text(dataclasses.replace(card, dataset=data, notes=HOSTILE).to_json())
    for view in ("Classify", "Evaluate"):
        at = open_page("images", view=view)
        assert HOSTILE in texts(at)
        assert "![" not in sources(at)
    assert "![" not in sources(give(open_page("images"), random_image()))


def test_a_card_that_was_rewritten_is_believed_at_once(open_page: Open, lab_home: Path) -> None:
    """A run that ends calibrates its best checkpoint: the same weights, and another card."""
    folder = lab_home / "none" / "tiny"
    card = write_checkpoint(folder, threshold=1000.0)
    at = give(open_page("images"), random_image())
    before = headline(at)
    sharper = dataclasses.replace(card.calibration, temperature=0.01, energy_threshold=-1000.0)
    (folder / "card.json").write_text(dataclasses.replace(card, calibration=sharper).to_json())
    at.run()
    assert headline(at).startswith("## Nearest class for ")
    assert headline(at).split(" · ")[1] != before.split(" · ")[1]


def test_damaged_weights_are_answered_in_one_sentence(open_page: Open, shipped: Card, lab_home: Path) -> None:
    (lab_home / "none" / "tiny" / shipped.weights_file).write_bytes(b"\x80\x04pickle")
    at = give(open_page("images"), random_image())
    assert "does not match the checksum" in read(at.error[0].value)


def test_a_fetch_shows_percent_rate_and_time_left_and_stops(
    open_page: Open, shipped: Card, endless_fetch: Callable[[str], threading.Event]
) -> None:
    begun = endless_fetch("cifar10")
    at = open_page("images")
    at.segmented_control(key="source").set_value("Test set").run()
    assert "not on this machine yet" in at.info[0].value
    assert at.button(key="fetch-test-image").label.startswith("Fetch CIFAR-10 (")
    click(at, "fetch-test-image")
    assert begun.wait(10)
    rerun(at)
    assert at.get("progress")[0].proto.text.replace("\\", "") == "Download: 43%, 12.0 MB/s, 0:09 left"
    click(at, "stop-fetch-cifar10")
    task = tasks.find("fetch-cifar10")
    assert task
    wait_for(lambda: task.done)
    assert task.stopped
    assert rerun(at).button(key="fetch-test-image")


def with_card(
    folder: Path,
    card: Card,
    gap: float | None,
    images: int = 5000,
    threshold: float = 1000.0,
    split: str = "validation",
) -> None:
    calibration = Calibration(
        temperature=2.0, energy_threshold=threshold, false_alarm_rate=0.05, images=images, split=split
    )
    metrics = {"test_accuracy": 0.5} | ({} if gap is None else {"test_ece": gap})
    (folder / "card.json").write_text(dataclasses.replace(card, calibration=calibration, metrics=metrics).to_json())


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"gap": 0.0123}, "Calibrated probability, off by 1.2 points on average."),
        ({"gap": None}, "Calibrated probability, set on 5,000 validation images."),
        ({"gap": None, "split": "test"}, "Calibrated probability, set on 5,000 test images, measured on the others."),
        ({"gap": 0.081}, "Probability, if it is one of these 10 classes, off by 8.1 points on average."),
        ({"gap": 0.0123, "threshold": -1000.0}, "Probability, if it is one of these 10 classes."),
        (
            {"gap": None, "images": 0},
            "Probability, if it is one of these 10 classes. How far to trust it was not measured.",
        ),
    ],
)
def test_calibrated_is_said_where_it_was_measured_well_and_the_image_is_like_the_data(
    open_page: Open, shipped: Card, lab_home: Path, card: dict[str, float], words: str
) -> None:
    with_card(lab_home / "none" / "tiny", shipped, **card)  # type: ignore[arg-type]
    at = give(open_page("images"), random_image())
    assert words in [read(element.value) for element in at.markdown]
    axis = "calibrated probability (%)" if words.startswith("Calibrated") else "probability, if it is one of these (%)"
    assert f'"{axis}"' in at.get("plotly_chart")[0].proto.spec


def test_an_address_opens_a_drawing_and_drops_it_for_another(open_page: Open, shipped: Card) -> None:
    at = open_page("images", example="apple")
    assert "drawn example, apple" in texts(at)
    (query,) = (link.proto.query_string for link in at.get("page_link") if link.proto.label.startswith("Why "))
    assert query == "view=Explain&checkpoint=tiny&example=apple"
    rerun(at.file_uploader[0].set_value(("photo.png", random_image(), "image/png")))
    assert "photo.png" in texts(at)
    assert "example" not in at.query_params
    follow(at, "images", example="ship")
    assert "drawn example, ship" in texts(at)
    at = open_page("images", example=HOSTILE)
    assert "There is no example" in texts(at)
    assert "![" not in sources(at)
    assert at.button(key="example-ship")


def test_an_upload_outlives_an_address_of_before(open_page: Open, shipped: Card) -> None:
    """A busy browser may name one that it had before the upload, long after, with nothing changed."""
    at = open_page("images", example="apple")
    rerun(at.file_uploader[0].set_value(("photo.png", random_image(), "image/png")))
    token = at.query_params["upload"]
    del at.query_params["upload"]
    at.query_params["example"] = "apple"
    rerun(at)
    assert "photo.png" in texts(at)
    assert at.query_params["upload"] == token
    rerun(at.file_uploader[0].set_value(("other.png", random_image(), "image/png")))
    assert "other.png" in texts(at)


def test_an_address_with_two_checkpoints_compares_them(open_page: Open, shipped: Card, lab_home: Path) -> None:
    write_checkpoint(lab_home / "none" / "other", seed=5, title="Other")
    at = open_page("images", checkpoint="tiny", second="other", example="car")
    assert len(at.get("plotly_chart")) == 2
    rerun(at.toggle(key="compare").set_value(False))
    assert len(at.get("plotly_chart")) == 1
    assert "second" not in at.query_params


@pytest.fixture
def test_set(monkeypatch: pytest.MonkeyPatch) -> ImageDataset:
    """What stands in CIFAR-10's place."""
    data = synthetic()
    source = dataclasses.replace(DATASETS["cifar10"], load=lambda _: data, is_ready=lambda: True)
    monkeypatch.setitem(DATASETS, "cifar10", source)
    return data


def test_a_test_image_comes_with_its_label(open_page: Open, shipped: Card, test_set: ImageDataset) -> None:
    at = open_page("images")
    at.segmented_control(key="source").set_value("Test set").run()
    rerun(at.number_input(key="test-index").set_value(7))
    assert f"the test set says {test_set.card.classes[int(test_set.test.labels[7])]}" in texts(at)
    assert "test image 7" in texts(at)
    for view in ("Train", "Classify"):  # Streamlit forgets the number while its box is not drawn
        rerun(at.segmented_control(key="view").set_value(view))
    assert at.number_input(key="test-index").value == 7
    assert "test image 7" in texts(at)
    click(at, "another")
    assert f"test image {at.number_input(key='test-index').value}" in texts(at)


def test_a_test_image_goes_with_the_link_to_its_explanation_and_back(
    open_page: Open, shipped: Card, test_set: ImageDataset, warm: None
) -> None:
    at = open_page("images")
    at.segmented_control(key="source").set_value("Test set").run()
    rerun(at.number_input(key="test-index").set_value(7))
    (query,) = (link.proto.query_string for link in at.get("page_link") if link.proto.label.startswith("Why "))
    follow(at, "attribution", **dict(parse_qsl(query)))
    assert shown(at) == "test image 7"
    assert dict(at.query_params) == {"view": "Explain", "checkpoint": "tiny", "image": "7"}, "nothing to be written"
    follow(at, "images")
    assert shown(at) == "test image 7"
    rerun(at.number_input(key="test-index").set_value(9))
    follow(at, "attribution", **dict(parse_qsl(query)))  # pressed before the page had the new number
    assert shown(at) == "test image 7"
    assert at.query_params["image"] == "7"


def test_back_to_an_address_without_a_test_image_shows_what_was_there(
    open_page: Open, shipped: Card, test_set: ImageDataset, warm: None
) -> None:
    at = follow(click(open_page("images"), "example-ship"), "attribution")
    assert shown(at) == "drawn example, ship"
    at.segmented_control(key="source").set_value("Test set").run()
    rerun(at.number_input(key="test-index").set_value(7))
    assert at.query_params["image"] in ("7", ["7"])
    follow(at, "attribution")
    assert shown(at) == "drawn example, ship"
    assert "image" not in at.query_params
    follow(at, "attribution", image="7")
    assert shown(at) == "test image 7"
    click(at, "clear-image")
    assert at.button(key="example-ship")
    assert "image" not in at.query_params


def test_a_test_image_from_another_page_is_not_named_before_another_is_chosen(
    open_page: Open, shipped: Card, test_set: ImageDataset, warm: None
) -> None:
    """To name it would be a step in the browser's history that nobody took."""
    at = open_page("images")
    rerun(at.segmented_control(key="source").set_value("Test set"))
    rerun(at.number_input(key="test-index").set_value(7))
    for _ in range(2):
        at = rerun(follow(at, "attribution"))
        assert shown(at) == "test image 7"
        assert "image" not in at.query_params
    rerun(at.number_input(key="test-index").set_value(8))
    assert at.query_params["image"] in ("8", ["8"])


def test_back_to_the_examples_names_no_file_any_more(open_page: Open, shipped: Card) -> None:
    at = give(open_page("images"), BAD["zero bytes"])
    assert at.error
    click(at, "clear-image")
    assert not at.error
    (box,) = at.file_uploader
    assert (box.value, box.key != "upload") == (None, True), "another box: the old one would go on naming the file"
    rerun(box.set_value(("photo.png", random_image(), "image/png")))
    assert "photo.png, 64×48 PNG" in texts(at)


def folder_of_classes(root: Path) -> Path:
    """Twelve images of each of two classes, and a test part of three each: of plain red and plain blue."""
    for split, count in (("train", 12), ("test", 3)):
        for name, colour in (("red", (200, 20, 20)), ("blue", (20, 20, 200))):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number}.png").write_bytes(plain_image((colour[0], number, colour[2])))
    return root


def trained_on(lab_home: Path, name: str, title: str, classes: tuple[str, ...]) -> None:
    """A second checkpoint, of another dataset."""
    from core.checkpoints.store import save_checkpoint
    from core.models import build_model

    card = write_checkpoint(lab_home / "none" / "other", title="Other")
    data = dataclasses.replace(card.image_data, name=name, title=title, classes=classes)
    config = {"classes": len(classes)}
    other = dataclasses.replace(card, dataset=data, model_config=config)
    save_checkpoint(lab_home / "none" / "other", build_model("simple_cnn", config), other)


def test_the_test_set_is_that_of_the_checkpoints_data(
    open_page: Open, shipped: Card, lab_home: Path, tmp_path: Path, test_set: ImageDataset
) -> None:
    root = folder_of_classes(tmp_path / "plain")
    trained_on(lab_home, f"folder:{root}", "plain", ("blue", "red"))
    at = open_page("images", checkpoint="other")
    rerun(at.segmented_control(key="source").set_value("Test set"))
    for number, label in ((0, "blue"), (5, "red")):
        rerun(at.number_input(key="test-index").set_value(number))
        assert f"the test set says {label}" in texts(at)
    (query,) = (link.proto.query_string for link in at.get("page_link") if link.proto.label.startswith("Why "))
    assert query == "view=Explain&checkpoint=other&image=5"
    rerun(at.selectbox(key="checkpoint").set_value("tiny"))
    assert f"the test set says {test_set.card.classes[int(test_set.test.labels[5])]}" in texts(at)
    rerun(at.number_input(key="test-index").set_value(len(test_set.test) - 1))
    rerun(at.selectbox(key="checkpoint").set_value("other"))
    assert at.number_input(key="test-index").value < 6, "the folder has six test images"
    assert not at.warning
    rerun(at.toggle(key="compare").set_value(True))
    assert "This checkpoint does not know its class, the test set says" in texts(at)


def test_a_test_set_that_is_gone_or_empty_is_one_sentence(
    open_page: Open, shipped: Card, lab_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_on(lab_home, f"folder:{tmp_path / 'gone'}", HOSTILE, ("blue", "red"))
    at = open_page("images", checkpoint="other")
    rerun(at.segmented_control(key="source").set_value("Test set"))
    assert [read(info.value) for info in at.info] == [
        f"{HOSTILE} is no longer on this machine: upload an image instead."
    ]
    assert "![" not in sources(at)
    data = synthetic()
    empty = dataclasses.replace(data, test=Split(images=data.test.images[:0], labels=data.test.labels[:0]))
    source = dataclasses.replace(DATASETS["cifar10"], load=lambda _: empty, is_ready=lambda: True)
    monkeypatch.setitem(DATASETS, "cifar10", source)
    rerun(at.selectbox(key="checkpoint").set_value("tiny"))
    assert [read(info.value) for info in at.info] == ["CIFAR-10 has no test images: upload an image instead."]


def test_back_to_the_examples_leaves_no_photo_in_the_camera(open_page: Open, shipped: Card) -> None:
    at = rerun(open_page("images").segmented_control(key="source").set_value("Camera"))
    (box,) = at.get("camera_input")
    before = box.proto.id
    click(at, "example-ship")
    click(at, "clear-image")
    (box,) = at.get("camera_input")
    assert box.proto.id != before, "another box: the old one would go on showing the photo"


@pytest.mark.parametrize(
    ("url", "there"),
    [
        (None, True),
        ("https://lab.example/images", True),
        ("http://localhost:8501", True),
        ("http://127.0.0.1:8501/images", True),
        ("http://[::1]:8501", True),
        ("http://lab.localhost", True),
        ("http://192.168.1.20:8501", False),
        ("http://lab.example", False),
        ("http://localhost.example", False),
    ],
)
def test_the_camera_is_offered_where_browsers_give_it(
    open_page: Open, shipped: Card, monkeypatch: pytest.MonkeyPatch, url: str | None, there: bool
) -> None:
    assert has_camera(url) == there
    monkeypatch.setattr(type(st.context), "url", property(lambda _: url))
    at = rerun(open_page("images").segmented_control(key="source").set_value("Camera"))
    assert bool(at.get("camera_input")) == there
    assert any("https" in info.value for info in at.info) != there


def report_of(image: InputImage) -> Report:
    reference, seen = find_checkpoint("tiny"), look(image.data, 32)
    prediction = predict(reference.card.fingerprint, seen.pixels, _checkpoint=load_checkpoint(reference))
    return answer_report(image, seen, reference, prediction, words="", calibrated=False)


@pytest.mark.slow
def test_the_command_of_a_report_answers_the_drawing_that_it_holds(
    shipped: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = report_of(InputImage(data=examples()["ship"], title="drawn example, ship", example="ship"))
    page = report.html().decode()
    ((name, data),) = re.findall(r'<a download="([^"]+)" href="data:image/png;base64,([^"]+)"', page)
    (tmp_path / name).write_bytes(base64.b64decode(data))
    monkeypatch.chdir(tmp_path)
    code, output, _ = run_main(capsys, *shlex.split(report.command)[3:], "--json")
    assert code == 0
    assert report.answer.startswith(f"**{json.loads(output)[0]['top5'][0]['label']} · ")


@pytest.mark.parametrize(("title", "name"), [("a b.png", "'a b.png'"), ("-x.png", "./-x.png")])
def test_the_command_of_a_report_reads_ones_own_file(shipped: Card, title: str, name: str) -> None:
    report = report_of(InputImage(data=random_image(), title=title, token="kept"))
    assert f"classify {name} " in report.command
    assert not any(isinstance(block, File) for block in report.blocks), "it may say where a photo was taken"


def test_a_photo_of_the_camera_is_no_file_yet(shipped: Card) -> None:
    report = report_of(InputImage(data=random_image("JPEG"), title=CAMERA, token="kept"))
    assert [block.name for block in report.blocks if isinstance(block, File)] == ["camera-image.jpg"]
    assert "classify camera-image.jpg " in report.command


def test_a_checkpoint_of_an_own_folder_offers_its_own_test_images(
    open_page: Open, shipped: Card, lab_home: Path, tmp_path: Path
) -> None:
    data = load_images(f"folder:{write_class_folders(tmp_path / 'shapes', train=4, test=3)}")
    card = dataclasses.replace(shipped, dataset=data.card, model_config={"classes": 3}, calibration=Calibration())
    torch.manual_seed(0)
    save_checkpoint(lab_home / "none" / "tiny", build_model("simple_cnn", {"classes": 3}), card)
    offered = varied_images(data.test.labels)
    assert sorted(data.test.labels[offered]) == [0, 0, 1, 1, 2, 2], "as many of each class as of any other"
    assert offered == varied_images(data.test.labels)
    at = open_page("images")
    buttons = [str(item.key) for item in at.button]
    assert [key for key in buttons if key.startswith("example-")] == [f"example-{number}" for number in offered]
    click(at, f"example-{offered[0]}")
    assert at.query_params["image"] == str(offered[0])
    assert Path(data.test.files[offered[0]]).name in texts(at)
    assert [item for item in at.get("page_link") if "view=Evaluate" in item.proto.query_string]
