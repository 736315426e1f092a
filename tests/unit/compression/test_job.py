"""Recipes as runs: all that is kept of one, what is refused, what can be done without the data, and going on after a stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.checkpoints.store import Checkpoint, find_checkpoint, load_checkpoint, save_checkpoint
from core.common.processor import int8_processor
from core.compression import job
from core.compression.kind import COMPRESS
from core.compression.measuring import measure
from core.compression.methods.pruning import prunable
from core.compression.recipe import ORIGINAL, CompressConfig
from core.compression.steps import (
    Cluster,
    Distill,
    FineTune,
    Float16,
    HuffmanCode,
    Int8,
    PruneChannels,
    PruneGradually,
    PruneWeights,
    Step,
)
from core.compression.store import COMPRESSIONS, read_answers, read_compression, variant_folder
from core.data import load_images, load_text
from core.data.dataset import Dataset, ImageDataset
from core.inference.images import logits_of
from core.jobs import Run, RunStore
from core.jobs.store import STATE, STOP
from core.jobs.worker import do_run
from core.training.config import TrainConfig
from core.training.job import Recorder
from core.training.session import TrainSession
from core.training.trainer import train
from tests.tiny_text import write_text
from tests.unit.compression.quick_measuring import quicken

pytestmark = pytest.mark.slow

CHAIN = (PruneWeights(amount=0.5), FineTune(epochs=1.0), Cluster(bits=3), HuffmanCode())
TRAINED = (FineTune(epochs=1.0), PruneGradually(amount=0.6, epochs=4.0))


@pytest.fixture(scope="module")
def dataset(tiny_dataset_folder: Path) -> ImageDataset:
    return load_images(f"folder:{tiny_dataset_folder}")


@pytest.fixture(scope="module")
def shapes(dataset: ImageDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small network that knows something of the images."""
    config = TrainConfig(
        model="simple_cnn",
        model_config={"widths": [6, 8], "batch_norm": True},
        dataset=dataset.card.name,
        epochs=4,
        batch_size=16,
        lr=5e-3,
    )
    return trained(config, dataset, tmp_path_factory.mktemp("shapes-network"))


