"""The Augmentation page: what it shows is what the trainer feeds, every choice is in the address, bad input is one sentence."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.augmentation.config import MapConfig
from core.augmentation.cost import map_seconds
from core.augmentation.effect import EffectMeter
from core.augmentation.kind import MAP
from core.augmentation.results import MAPS, EffectMap, TransformEffects, transform_folder
from core.augmentation.store import MODELS_SHIPPED, forecast_meter, load_model, read_forecasts
from core.checkpoints.store import Checkpoint, find_checkpoint, load_checkpoint, save_checkpoint
from core.data import DATASETS
from core.data.dataset import ImageDataset
from core.jobs import RunStore
from core.training.augmentation import TRANSFORMS, parse_pipeline
from core.training.config import TrainConfig
from core.training.preview import augmented_pixels
from pages.augmentation.builder import USUAL
from pages.augmentation.help import ADDED_LOSS, AFFINITY
from pages.augmentation.pipeline_view import DRAWS, draws, train_query
from pages.shared.text import duration
from tests.app.conftest import Open, chart, click, link, rerun, texts, unfold, wait_for, write_checkpoint
from tests.unit.augmentation.test_forecast import arms, model_of, write_study
from tests.unit.builders import synthetic

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture
def made(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """A checkpoint under the name that the room starts with; nothing else ships."""
    monkeypatch.setattr(MAPS, "shipped", lab_home / "no-maps")
    monkeypatch.setattr(MODELS_SHIPPED, "shipped", lab_home / "no-forecasts")
    write_checkpoint(lab_home / "none" / "simple_cnn")
    return load_checkpoint(find_checkpoint("simple_cnn"))


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, made: Checkpoint) -> ImageDataset:
    """A few images in CIFAR-10's place."""
    small = synthetic(train=80, held_out=60, classes=6)
    card = dataclasses.replace(small.card, name="cifar10", classes=made.card.image_data.classes)
    small = dataclasses.replace(small, card=card)
    source = dataclasses.replace(DATASETS["cifar10"], load=lambda _: small, is_ready=lambda: True)
    monkeypatch.setitem(DATASETS, "cifar10", source)
    return small


def shown_images(at: AppTest) -> list[str]:
    """Alt texts of the images that are shown."""
    return [item.alt for element in at.get("image") for item in element.proto.imgs]


def test_a_pipeline_on_an_image(open_page: Open, made: Checkpoint) -> None:
    at = open_page("augmentation")
    assert f"## {parse_pipeline(USUAL).words}" in texts(at)
    assert len(shown_images(at)) == 1 + DRAWS
    assert "pipeline" not in link(at)
    at = rerun(at.slider(key="augment-strength-1").set_value(0.5))
    assert link(at)["pipeline"] == "flip@0.5 crop:0.5 rotate:0.25@0.5"
    at = click(at, "augment-later-0")
    assert link(at)["pipeline"] == "crop:0.5 flip@0.5 rotate:0.25@0.5"
    at = click(click(at, "augment-remove-2"), "augment-add")
    assert link(at)["pipeline"] == "crop:0.5 flip@0.5 brightness:0.4"
    at = rerun(at.selectbox(key="augment-transform-3").set_value("invert"))
    assert link(at)["pipeline"] == "crop:0.5 flip@0.5 invert"
    at = click(at, "augment-again")
    assert link(at)["seed"] == "1"
    at = unfold(at, "augment-code")
    assert parse_pipeline("crop:0.5 flip@0.5 invert").code(32).strip() in [code.value.strip() for code in at.code]


def test_the_address_brings_a_pipeline_and_a_wrong_one_warns(open_page: Open, made: Checkpoint) -> None:
    at = open_page("augmentation", pipeline="hue:0.4@0.25", seed="7")
    assert "## Hue 0.4 at 25%" in texts(at)
    assert at.slider(key="augment-probability-0").value == 0.25
    assert at.number_input(key="augment-seed").value == 7
    for text in ("melt", "hue:2", "flip:1"):
        at = open_page("augmentation", pipeline=text)
        assert len(at.warning) == 1
        assert f"## {parse_pipeline(USUAL).words}" in texts(at)


