"""Learning from a teacher: the loss by hand, its answers found whatever the order, kept on disk."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.compression.methods import distill
from core.compression.methods.distill import (
    SoftImageTask,
    SoftTextTask,
    Teaching,
    distillation_loss,
    mean_soft_labels,
    soft_loss,
    soft_targets,
)
from core.data.dataset import Dataset, ImageDataset
from core.inference.text import character_losses, next_logits
from core.models import build_model
from core.training.batches import epoch_batches
from core.training.config import TrainConfig
from core.training.session import TrainSession
from core.training.task import Task
from core.training.trainer import train
from tests.unit.compression.trainable import IMAGES, TEXT, weights

CLASSIFIER = TrainConfig(
    model="simple_cnn", model_config={"dropout": 0.2}, epochs=1.5, batch_size=24, lr=3e-3, flip="alternating",
    crop_padding=3, label_smoothing=0.1, device="cpu",
)  # fmt: skip
CHARACTERS = TrainConfig(
    model="char_lstm", model_config={"width": 12, "embedding": 12, "layers": 1}, dataset="text:/x", epochs=1.0,
    batch_size=8, window=32, state_reset=0.3, lr=5e-3, device="cpu",
)  # fmt: skip
GPT = CHARACTERS.replace(model="char_gpt", model_config={"width": 16, "layers": 1, "heads": 2, "context": 32})


def trained(config: TrainConfig, data: Dataset, seed: int = 7) -> Checkpoint:
    """A network as it is before its training: what it says is its own, and that is all that a teacher needs here."""
    session = TrainSession.start(config.replace(seed=seed), data, "cpu")
    return Checkpoint("teacher", session.card("Teacher"), session.model.eval().requires_grad_(False))


class Soft(TrainSession):
    """An ordinary session with the tasks that a teacher may help."""

    def _new_task(self, dataset: Dataset) -> Task:
        if isinstance(dataset, ImageDataset):
            return SoftImageTask(self.config, dataset, self.device, self.dtype, self.amp)
        return SoftTextTask(self.config, dataset, self.device, self.amp)


def teaching(teacher: Checkpoint, data: Dataset, task: Any, **values: Any) -> Teaching:
    targets = soft_targets(teacher, data, task)
    return Teaching(targets=targets, **{"alpha": 0.0, "temperature": 3.0} | values)


@pytest.mark.usefixtures("lab_home")
@pytest.mark.parametrize(("config", "data"), [(CLASSIFIER, IMAGES), (CHARACTERS, TEXT), (GPT, TEXT)])
def test_a_teacher_without_a_say_changes_nothing(config: TrainConfig, data: Dataset) -> None:
    plain, silent, heard = TrainSession(config, data, "cpu"), Soft(config, data, "cpu"), Soft(config, data, "cpu")
    teacher = trained(config, data)
    for session, alpha in ((silent, 0.0), (heard, 0.5)):
        session.task.teach(teaching(teacher, data, session.task, alpha=alpha))
    results = [list(train(session)) for session in (plain, silent, heard)]
    assert len(results[0]) > 5
    assert results[1] == results[0]
    assert all(torch.equal(a, b) for a, b in zip(weights(silent), weights(plain), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(heard), weights(plain), strict=True))


def test_the_loss_is_that_of_the_paper() -> None:
    student, teacher, temperature = [1.0, 0.0, -2.0], [0.5, 2.0, 1.0], 2.0

    def softened(logits: list[float], t: float) -> list[float]:
        powers = [math.exp(value / t) for value in logits]
        return [power / sum(powers) for power in powers]

    p, q = softened(teacher, temperature), softened(student, temperature)
    kl = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    given, soft = torch.tensor([student, teacher]), torch.tensor([teacher, teacher])
    assert soft_loss(given[:1], soft[:1], temperature).item() == pytest.approx(temperature**2 * kl, rel=1e-5)
    assert soft_loss(given, soft, temperature).item() == pytest.approx(temperature**2 * kl / 2, rel=1e-5)
    assert soft_loss(soft, soft + 3.0, temperature).item() == pytest.approx(0.0, abs=1e-6)
    hard = -math.log(softened(student, 1.0)[1])
    found = distillation_loss(given[:1], torch.tensor([1]), soft[:1], alpha=0.3, temperature=temperature).item()
    assert found == pytest.approx(0.7 * hard + 0.3 * temperature**2 * kl, rel=1e-5)


def test_a_large_temperature_matches_logits() -> None:
    """Its gradient becomes the difference of centred logits / classes (the paper's equation 4)."""
    given = torch.tensor([[1.0, 0.0, -2.0]], requires_grad=True)
    soft = torch.tensor([[0.5, 2.0, 1.0]])
    soft_loss(given, soft, 1000.0).backward()
    centred = [(item - item.mean()).detach() for item in (given, soft)]
    assert given.grad is not None
    assert torch.allclose(given.grad, (centred[0] - centred[1]) / 3, atol=2e-3)


@pytest.mark.usefixtures("lab_home")
def test_an_image_finds_its_own_soft_targets_whatever_its_place_and_augmentation() -> None:
    session = Soft(CLASSIFIER.replace(model_config={}, label_smoothing=0.0), IMAGES, "cpu")
    teacher = trained(CLASSIFIER, IMAGES)
    session.task.teach(teaching(teacher, IMAGES, session.task, alpha=0.6))
    batches = session.batches()
    inputs, targets = next(batches)
    assert targets.tolist() != sorted(targets.tolist())
    # The same batch of a task that nobody teaches tells the labels; the teacher is asked by hand.
    plain = TrainSession(session.config, IMAGES, "cpu")
    images, labels = next(plain.batches())
    assert torch.equal(images, inputs)
    pixels = torch.from_numpy(IMAGES.train.images[targets.numpy()].astype(np.float32))
    mean, std = (torch.tensor(values) for values in (IMAGES.card.mean, IMAGES.card.std))
    with torch.no_grad():
        soft = teacher.model(((pixels / 255 - mean) / std).permute(0, 3, 1, 2))
        logits = session.model(images)
        loss, right = session.task.loss(session.model, inputs, targets)
    expected = distillation_loss(logits, labels, soft, alpha=0.6, temperature=3.0)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-3)
    assert int(right) == int((logits.argmax(1) == labels).sum())


