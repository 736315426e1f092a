"""The Features page: what it shows is what core computes, every choice is in the address, bad input is one sentence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.checkpoints.backbone import BACKBONES
from core.checkpoints.store import Checkpoint, find_checkpoint, load_checkpoint, save_checkpoint
from core.data import DATASETS
from core.data.dataset import ImageDataset, Split
from core.features.classes import ablate
from core.features.config import GalleryConfig
from core.features.kind import GALLERY
from core.features.layer import study_layer
from core.features.quiz import make_pairs
from core.features.results import GALLERIES, unit_folder
from core.features.surrogate import fit_surrogate
from core.features.unit import study_unit
from core.features.units import responses_of
from core.inference.images import logits_of
from core.jobs import RunStore
from pages.features import query, unit_view
from tests.app.conftest import Open, click, link, read, rerun, texts, unfold, wait_for, write_checkpoint
from tests.unit.builders import synthetic

STEPS = 8
LAYER = "relu1"
pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture
def made(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """A checkpoint under the name that the room starts with; optimising takes few steps."""
    monkeypatch.setattr(GALLERIES, "shipped", lab_home / "no-galleries")
    monkeypatch.setattr(unit_view, "STEPS", STEPS)
    monkeypatch.setitem(unit_view.USUAL, "steps", STEPS)
    folder = lab_home / "none" / "simple_cnn"
    card = write_checkpoint(folder)
    checkpoint = load_checkpoint(find_checkpoint("simple_cnn"))
    # Untrained, it would give all images one class.
    logits = logits_of(checkpoint, synthetic(held_out=200, classes=6).test.images, "none")
    checkpoint.model.head.bias -= logits.mean(0)
    save_checkpoint(folder, checkpoint.model, card)
    return load_checkpoint(find_checkpoint("simple_cnn"))


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, made: Checkpoint) -> ImageDataset:
    """200 test images in CIFAR-10's place."""
    small = synthetic(train=200, held_out=200, classes=6)
    card = dataclasses.replace(small.card, name="cifar10", classes=made.card.image_data.classes)
    small = dataclasses.replace(small, card=card)
    source = dataclasses.replace(DATASETS["cifar10"], load=lambda _: small, is_ready=lambda: True)
    monkeypatch.setitem(DATASETS, "cifar10", source)
    return small


def settled(at: AppTest, words: str) -> AppTest:
    """Once what it computes in the background is there."""

    def shown() -> bool:
        return words in texts(rerun(at))

    wait_for(shown)
    return at


def test_a_unit_beside_its_real_images(open_page: Open, made: Checkpoint, data: ImageDataset) -> None:
    at = settled(open_page("features", layer=LAYER, channel="3"), "Channel 3 of relu1")
    unit = study_unit(made, LAYER, 3, data.test, steps=STEPS)
    assert unit.answer in read(texts(at))
    assert len(unit.changes) == 3
    assert all(sentence in texts(at) for sentence in unit.changes)
    assert link(at)["layer"] == LAYER
    assert link(at)["channel"] == "3"
    assert "view" not in link(at)
    at = unfold(at, "unit-classes")
    found = ablate(made, LAYER, 3, data.test)
    settled(at, found.answer.partition("(")[0].strip())
    at = rerun(at.number_input(key="features-seed").set_value(5))
    assert link(at)["seed"] == "5"
    settled(at, study_unit(made, LAYER, 3, data.test, steps=STEPS, seed=5).answer)


