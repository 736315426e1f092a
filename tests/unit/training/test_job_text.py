"""Runs that train a language model: what they write at each evaluation, and exact resume with carried state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.checkpoints.store import load_checkpoint, read_card
from core.data import load_text
from core.inference.text import evaluate_text
from core.jobs import RunStore
from core.jobs.metrics import read_samples
from core.training.config import TrainConfig
from core.training.figures import text_loss_curves
from tests.tiny_text import write_text
from tests.unit.in_process import finish
from tests.unit.training.conftest import ask_to_stop, at_step, finished, same_rows

CONFIG = TrainConfig(
    model="char_lstm",
    model_config={"width": 24, "layers": 2, "embedding": 8, "dropout": 0.2, "weight_drop": 0.1},
    epochs=2,
    batch_size=8,
    window=32,
    lr=1e-2,
    eval_every=0.5,
    grad_clip=1.0,
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    path = write_text(tmp_path_factory.mktemp("texts"))
    return CONFIG.replace(dataset=f"text:{path}")


@pytest.fixture(scope="module")
def calm(store: RunStore, config: TrainConfig) -> str:
    return finished(store, config, "Play")


def test_a_run_tells_its_loss_and_keeps_a_sample_of_every_evaluation(
    store: RunStore, calm: str, config: TrainConfig
) -> None:
    run = store.get(calm)
    evaluations = [row for row in store.metrics(calm) if row["kind"] == "eval"]
    samples = store.samples(calm)
    assert (run.task, run.unit) == ("text", "characters")
    assert run.figure("best_val_loss_nats") == min(row["val_loss_nats"] for row in evaluations)
    assert [sample["step"] for sample in samples] == [row["step"] for row in evaluations]
    vocabulary = set(load_text(config.dataset).card.vocabulary)
    assert all(len(sample["text"]) == 300 and set(sample["text"]) <= vocabulary for sample in samples)
    assert len({sample["text"] for sample in samples}) > 1, "the same seed writes another text as the network learns"


def test_what_the_card_says_is_what_the_best_checkpoint_measures(
    store: RunStore, calm: str, config: TrainConfig
) -> None:
    checkpoint = load_checkpoint(str(store.folder(calm) / "best"))
    result = evaluate_text(checkpoint, load_text(config.dataset).validation)
    assert checkpoint.card.metrics["val_loss_nats"] == pytest.approx(result.loss_nats, abs=1e-6)
    assert checkpoint.card.metrics["val_characters"] == result.characters
    assert f"{result.bits_per_character:.3f} bits per character" in store.get(calm).message


def test_a_run_that_was_stopped_goes_on_as_if_nothing_had_happened(
    store: RunStore, calm: str, config: TrainConfig
) -> None:
    run_id = store.create(config, "Stopped")
    with at_step(23, ask_to_stop):  # between two evaluations
        stopped = finish(store, run_id)
    assert (stopped.status, stopped.step) == ("stopped", 23)
    assert finish(store, run_id).status == "finished"
    assert same_rows(store, run_id, calm)
    assert store.samples(run_id) == store.samples(calm)
    cards = [read_card(store.folder(name) / "best") for name in (run_id, calm)]
    assert cards[0].weights_sha256 == cards[1].weights_sha256


def test_a_model_and_a_text_that_do_not_go_together_end_in_a_sentence(store: RunStore, config: TrainConfig) -> None:
    run = finish(store, store.create(TrainConfig(model="simple_cnn", dataset=config.dataset), "Wrong"))
    assert run.status == "failed"
    assert "cannot learn" in run.message


def test_of_samples_written_twice_the_later_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    rows = [{"step": step, "epoch": step / 10, "text": text} for step, text in ((10, "a"), (20, "b"), (10, "c"))]
    broken = ['{"step": 30, "epoch": 3, "text": 5}', '{"step": "x"}', "[1]", '{"step": 40, "ep']
    path.write_text("\n".join([*map(json.dumps, rows), *broken]))
    assert [(row["step"], row["text"]) for row in read_samples(path)] == [(10, "c"), (20, "b")]
    assert read_samples(tmp_path / "none") == []


def test_nats_and_bits_are_two_scales_of_one_figure(store: RunStore, calm: str) -> None:
    figure = text_loss_curves(store.metrics(calm), dark=False, revision="r", epochs=2)
    nats, bits = figure.layout.yaxis.range, figure.layout.yaxis2.range
    assert [bound / 0.6931471805599453 for bound in nats] == pytest.approx(bits)
    known = [row["val_loss_nats"] for row in store.metrics(calm) if row["kind"] == "eval"]
    assert nats[0] < min(known)
    assert max(known) < nats[1]
    assert text_loss_curves([], dark=True, revision="r").layout.yaxis.range is None
