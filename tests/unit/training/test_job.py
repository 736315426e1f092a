"""Runs that train an image classifier: what they keep and say, and exact resume."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core.checkpoints.store import Calibration, list_checkpoints, load_checkpoint, read_card
from core.data import load_images
from core.inference.evaluation_store import kept_evaluation
from core.inference.images import classify
from core.jobs import RunStore
from core.jobs.metrics import METRICS
from core.jobs.store import STATE, STOP
from core.training.config import TrainConfig
from core.training.job import Recorder
from core.training.results import EvalResult
from core.training.sample_answers import ANSWERS, read_answers
from tests.unit.in_process import finish
from tests.unit.training.conftest import ask_to_stop, at_step, finished, same_rows

pytestmark = pytest.mark.slow

STEPS = 160


@pytest.fixture(scope="module")
def config(tiny_dataset_folder: Path) -> TrainConfig:
    """All that a resume could forget: dropout, averaged weights, order, augmentation, schedule, odd evaluation times."""
    return TrainConfig(
        dataset=f"folder:{tiny_dataset_folder}",
        model_config={"dropout": 0.1},
        epochs=4,
        batch_size=4,
        lr=1e-3,
        schedule="triangular",
        warmup=0.1,
        flip="alternating",
        crop_padding=2,
        cutout=4,
        average="ema",
        early_stopping=100_000,
        eval_every=0.7,
        device="cpu",
    )


@pytest.fixture(scope="module")
def calm(store: RunStore, config: TrainConfig) -> str:
    """A run that was left alone."""
    return finished(store, config, "calm")


@pytest.fixture(scope="module")
def cut(store: RunStore, config: TrainConfig) -> str:
    """The same, stopped in the middle of an epoch and gone on with; the stop has cut a row in two."""
    run_id = store.create(config, "cut")
    with at_step(70, ask_to_stop):
        run = finish(store, run_id)
    assert (run.status, run.resumable) == ("stopped", True)
    assert 70 <= run.step == run.saved_step < STEPS
    assert f"go on from step {run.step}" in run.message
    with (store.folder(run_id) / METRICS).open("a") as file:
        file.write('{"kind": "train", "step": 9')
    torch.manual_seed(99)
    (store.folder(run_id) / STOP).unlink(missing_ok=True)
    run = finish(store, run_id)
    assert run.status == "finished", run.message
    return run_id


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flat(item, f"{path}/{key}")
    else:
        yield path, value


def test_an_interrupted_run_equals_an_uninterrupted_one(store: RunStore, calm: str, cut: str) -> None:
    assert same_rows(store, calm, cut)
    for which in ("best", "last"):
        cards = [read_card(store.folder(run_id) / which) for run_id in (calm, cut)]
        assert cards[0].weights_sha256 == cards[1].weights_sha256
        assert cards[0].calibration == cards[1].calibration
    states = [dict(flat(torch.load(store.folder(run_id) / STATE, weights_only=True))) for run_id in (calm, cut)]
    assert states[0].keys() == states[1].keys()
    assert len(states[0]) > 20
    for path, value in states[0].items():
        other = states[1][path]
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other, path


def test_a_finished_run_tells_what_it_was_and_gave(store: RunStore, calm: str, config: TrainConfig) -> None:
    run = store.get(calm)
    assert (run.status, run.config, run.device) == ("finished", config, "cpu")
    assert run.step == run.total_steps == STEPS
    accuracy, best = run.figure("test_accuracy"), run.figure("best_val_accuracy")
    assert accuracy is not None
    assert best is not None
    assert best > 0.4
    assert f"test accuracy {accuracy:.1%}" in run.message
    assert run.seconds > 0
    assert run.examples_per_s
    assert run.threads
    assert run.torch_version
    assert run.code_version
    assert (run.peak_memory_bytes or 0) > 50e6
    assert run.created
    assert run.started
    assert run.ended
    assert run.created <= run.started <= run.ended
    card = read_card(store.folder(calm) / "best")
    assert (card.title, card.metrics["test_accuracy"], card.metrics["test_images"]) == ("calm", accuracy, 60)
    assert card.metrics["test_interval"][0] <= accuracy <= card.metrics["test_interval"][1]
    assert card.calibration == Calibration(), "18 validation images are too few"


def test_the_answers_of_a_run_to_its_sample_images_are_kept(store: RunStore, calm: str, cut: str) -> None:
    for run_id in (calm, cut):
        folder = store.folder(run_id)
        rows = [json.loads(line) for line in (folder / ANSWERS).read_text().splitlines()]
        assert {row["step"] for row in rows} == {row["step"] for row in store.metrics(run_id) if row["kind"] == "eval"}
        card = read_card(folder / "best")
        found = read_answers(folder, card.step)
        assert found is not None
        assert (found.split, found.step, len(found.images)) == ("validation", card.step, 12)
        validation = load_images(card.dataset.name).validation
        pixels = [np.asarray(Image.open(io.BytesIO(image)))[::3, ::3] for image in found.images]
        places = [int(np.flatnonzero((validation.images == each).all((1, 2, 3)))[0]) for each in pixels]
        assert len(set(places)) == 12
        classes = card.image_data.classes
        assert found.labels == tuple(classes[label] for label in validation.labels[places])
        said = classify(load_checkpoint(str(folder / "best")), validation.images[places], tta="none")
        assert found.answers == tuple(answer.top[0][0] for answer in said)


def test_answers_after_the_saved_state_are_forgotten(store: RunStore, calm: str, config: TrainConfig) -> None:
    run_id = store.create(config, "killed")
    folder, seen = store.folder(run_id), []

    def end(recorder: Recorder) -> None:
        with (folder / ANSWERS).open("a") as file:
            file.write('{"step": 9')
        raise RuntimeError("the power went")

    def look(recorder: Recorder) -> None:
        found = read_answers(folder)
        seen.append((found and found.step, (folder / ANSWERS).read_text()))

    with pytest.MonkeyPatch.context() as patch, at_step(40, Recorder.save), at_step(56, end, EvalResult):
        patch.setattr("core.training.job.SAVE_SHARE", 10**9)
        assert finish(store, run_id).status == "failed"
    with at_step(41, look):
        assert finish(store, run_id).status == "finished"
    lines = (store.folder(calm) / ANSWERS).read_text().splitlines(keepends=True)
    assert seen == [(28, lines[0])]
    assert (folder / ANSWERS).read_text() == "".join(lines)


def test_a_finished_run_leaves_its_whole_evaluation(store: RunStore, calm: str) -> None:
    card = read_card(store.folder(calm) / "best")
    kept = kept_evaluation(card)
    assert kept is not None
    assert (kept.accuracy, kept.n) == (card.metrics["test_accuracy"], 60)


def test_rows_are_complete_and_seconds_grow_over_a_resume(store: RunStore, cut: str) -> None:
    rows = store.metrics(cut)
    train = [row for row in rows if row["kind"] == "train"]
    assert [row["step"] for row in rows if row["kind"] == "eval"] == [*range(28, STEPS, 28), STEPS]
    assert [row["step"] for row in train] == sorted({row["step"] for row in train})
    assert {"epoch", "examples", "lr", "train_loss_nats", "train_accuracy"} <= set(train[0])
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)


def test_a_run_gives_checkpoints_that_load(store: RunStore, cut: str) -> None:
    found = {reference.name: reference for reference in list_checkpoints(store.root)}
    assert load_checkpoint(found[cut]).card.image_data.classes == ("circle", "cross", "square")
    store.rename(cut, "afterwards")
    assert read_card(store.folder(cut) / "best").title == "afterwards"
    assert read_card(store.folder(cut) / "last").title == "afterwards (last)"


def test_divergence_ends_with_a_sentence_and_is_not_resumed(store: RunStore, config: TrainConfig) -> None:
    wild = config.replace(optimizer="sgd", lr=9e3, model_config={}, average="none", warmup=0.0, epochs=2)
    run = finish(store, store.create(wild))
    assert (run.status, run.resumable) == ("failed", False)
    assert "no longer a finite number" in run.message
    assert "learning rate" in run.message


def test_a_dataset_that_is_gone_is_told_and_can_be_tried_again(store: RunStore, config: TrainConfig) -> None:
    run = finish(store, store.create(config.replace(dataset="folder:/nowhere/at/all")))
    assert (run.status, run.resumable) == ("failed", True)
    assert "/nowhere/at/all" in run.message
    assert "Traceback" not in store.log(run.id)