def test_a_unit_that_no_image_drives_says_so(
    open_page: Open, made: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = study_unit(made, LAYER, 0, synthetic(held_out=200).test, steps=STEPS)
    silent = dataclasses.replace(unit, response=-0.1, survival=None)
    monkeypatch.setattr(unit_view, "find_units", lambda store, fingerprint, layer: {0: silent})
    at = open_page("features", layer=LAYER)
    assert "No image was found that drives it" in texts(at)
    assert not at.table


def test_places_that_the_test_images_do_not_have_are_left_out(
    open_page: Open, made: Checkpoint, data: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = study_unit(made, LAYER, 0, data.test, steps=STEPS)
    other = dataclasses.replace(unit, most=(5000, *unit.most[1:]), least=(5000,) * 9)
    monkeypatch.setattr(unit_view, "find_units", lambda store, fingerprint, layer: {0: other})
    at = open_page("features", layer=LAYER)
    assert not at.exception
    assert "These test images are not in this dataset" in texts(at)


def test_a_class_has_its_name(open_page: Open, made: Checkpoint, data: ImageDataset) -> None:
    at = open_page("features", layer="head", channel="4", diverse="1")
    assert at.selectbox(key="features-channel").value == 4
    at = settled(at, "The class deer")
    assert not [box for box in at.expander if box.label == "From the unit to the classes"]


def test_an_address_of_nothing_warns_and_shows_the_default(open_page: Open, made: Checkpoint) -> None:
    at = open_page("features", layer="conv9", channel="x")
    assert len(at.warning) == 2
    at = open_page("features", layer=LAYER, channel="999")
    assert at.number_input(key="features-channel").value == 0
    assert not at.error
    assert "is not on this machine yet" in texts(at)


def test_a_layer_in_order_and_a_click_to_the_unit(open_page: Open, made: Checkpoint, data: ImageDataset) -> None:
    at = settled(open_page("features", view="Layer", layer=LAYER), "32 channels")
    facts = study_layer(made, LAYER, data.test)
    assert facts.answer in read(texts(at))

    def shown() -> list[int]:
        return [
            int(button.key.removeprefix("channel-")) for button in at.button if str(button.key).startswith("channel-")
        ]

    assert shown()[0] == max(facts.channels, key=lambda item: item.selectivity).channel
    at = rerun(at.segmented_control(key="layer-by").set_value("chroma"))
    assert shown()[0] == max((item for item in facts.channels if not item.dead), key=lambda item: item.chroma).channel
    assert link(at)["by"] == "chroma"
    at = click(at, "channel-7")
    assert at.segmented_control(key="view").value == "Unit"
    assert at.number_input(key="features-channel").value == 7
    settled(at, "Channel 7 of relu1")


def test_ten_questions_and_a_rate(open_page: Open, made: Checkpoint, data: ImageDataset) -> None:
    at = settled(open_page("features", view="Quiz", layer=LAYER, channel="2", quiz="3"), "Question 1 of 10")
    values = responses_of(made.model, made.card, LAYER, Split(images=data.test.images, labels=data.test.labels))[:, 2]

    def take(at: AppTest, seed: tuple[int, int], *wrong: int) -> AppTest:
        for place, pair in enumerate(make_pairs(values, seed)):
            right = place not in wrong
            at = click(at, f"quiz-{'left' if pair.first_wins == right else 'right'}-{place}")
            assert f"{'Correct' if right else 'Wrong'}: the" in texts(at)
            assert all(f"response **{response:.3g}**" in texts(at) for response in pair.responses)
            at = click(at, f"quiz-next-{place + 1}")
        return at

    at = take(at, (3, 0), 4)
    assert "9 of 10 correct" in texts(at)
    assert at.table[0].value["Correct"].tolist() == ["9 of 10"]
    at = settled(click(at, "quiz-next"), "Question 1 of 10")
    assert link(at)["quiz"] == "4"
    at = settled(rerun(at.number_input(key="quiz-number").set_value(3)), "Question 1 of 10")
    at = take(at, (3, 0))
    assert "10 of 10 correct" in texts(at)
    assert at.table[0].value["Correct"].tolist() == ["9 of 10"], "the first try counts"
    at = settled(rerun(at.segmented_control(key="quiz-hints").set_value("optimised")), "Question 1 of 10")
    assert "Optimised" in texts(at)
    at = take(at, (3, 1), 0, 1)
    assert at.table[0].value["Hints"].tolist() == ["Real", "Optimised"]
    assert at.table[0].value["Correct"].tolist() == ["9 of 10", "8 of 10"]


def test_a_quiz_goes_on_where_its_address_says(open_page: Open, made: Checkpoint, data: ImageDataset) -> None:
    address = {"view": "Quiz", "layer": LAYER, "channel": "2", "hints": "optimised"}
    at = settled(open_page("features", **address), "Question 1 of 10")
    at = click(at, "quiz-left-0")
    assert link(at) == address | {"answers": "L"}
    at = click(at, "quiz-next-1")
    assert link(at) == address | {"answers": "Ln"}
    at = settled(open_page("features", **address, answers="LRL"), "of 3 correct so far")
    assert [button.key for button in at.button if "quiz" in str(button.key)] == ["quiz-next-3"]
    at = settled(rerun(at.number_input(key="features-channel").set_value(3)), "Question 1 of 10")
    assert "answers" not in link(at), "answers belong to one quiz"
    at = settled(open_page("features", **address, answers="LRLRLRLRLRn"), "of 10 correct; always")
    at = settled(open_page("features", **address, answers="x"), "Question 1 of 10")
    assert len(at.warning) == 1


def test_the_surrogate_is_that_of_core(open_page: Open, made: Checkpoint, data: ImageDataset) -> None:
    at = settled(open_page("features", view="Surrogate", depth="2", units="1"), "agrees with the network")
    found = fit_surrogate(made, data.train, data.test, depth=2, layer="relu2")
    assert found.answer in read(texts(at))
    assert len(at.get("plotly_chart")) == 1
    assert all(f": **{leaf.answer}** {leaf.share:.0%}" in texts(at) for _, _, leaf in found.steps() if leaf)
    at = unfold(at, "surrogate-files")
    assert "\n".join(found.rules()) in [code.value for code in at.code]
    at = rerun(at.segmented_control(key="surrogate-kind").set_value("linear"))
    settled(at, "A linear model agrees")
    assert link(at)["rules"] == "linear"


def test_imagenet_weights_are_fetched_chosen_and_shown_cifar10(
    open_page: Open, made: Checkpoint, data: ImageDataset, lab_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = next(iter(BACKBONES))

    def fetch(wanted: str, report: object) -> None:
        card = dataclasses.replace(made.card, dataset=dataclasses.replace(made.card.image_data, name="imagenet"))
        save_checkpoint(lab_home / "backbones" / wanted, made.model, card)

    monkeypatch.setattr(query, "fetch_backbone", fetch)
    at = click(open_page("features", layer=LAYER), f"offer-{name}")
    wait_for(lambda: rerun(at).selectbox(key="checkpoint").value == name)
    assert not [button for button in at.button if button.key == f"offer-{name}"]
    at = settled(at, "CIFAR-10 test images, enlarged to 32 px")
    assert "unit-classes" not in [box.key for box in at.expander]
    at = settled(open_page("features", view="Surrogate", checkpoint=name), "own dataset, and those are not here")


def test_a_gallery_is_started_and_its_units_open_at_once(
    open_page: Open, made: Checkpoint, data: ImageDataset, submitted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = open_page("features", view="New gallery", layer=LAYER, count="2")
    at = rerun(at.number_input(key="gallery-steps").set_value(STEPS))
    rerun(at.button(key="start-gallery").click())
    (run_id,) = submitted
    config = RunStore().config(run_id)
    assert isinstance(config, GalleryConfig)
    assert (config.layer, config.channels, config.steps) == (LAYER, (0, 1), STEPS)
    assert "No channel is done yet" in read(open_page("features", gallery=run_id).info[0].value)
    unit = study_unit(made, LAYER, 1, data.test, steps=STEPS)
    folder = unit_folder(RunStore().folder(run_id), 1)
    folder.mkdir()
    GALLERIES.write_part(folder, unit)
    at = open_page("features", gallery=run_id)
    assert "of 1 images drive their unit further" in texts(at)
    assert GALLERY.page(RunStore().get(run_id)) == ("features", {"view": "Galleries", "gallery": run_id})

    def never(*args: object, **options: object) -> None:
        raise AssertionError("it is there already")

    monkeypatch.setattr("core.features.unit.study_unit", never)
    assert unit.answer in read(texts(open_page("features", layer=LAYER, channel="1")))
    at = settled(open_page("features", view="Layer", layer=LAYER), "32 channels")
    assert at.segmented_control(key="layer-show").value == "Optimised"


def test_what_ships_opens_without_the_dataset(
    open_page: Open, made: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = study_unit(made, LAYER, 0, synthetic(held_out=200).test, steps=STEPS)
    monkeypatch.setattr(unit_view, "find_units", lambda store, fingerprint, layer: {0: unit})
    at = open_page("features", layer=LAYER)
    assert unit.answer in read(texts(at))
    assert np.isfinite(unit.response)
    assert "is not on this machine yet" in texts(at)