@pytest.fixture
def store(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """A store whose runs are done in this process, with few and quick measurements, and leave its signals alone."""
    quicken(monkeypatch, onnx=False)
    monkeypatch.setattr(measure, "SUBJECTS", ("torch_b1", "onnx_b1"))
    monkeypatch.setattr("core.jobs.worker.signal.signal", lambda number, handler: None)
    return RunStore(lab_home / "runs")


@pytest.fixture
def all_measured(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs in ONNX Runtime is measured there, too."""
    quicken(monkeypatch)


def trained(config: TrainConfig, data: Dataset, folder: Path) -> Path:
    session = TrainSession.start(config, data, "cpu")
    list(train(session))
    save_checkpoint(folder, session.eval_model(), session.card("Shapes"))
    return folder


def create(store: RunStore, original: Path | str, *steps: Step, **settings: Any) -> str:
    card = find_checkpoint(str(original), store.root).card
    config = CompressConfig(
        checkpoint=str(original),
        steps=tuple(step.to_dict() for step in steps),
        model=card.model,
        dataset=card.dataset.name,
        device="cpu",
        **settings,
    )
    return store.create(config, "recipe", kind=COMPRESS.name)


def done(store: RunStore, original: Path | str, *steps: Step, **settings: Any) -> Run:
    """A recipe that was done without a break."""
    run_id = create(store, original, *steps, **settings)
    assert do_run(store, run_id) == "finished", store.get(run_id).message
    return store.get(run_id)


def made(store: RunStore, run_id: str, variant: str) -> Checkpoint:
    return load_checkpoint(find_checkpoint(f"{run_id}/{variant}" if variant else run_id, store.root))


def digests(store: RunStore, run_id: str) -> dict[str, str]:
    variants = store.config(run_id).variants()
    return {variant.id: made(store, run_id, variant.id).card.weights_sha256 for variant in variants}


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, variant: str, do: Callable[[Recorder], None]) -> None:
    """Once, when a variant's training has done so many steps."""
    record, over = Recorder.record, []

    def recorded(recorder: Recorder, result: Any) -> None:
        record(recorder, result)
        if not over and recorder.job.folder.name == variant and result.step == step:
            over.append(step)
            do(recorder)

    monkeypatch.setattr(Recorder, "record", recorded)


def stop(recorder: Recorder) -> None:
    """As the engine asks for it."""
    (recorder.job.folder.parents[1] / STOP).touch()


def spied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The variants whose training is begun or gone on with."""
    seen: list[str] = []
    really = job.train_to_end

    def training(session: Any, job: Any) -> Any:
        seen.append(job.run.id)
        return really(session, job)

    monkeypatch.setattr(job, "train_to_end", training)
    return seen


@pytest.mark.usefixtures("all_measured")
def test_all_of_a_recipe_is_kept_and_told(store: RunStore, shapes: Path, dataset: ImageDataset) -> None:
    before = files(shapes)
    run = done(store, shapes, *CHAIN, seed=3)
    assert files(shapes) == before
    config, folder = store.config(run.id), store.folder(run.id)
    names = ["1-prune_weights", "2-fine_tune", "3-cluster", "4-huffman"]
    assert [variant.id for variant in config.variants()] == names
    result = read_compression(store, run.id)
    assert [item.id for item in result.measured] == [ORIGINAL, *names]
    assert (result.original, result.task, result.classes) == ("Shapes", "images", dataset.card.classes)
    assert set(result.made) == {"hardware", "versions", "code", "date"}
    facts = COMPRESSIONS.read_facts(folder)
    assert facts["weights"] == load_checkpoint(str(shapes)).card.weights_sha256
    assert (run.status, run.parts_done, run.step, run.total_steps) == ("finished", 4, 1000, 1000)
    assert run.message.startswith("4 variants made and measured; the result: ")
    assert "points" in run.message
    assert not list(folder.glob(f"members/*/{STATE}"))
    assert not list(folder.glob("members/*/last"))

    first = load_checkpoint(str(shapes))
    checkpoints = {ORIGINAL: first} | {name: made(store, run.id, name) for name in names}
    right: dict[str, np.ndarray] = {}
    for item in result.measured:
        checkpoint, answers = checkpoints[item.id], read_answers(folder, item.id)
        assert answers is not None
        expected = logits_of(checkpoint, dataset.test.images, "none").numpy().argmax(1)
        assert (answers == expected).mean() >= 0.98  # ONNX Runtime adds up in another order
        right[item.id] = answers == dataset.test.labels
        assert (item.accuracy, item.images) == (right[item.id].mean(), 60)
        path = (
            shapes if item.id == ORIGINAL else variant_folder(folder, item.id) / "best"
        ) / checkpoint.card.weights_file
        assert item.stored_bytes == checkpoint.card.size_bytes == path.stat().st_size
        if item.id != ORIGINAL:
            gained = int(right[item.id].sum()) - int(right[ORIGINAL].sum())
            assert item.delta_points == pytest.approx(100 * gained / 60)
            card = checkpoint.card
            assert card.metrics["test_accuracy"] == item.accuracy
            assert (card.metrics["run"], card.metrics["delta_points"]) == (run.id, item.delta_points)
            assert card.compression["original"] == str(shapes)
            assert [step["step"] for step in card.compression["steps"]] == [
                name.partition("-")[2] for name in names[: item.number]
            ]
            assert card.title == f"Shapes: {item.title}"[:100]
    assert result.first is not None
    assert result.first.accuracy is not None
    assert result.first.accuracy > 0.5

    sizes = [weight.numel() for weight in prunable(first.model).values()]
    for name in names[:2]:
        found = prunable(checkpoints[name].model)
        assert sum(int((weight == 0).sum()) for weight in found.values()) == round(0.5 * sum(sizes))
    zeros = {name: prunable(checkpoints[name].model)["conv2.weight"] == 0 for name in names}
    assert all(torch.equal(zeros[names[0]], zeros[name]) for name in names[1:])
    assert all(len(weight.unique()) <= 9 for weight in prunable(checkpoints["3-cluster"].model).values())
    for name, value in checkpoints["3-cluster"].model.state_dict().items():
        assert torch.equal(value, checkpoints["4-huffman"].model.state_dict()[name])
    stored = [item.stored_bytes for item in result.measured]
    assert stored[0] > stored[3] > stored[4]
    own = made(store, run.id, "")
    assert own.card.weights_sha256 == checkpoints["4-huffman"].card.weights_sha256
    assert own.card.title == "recipe"
    rows = RunStore(folder / "members").metrics("2-fine_tune")
    assert {row["kind"] for row in rows} == {"train", "eval"}


def test_a_student_and_its_control_for_every_seed(store: RunStore, shapes: Path, dataset: ImageDataset) -> None:
    step = Distill(student="simple_cnn", student_config={"widths": [4, 4]}, epochs=0.5, seeds=2)
    run = done(store, shapes, step, Float16(), seed=10)
    names = ["1-distill-s0", "1-control-s0", "1-distill-s1", "1-control-s1", "2-float16"]
    result = read_compression(store, run.id)
    assert [item.id for item in result.variants] == names
    assert [(item.seed, item.control) for item in result.variants[:4]] == [(0, False), (0, True), (1, False), (1, True)]
    assert [row["label"] for row in result.soft_labels] == list(dataset.card.classes)
    for index, row in enumerate(result.soft_labels):
        own = dataset.train.labels == index
        logits = logits_of(load_checkpoint(str(shapes)), dataset.train.images[own], "none")
        assert row["probabilities"] == pytest.approx(torch.softmax(logits, 1).mean(0).tolist(), abs=2e-3)
    for variant in names[:4]:
        assert made(store, run.id, variant).card.parent == str(shapes), "each learns from the original"
    for seed in (0, 1):
        recipe = made(store, run.id, f"1-control-s{seed}").card.recipe
        alone = TrainSession.start(TrainConfig.from_dict(recipe), dataset, "cpu")
        assert alone.config.seed == 10 + seed
        list(train(alone))
        for name, value in made(store, run.id, f"1-control-s{seed}").model.state_dict().items():
            assert torch.equal(value, alone.eval_model().state_dict()[name]), "a control is an ordinary training"
    assert len(set(digests(store, run.id).values())) == 5
    student, half = made(store, run.id, names[0]), made(store, run.id, names[4])
    for name, value in student.model.state_dict().items():
        expected = value.half().float() if value.is_floating_point() else value
        assert torch.equal(half.model.state_dict()[name], expected)
    assert half.card.compression["steps"] == [step.to_dict(), Float16().to_dict()]
    assert made(store, run.id, "").card.weights_sha256 == half.card.weights_sha256
    alone_run = done(store, shapes, Distill(student_config={"widths": [4, 4]}, epochs=0.2, seeds=1))
    last = read_compression(store, alone_run.id).variants[0]
    assert f"{last.delta_points:.2f}".lstrip("-") in alone_run.message, "the result is the student, not its control"


@pytest.mark.usefixtures("all_measured")
def test_what_needs_no_data_is_done_without_them(
    store: RunStore, shapes: Path, tmp_path: Path, dataset: ImageDataset
) -> None:
    gone = load_checkpoint(str(shapes))
    card: dict[str, Any] = json.loads(gone.card.to_json())
    card["dataset"]["name"] = "folder:/nowhere/at/all"
    save_checkpoint(tmp_path / "gone", gone.model, type(gone.card).from_json(json.dumps(card)))
    run = done(store, tmp_path / "gone", PruneChannels(amount=0.25), Float16())
    assert run.message == "2 variants made and measured; the result: –."
    for item in read_compression(store, run.id).measured:
        assert (item.accuracy, item.delta_points, item.images) == (None, None, 0)
        assert any("accuracy was not measured" in note for note in item.notes)
        assert item.latency_ms
        assert item.size_bytes
        assert read_answers(store.folder(run.id), item.id) is None
    for step in (FineTune(), Int8(images=16), PruneChannels(importance="taylor")):
        run_id = create(store, tmp_path / "gone", step)
        assert do_run(store, run_id) == "failed"
        run = store.get(run_id)
        assert "/nowhere/at/all" in run.message
        assert run.resumable
        assert "\n" not in run.message


def test_what_is_int8_or_clustered_already_is_refused(store: RunStore, shapes: Path) -> None:
    first = done(store, shapes, Int8(images=16))
    made_int8 = made(store, first.id, "1-int8")
    assert made_int8.onnx
    assert made(store, first.id, "").onnx == made_int8.onnx
    assert made_int8.card.metrics["processor"] == int8_processor()
    assert first.message.startswith("1 variant made and measured; the result: ")
    clustered = done(store, shapes, Cluster(bits=4))
    for name, word in ((f"{first.id}/1-int8", "int8"), (clustered.id, "clustered")):
        run_id = create(store, name, Float16())
        assert do_run(store, run_id) == "failed"
        assert (
            f"is in {word} already: start from the checkpoint that it was made from, {shapes}."
            in store.get(run_id).message
        )


def test_a_variant_may_be_the_original_of_another_recipe(store: RunStore, shapes: Path) -> None:
    first = done(store, shapes, PruneChannels(amount=0.25), Float16())
    second = done(store, f"{first.id}/1-prune_channels", FineTune(epochs=0.5))
    card = made(store, second.id, "1-fine_tune").card
    assert (
        card.model_config["changed_layers"]
        == made(store, first.id, "1-prune_channels").card.model_config["changed_layers"]
    )
    assert card.parent == f"{first.id}/1-prune_channels"
    assert [step["step"] for step in card.compression["steps"]] == ["prune_channels", "fine_tune"]
    assert card.compression["original"] == str(shapes)


def test_divergence_is_told_with_the_step(store: RunStore, shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def blow_up(recorder: Recorder) -> None:
        with torch.no_grad():
            recorder.session.model.get_parameter("head.bias").fill_(float("nan"))

    run_id = create(store, shapes, FineTune(epochs=8.0))
    at_step(monkeypatch, 2, "1-fine_tune", blow_up)
    assert do_run(store, run_id) == "failed"
    run = store.get(run_id)
    assert run.message.startswith("Fine-tune for 8 epochs: The loss was no longer")
    assert not run.resumable, "it would diverge again"


def test_a_writer_is_pruned_and_measured_on_its_text(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_text(f"text:{write_text(tmp_path / 'text', 6000)}")
    config = TrainConfig(
        model="char_gpt",
        model_config={"width": 16, "layers": 1, "heads": 2, "context": 32},
        dataset=data.card.name,
        epochs=0.5,
        batch_size=8,
        window=32,
        lr=5e-3,
    )
    original = trained(config, data, tmp_path / "writer")
    run = done(store, original, PruneGradually(amount=0.5, epochs=0.5), Int8())
    for item in read_compression(store, run.id).measured:
        assert item.loss_nats is not None
        assert 0 < item.loss_nats < 5
    metrics = made(store, run.id, "1-prune_gradually").card.metrics
    measured = read_compression(store, run.id).variants[0]
    assert metrics["val_loss_nats"] == measured.loss_nats
    assert metrics["val_bits_per_character"] == pytest.approx(measured.loss_nats / np.log(2))
    assert measured.zeros == pytest.approx(0.5, abs=0.01)
    assert "nats" in run.message
    assert RunStore(store.folder(run.id) / "members").samples("1-prune_gradually")
    # Without its text, it can still become int8.
    (tmp_path / "text").rename(tmp_path / "elsewhere")
    assert read_compression(store, done(store, original, Int8()).id).variants[0].loss_nats is None


def test_a_recipe_that_was_stopped_goes_on_to_the_same_end(
    store: RunStore, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = done(store, shapes, *TRAINED)
    rough = create(store, shapes, *TRAINED)
    at_step(monkeypatch, 1, "1-fine_tune", stop)
    assert do_run(store, rough) == "stopped"
    run = store.get(rough)
    assert "after 0 of 2 variants: resume it" in run.message
    assert run.resumable
    assert run.keeps_work
    assert run.threads == torch.get_num_threads(), "a resume takes as many"
    assert (store.folder(rough) / "members" / "1-fine_tune" / STATE).is_file()
    at_step(monkeypatch, 3, "2-prune_gradually", stop)
    trainings = spied(monkeypatch)
    torch.manual_seed(99)
    assert do_run(store, rough) == "stopped"
    assert "after 1 of 2 variants" in store.get(rough).message
    measured = (store.folder(rough) / "members" / "1-fine_tune" / "measurement.json").stat().st_mtime_ns
    assert do_run(store, rough) == "finished"
    assert trainings == ["1-fine_tune", "2-prune_gradually", "2-prune_gradually"]
    assert (store.folder(rough) / "members" / "1-fine_tune" / "measurement.json").stat().st_mtime_ns == measured
    assert digests(store, rough) == digests(store, calm.id)
    for name in ("1-fine_tune", "2-prune_gradually"):
        rows = [plain(RunStore(store.folder(run_id) / "members").metrics(name)) for run_id in (rough, calm.id)]
        assert rows[0] == rows[1]
    assert store.get(rough).parts_done == 2


def test_what_was_trained_is_only_measured_and_told_after_a_failure(
    store: RunStore, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = create(store, shapes, FineTune(epochs=1.0))
    trainings = spied(monkeypatch)
    really: Any = job.Bench.measure

    def full(bench: Any, checkpoint: Checkpoint, stored_bytes: int, **named: Any) -> Any:
        if named["id"] != ORIGINAL:
            raise OSError(28, "No space left on device")
        return really(bench, checkpoint, stored_bytes, **named)

    with monkeypatch.context() as patch:
        patch.setattr(job.Bench, "measure", full)
        assert do_run(store, run_id) == "failed"
    assert store.get(run_id).message.startswith("The disk is full")

    def gone(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # after the measurement, and before it is on the card
        patch.setattr(job, "_add_metrics", gone)
        assert do_run(store, run_id) == "failed"
    assert "test_accuracy" not in made(store, run_id, "1-fine_tune").card.metrics
    assert do_run(store, run_id) == "finished"
    assert trainings == ["1-fine_tune"]
    assert made(store, run_id, "1-fine_tune").card.metrics["test_images"] == 60


def test_a_damaged_variant_is_made_anew(store: RunStore, shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = create(store, shapes, PruneWeights(amount=0.5), FineTune(epochs=1.0), PruneGradually(epochs=4.0))
    at_step(monkeypatch, 1, "3-prune_gradually", stop)
    assert do_run(store, run_id) == "stopped"
    before = {name: made(store, run_id, name).card.weights_sha256 for name in ("1-prune_weights", "2-fine_tune")}
    for name in before:
        (path,) = (variant_folder(store.folder(run_id), name) / "best").glob("*.safetensors")
        path.write_bytes(b"damaged")
    assert do_run(store, run_id) == "finished"
    assert {name: made(store, run_id, name).card.weights_sha256 for name in before} == before
    assert len(read_compression(store, run_id).measured) == 4
    assert all("test_accuracy" in made(store, run_id, name).card.metrics for name in before)


def test_another_original_under_the_same_name_is_refused(
    store: RunStore, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_checkpoint(str(shapes))
    save_checkpoint(tmp_path / "mine", first.model, first.card)
    run_id = create(store, tmp_path / "mine", *TRAINED)
    at_step(monkeypatch, 1, "1-fine_tune", stop)
    assert do_run(store, run_id) == "stopped"
    with torch.no_grad():
        next(first.model.parameters()).add_(0.1)
    save_checkpoint(tmp_path / "mine", first.model, first.card)
    assert do_run(store, run_id) == "failed"
    assert "has changed since this recipe began: start the recipe again." in store.get(run_id).message