def test_without_steps_it_says_what_to_do(open_page: Open, made: Checkpoint) -> None:
    at = open_page("augmentation", pipeline="invert")
    at = click(at, "augment-remove-0")
    assert "has no steps" in at.error[0].value
    assert "Add a step" in at.info[0].value


def test_what_is_shown_is_what_trains(made: Checkpoint, data: ImageDataset) -> None:
    card = made.card.image_data
    shown = draws(data.train.images[:5], card, USUAL, seed=3)
    config = TrainConfig(augmentation=USUAL, seed=3)
    expected, _ = augmented_pixels(data.train.images[:5], data.train.labels[:5], card, config)
    assert np.array_equal(shown, expected)


def test_a_link_trains_with_just_this(open_page: Open, made: Checkpoint) -> None:
    query = train_query("simple_cnn", "cifar10", parse_pipeline("rotate:0.3"))
    changed = json.loads(query["set"])
    assert changed["augmentation"] == "rotate:0.3"
    assert (changed["flip"], changed["crop_padding"]) == ("none", 0)
    at = open_page("images", **query | {"view": "Train"})
    assert not at.warning
    assert at.text_input(key="augmentation-simple_cnn-default").value == "rotate:0.3"


def test_a_pipeline_that_leaves_nothing_is_one_sentence(open_page: Open, made: Checkpoint) -> None:
    pixels = np.random.default_rng(0).integers(0, 100, (1, 32, 32, 3)).astype(np.uint8)
    with pytest.raises(ValueError, match="leaves nothing of the image"):
        draws(pixels, made.card.image_data, "posterize:1", 0)


def test_a_class_and_all_transforms(open_page: Open, made: Checkpoint, data: ImageDataset) -> None:
    at = open_page("augmentation", show="A class")
    at = rerun(at.selectbox(key="augment-class").set_value("cat"))
    assert link(at)["class"] == "cat"
    assert len(shown_images(at)) == 2 * min(DRAWS, int((data.train.labels == 3).sum()))
    at = open_page("augmentation", show="All transforms")
    strengths = sum(5 if kind.has_strength else 1 for kind in TRANSFORMS.values())
    assert len(shown_images(at)) == strengths


def a_map(made: Checkpoint, data: ImageDataset) -> EffectMap:
    config = MapConfig(
        transforms=("flip", "rotate"),
        strengths=(0.4, 1.0),
        images=60,
        train_images=60,
        fingerprint=made.card.fingerprint,
    )
    meter = EffectMeter(made, data, images=60, train_images=60)
    parts = tuple(
        TransformEffects(
            transform=name,
            accuracy=meter.accuracy,
            effects=tuple(meter.measure(pipeline.spec, config.points) for pipeline in config.pipelines(name)),
        )
        for name in config.transforms
    )
    return EffectMap(config=config, title="Tiny", classes=data.card.classes, transforms=parts)


def test_a_map_that_ships(open_page: Open, made: Checkpoint, data: ImageDataset) -> None:
    found = a_map(made, data)
    MAPS.shipped.mkdir(parents=True)
    (MAPS.shipped / "simple_cnn.json").write_text(json.dumps(found.to_dict()))
    at = open_page("augmentation", view="Effect", transform="rotate")
    assert f"## {found.answer}" in texts(at)
    assert chart(at, 0)["data"][0]["type"] == "heatmap"
    assert all(words in texts(at) for words in (AFFINITY, ADDED_LOSS)), "terms are explained where they stand first"
    known, accuracy = found.transforms[0].accuracy, made.card.metrics["test_accuracy"]
    assert (
        f"{100 * known:.1f}% on 60 plain test images in one view (lists say {100 * accuracy:.1f}%, of 10,000"
        in texts(at)
    )
    at = rerun(at.segmented_control[-1].set_value("0.4"))
    assert link(at)["strength"] == "0.4"
    at = unfold(at, "one-shipped-simple_cnn")
    assert [str(cell) for cell in at.table[0].value["Strength"]] == ["Rotate 0.4", "Rotate 1"]
    (MAPS.shipped / "simple_cnn.json").unlink()
    assert "starts one" in open_page("augmentation", view="Effect").info[0].value


