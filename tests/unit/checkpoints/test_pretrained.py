"""What ships is what its command makes; and the command on a tiny data set."""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path

import pytest

import core.checkpoints.store
import core.data
from core.checkpoints.store import CheckpointRef, list_checkpoints, load_checkpoint, read_card
from core.compression.recipe import PRESETS
from core.compression.steps import read_step
from core.compression.store import COMPRESSIONS
from core.data import load_text
from core.inference.foreign import A_KIND, KINDS
from core.inference.text import evaluate_text
from core.training.config import TrainConfig
from core.training.recipes import RECIPES, get_recipe
from scripts import make_compressed
from scripts import make_pretrained as maker
from tests.tiny_text import write_text
from tests.unit.builders import synthetic

TINY = TrainConfig(epochs=1, batch_size=64, lr=3e-3, tta="flip")


TRAINED, COMPRESSED = (
    [r for r in list_checkpoints() if r.origin == "shipped" and bool(r.card.compression) is compressed]
    for compressed in (False, True)
)


@pytest.mark.parametrize("reference", COMPRESSED, ids=lambda r: r.name)
def test_what_ships_compressed_names_its_parent_and_its_steps(reference: core.checkpoints.store.CheckpointRef) -> None:
    card = reference.card
    recipe, variant = next(
        (name, variant)
        for name, item in make_compressed.RECIPES.items()
        for variant, (folder, _) in item.ships.items()
        if folder == reference.name
    )
    number = int(variant.partition("-")[0])
    steps = make_compressed.RECIPES[recipe].steps or PRESETS[recipe].steps
    assert card.parent == card.compression["original"] == make_compressed.RECIPES[recipe].checkpoint
    assert [read_step(values) for values in card.compression["steps"]] == list(steps[:number])
    measured = next(item for item in COMPRESSIONS.load_shipped(card.task).variants if item.id == f"{recipe}-{variant}")
    assert measured.parameters == card.parameters
    assert measured.stored_bytes == pytest.approx(card.size_bytes, abs=200), "its card's title aside"
    worth = measured.loss_nats if card.task == "text" else measured.accuracy
    assert worth == card.metrics["val_loss_nats" if card.task == "text" else "test_accuracy"]
    if card.task == "images":
        assert card.calibration.images == 5000
        assert card.calibration.energy_threshold is not None
        assert card.calibration.split == ("validation" if card.recipe["train_on"] == "train" else "test")
        assert card.metrics["test_ece"] < 0.02
        assert 0.04 < card.metrics["test_flagged"] < 0.06


@pytest.mark.parametrize(
    "reference", [r for r in TRAINED + COMPRESSED if r.card.task == "images"], ids=lambda r: r.name
)
def test_what_ships_says_what_its_warning_lets_pass(reference: core.checkpoints.store.CheckpointRef) -> None:
    misses = reference.card.calibration.misses
    assert misses is not None
    assert list(misses.by_kind) == [kind.name for kind in KINDS[:-1]], "none of its own images"
    assert misses.images == A_KIND * len(misses.by_kind)
    assert misses.rate == pytest.approx(statistics.mean(misses.by_kind.values()))


def test_what_ships_compressed_is_small() -> None:
    sizes = [file.stat().st_size for item in COMPRESSED for file in item.folder.iterdir()]
    assert len(COMPRESSED) == 4
    assert sum(sizes) < 3_000_000


@pytest.mark.parametrize("reference", TRAINED, ids=lambda r: r.name)
def test_what_ships_was_made_by_the_recipe_as_it_is_now(reference: core.checkpoints.store.CheckpointRef) -> None:
    item = maker.SHIPPED[reference.name]
    assert TrainConfig.from_dict(reference.card.recipe) == get_recipe(item.model, item.recipe)
    metrics = reference.card.metrics
    figure = {"text": "val_loss_nats", "generation": "velocity_error"}.get(reference.card.task, "test_accuracy")
    figures = [seed[figure] for seed in metrics["seeds"]]
    assert [seed["seed"] for seed in metrics["seeds"]] == list(range(len(figures)))
    assert metrics[figure] == figures[0]
    assert metrics.get(f"{figure}_mean", figures[0]) == pytest.approx(statistics.mean(figures))


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch, lab_home: Path, tmp_path: Path) -> Path:
    """A folder to ship to, and two recipes that train in seconds on drawn images."""
    monkeypatch.setattr(core.checkpoints.store, "PRETRAINED", tmp_path / "shipped")
    monkeypatch.setattr(core.data, "load_dataset", lambda name: synthetic(held_out=100))
    tiny = {"default": TINY, "full": TINY.replace(recipe="full", train_on="train+validation")}
    monkeypatch.setitem(RECIPES, "simple_cnn", tiny)
    item = maker.Shipped(title="Tiny", model="simple_cnn", recipe="full", storage="float16", calibrated_by="default")
    monkeypatch.setitem(maker.SHIPPED, "tiny", item)
    return tmp_path / "shipped" / "tiny"


def test_a_network_that_saw_all_images_borrows_its_calibration(places: Path, lab_home: Path) -> None:
    maker.ship("tiny", seeds=2)
    card, lender = read_card(places), read_card(lab_home / "shipping" / "simple_cnn-default-0")
    assert dataclasses.replace(card.calibration, misses=None) == dataclasses.replace(lender.calibration, misses=None)
    assert card.calibration.misses is not None
    assert card.calibration.misses != lender.calibration.misses
    assert card.calibration.images == 100
    assert card.recipe["train_on"] == "train+validation"
    first, second = card.metrics["seeds"]
    assert (first["seed"], second["seed"]) == (0, 1)
    assert card.metrics["test_accuracy_mean"] == pytest.approx((first["test_accuracy"] + second["test_accuracy"]) / 2)
    assert "val_accuracy" not in card.metrics  # it trained on those images
    assert 0 < card.metrics["calibrated_by"]["val_accuracy"] <= 1


def test_a_finished_seed_is_not_trained_again(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker.ship("tiny", seeds=1)
    before = read_card(places)

    def trained_again(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(maker, "_train", trained_again)
    maker.ship("tiny", seeds=1)
    assert read_card(places) == before
    with pytest.raises(AssertionError):
        maker.ship("tiny", seeds=2)


def test_a_language_model_ships_with_its_loss_over_the_whole_validation_part(
    places: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = load_text(f"text:{write_text(tmp_path)}")
    monkeypatch.setattr(core.data, "load_dataset", lambda name: text)
    recipe = TrainConfig(
        model="char_lstm",
        model_config={"width": 16, "layers": 1, "embedding": 8},
        dataset="tiny",
        epochs=1,
        batch_size=8,
        window=32,
        lr=1e-2,
    )
    monkeypatch.setitem(RECIPES, "char_lstm", {"default": recipe})
    item = maker.Shipped(title="Tiny", model="char_lstm", recipe="default", storage="float16")
    monkeypatch.setitem(maker.SHIPPED, "tiny", item)
    maker.ship("tiny", seeds=2)
    card = read_card(places)
    shipped = load_checkpoint(CheckpointRef(name="tiny", folder=places, card=card, origin="folder"))
    # What is on the card is what comes out of the weights as they are on disk, rounded to 16 bits.
    assert card.metrics["val_loss_nats"] == evaluate_text(shipped, text.validation).loss_nats
    assert card.metrics["val_characters"] == len(text.validation) - 1
    assert card.metrics["val_loss_nats_sd"] > 0
    assert "last 10%" in card.notes