@pytest.mark.usefixtures("lab_home")
def test_a_character_finds_what_the_teacher_expects_after_it() -> None:
    session = Soft(GPT, TEXT, "cpu")
    teacher = trained(GPT, TEXT)
    session.task.teach(teaching(teacher, TEXT, session.task, alpha=0.6))
    inputs, targets = next(session.batches())  # places in the text
    assert torch.equal(targets, inputs + 1)
    tokens = torch.from_numpy(TEXT.train)
    with torch.no_grad():
        everywhere = next_logits(teacher.model, tokens, 0).float()
        session.model.eval()
        logits = session.model(tokens[inputs])[0].flatten(0, 1)
        loss, _ = session.task.loss(session.model, inputs, targets)
    soft = torch.stack([everywhere[place] for place in inputs.flatten().tolist()])
    expected = distillation_loss(logits, tokens[targets].flatten(), soft, alpha=0.6, temperature=3.0)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("length", [700, 16_500])
@pytest.mark.parametrize("name", ["char_rnn", "char_lstm", "char_gpt"])
def test_expectations_cost_what_the_text_costs(name: str, length: int) -> None:
    """Their cross-entropy is the loss of each character, within float16; a long text is read in 16 parts."""
    torch.manual_seed(0)
    sizes = {"width": 16, "layers": 1} | ({"heads": 2, "context": 32} if name == "char_gpt" else {"embedding": 8})
    model = build_model(name, {"vocabulary": 20} | sizes).eval()
    tokens = torch.randint(0, 20, (length,))
    with torch.no_grad():
        logits = next_logits(model, tokens, 0)
        losses, right = character_losses(model, tokens, 0)
    assert logits.shape == (length - 1, 20)
    assert logits.dtype == torch.float16
    found = F.cross_entropy(logits.float(), tokens[1:], reduction="none")
    assert torch.allclose(found, losses, atol=5e-3)
    assert ((logits.argmax(1) == tokens[1:]) == right).float().mean() > 0.99