def test_a_map_is_started_and_grows(
    open_page: Open, made: Checkpoint, data: ImageDataset, submitted: list[str]
) -> None:
    at = open_page("augmentation", view="New map")
    at = rerun(at.number_input(key="augment-map-images").set_value(60))
    click(at, "start-map")
    (run_id,) = submitted
    config = RunStore().config(run_id)
    assert isinstance(config, MapConfig)
    assert (config.checkpoint, config.images, config.fingerprint) == ("simple_cnn", 60, made.card.fingerprint)
    assert "No transform is measured yet" in open_page("augmentation", map=run_id).info[0].value
    part = a_map(made, data).transforms[0]
    folder = transform_folder(RunStore().folder(run_id), "flip")
    folder.mkdir()
    MAPS.write_part(folder, part)
    MAPS.write_facts(RunStore().folder(run_id), classes=list(data.card.classes), title="Tiny")
    assert len(open_page("augmentation", map=run_id).get("plotly_chart")) == 1
    assert MAP.page(RunStore().get(run_id)) == ("augmentation", {"view": "Maps", "map": run_id})
    at = open_page("augmentation", view="New map")
    at = rerun(at.number_input(key="augment-map-images").set_value(3))
    assert len(at.error) == 1
    assert at.button(key="start-map").disabled


def test_the_time_of_a_map_is_said_before_it_starts(
    open_page: Open, made: Checkpoint, data: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.augmentation.cost.change_seconds", lambda card: 0.001)
    monkeypatch.setattr("core.inference.cost.answer_seconds", lambda checkpoint: 0.0)
    at = open_page("augmentation", view="New map")

    def said() -> str:
        config = MapConfig(images=at.number_input(key="augment-map-images").value)
        return f"**About {duration(map_seconds(config, 0.001, 0.0))}** on this machine."

    before = said()
    assert before in texts(at)
    at = rerun(at.number_input(key="augment-map-images").set_value(4000))
    assert said() != before
    assert said() in texts(at)
    elsewhere = dataclasses.replace(DATASETS["cifar10"], is_ready=lambda: False)
    monkeypatch.setitem(DATASETS, "cifar10", elsewhere)
    assert "Not in it: CIFAR-10 is fetched" in texts(open_page("augmentation", view="New map"))


def test_a_forecast_then_its_study_then_its_score(
    open_page: Open, made: Checkpoint, data: ImageDataset, submitted: list[str]
) -> None:
    assert "No forecast named" in open_page("augmentation", view="Forecast").error[0].value
    folder = MODELS_SHIPPED.shipped
    model = model_of(arms(lambda affinity, loss: 4 + 0.1 * affinity + 3 * loss))
    folder.mkdir(parents=True)
    (folder / "simple_cnn.json").write_text(json.dumps(dataclasses.replace(model, train_size=40).to_dict()))
    save_checkpoint(folder / model.network, made.model, made.card)
    forecast_meter.cache_clear()
    at = open_page("augmentation", view="Forecast", pipeline="flip@0.5")

    def shown() -> bool:
        return "Expected:" in texts(rerun(at))

    wait_for(shown)
    effect = forecast_meter().measure("flip@0.5")
    expected = load_model().regression.predict(effect.affinity, effect.added_loss)
    assert f"{abs(expected):.1f} points" in texts(at)
    click(at, "augment-study")
    (run_id,) = submitted
    study = RunStore().config(run_id)
    assert study.arms == ("none", "pipeline=flip@0.5")
    (kept,) = read_forecasts()
    assert kept.expected == pytest.approx(expected)
    write_study(run_id, gain=2.5)
    at = open_page("augmentation", view="Forecast", pipeline="flip@0.5")
    wait_for(shown)
    assert f"off by {abs(expected - 2.5):.1f} points on average" in texts(at)
    assert at.table[0].value["Measured"].tolist()[0].startswith("+2.5")
    forecast_meter.cache_clear()