def test_a_teacher_is_asked_once_and_again_where_the_file_is_damaged(
    lab_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = SoftImageTask(CLASSIFIER, IMAGES, "cpu", torch.float32, torch.autocast("cpu", enabled=False))
    teacher = trained(CLASSIFIER, IMAGES)
    before = [value.clone() for value in teacher.model.state_dict().values()]
    asked: list[float] = []

    def ask(share: float, words: str) -> None:
        assert words == "computing the teacher's answers"
        asked.append(share)

    first = soft_targets(teacher, IMAGES, task, ask)
    assert asked == [1.0]
    assert first.shape == (96, 4)
    (path,) = (lab_home / "soft-targets").iterdir()
    whole = path.read_bytes()
    again = soft_targets(teacher, IMAGES, task, ask)
    assert asked == [1.0], "the file was used"
    assert torch.equal(again, first)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    for damaged in (b"", whole[:100], whole[:-40], b"not a file of numpy", bytes(flipped)):
        path.write_bytes(damaged)
        asked.clear()
        anew = soft_targets(teacher, IMAGES, task, ask)
        assert asked == [1.0]
        assert torch.equal(anew, first)
        assert path.read_bytes() == whole
    # Another network with the same card, other images, and another view of them are asked anew.
    other = dataclasses.replace(teacher, model=trained(CLASSIFIER, IMAGES, seed=8).model)
    fewer = SoftImageTask(CLASSIFIER.replace(train_images=40), IMAGES, "cpu", torch.float32, task.amp)
    asked.clear()
    assert not torch.equal(soft_targets(other, IMAGES, task, ask), first)
    assert len(soft_targets(teacher, IMAGES, fewer, ask)) == 40
    darker = dataclasses.replace(IMAGES, card=dataclasses.replace(IMAGES.card, mean=(0.1, 0.1, 0.1)))
    dark = SoftImageTask(CLASSIFIER, darker, "cpu", torch.float32, task.amp)
    assert not torch.equal(soft_targets(teacher, darker, dark, ask), first)
    assert asked == [1.0] * 3
    kept = {item: item.stat().st_size for item in (lab_home / "soft-targets").iterdir()}
    monkeypatch.setattr(distill, "MOST_CACHED_BYTES", max(kept.values()) + 10)
    soft_targets(other, IMAGES, fewer, ask)
    left = set((lab_home / "soft-targets").iterdir())
    assert left - set(kept), "the newest stays"
    assert sum(item.stat().st_size for item in left) <= max(kept.values()) + 10
    monkeypatch.setattr(distill, "MOST_BYTES", 100)
    with pytest.raises(LabError, match="set alpha to 0"):
        soft_targets(other, IMAGES, fewer, ask)
    assert all(torch.equal(a, b) for a, b in zip(before, teacher.model.state_dict().values(), strict=True))


def test_a_home_that_cannot_be_written_is_no_reason_to_fail(lab_home: Path) -> None:
    lab_home.mkdir()
    (lab_home / "soft-targets").write_text("in the way")
    task = SoftImageTask(CLASSIFIER, IMAGES, "cpu", torch.float32, torch.autocast("cpu", enabled=False))
    assert len(soft_targets(trained(CLASSIFIER, IMAGES), IMAGES, task)) == 96


def test_mean_soft_labels_are_of_each_class() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [math.log(2.0), 0.0, 0.0], [0.0, 0.0, math.log(6.0)]]).half()
    rows = mean_soft_labels(logits, np.array([0, 0, 2]), ("a", "b", "c"))
    assert [row["label"] for row in rows] == ["a", "c"]
    expected = [(1 / 3 + 1 / 2) / 2, (1 / 3 + 1 / 4) / 2, (1 / 3 + 1 / 4) / 2]
    assert rows[0]["probabilities"] == pytest.approx(expected, abs=1e-3)
    assert rows[1]["probabilities"] == pytest.approx([1 / 8, 1 / 8, 6 / 8], abs=1e-3)


@pytest.mark.usefixtures("lab_home")
def test_mixed_images_have_no_teacher() -> None:
    session = Soft(CLASSIFIER.replace(mixup=0.5), IMAGES, "cpu")
    list(train(session))  # without one, they are trained on as always
    targets = soft_targets(trained(CLASSIFIER, IMAGES), IMAGES, session.task)
    with pytest.raises(LabError, match="leave mixup and cutmix out"):
        session.task.teach(Teaching(targets=targets, alpha=0.5, temperature=2.0))


def test_labels_that_are_places_are_those_of_the_images() -> None:
    """`epoch_batches` itself: a label and its place go the same way."""
    task = SoftImageTask(CLASSIFIER, IMAGES, "cpu", torch.float32, torch.autocast("cpu", enabled=False))
    labels = [labels for _, labels in epoch_batches(task.train_data, CLASSIFIER, 3, 24)]
    task.train_data.labels = torch.arange(96)
    places = [places for _, places in epoch_batches(task.train_data, CLASSIFIER, 3, 24)]
    assert torch.equal(task.true[torch.cat(places)], torch.cat(labels))
    assert sorted(torch.cat(places).tolist()) == list(range(96))
