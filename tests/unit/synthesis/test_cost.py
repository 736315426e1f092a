"""The time of a set counts how often generator and judge are asked, and all pairs that are compared."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.checkpoints.store import find_checkpoint, load_checkpoint
from core.data.dataset import ImageDataset
from core.inference.generator import make_images
from core.inference.images import logits_of
from core.synthesis import copies, cost, distance, evidence
from core.synthesis.cli import config_for
from core.synthesis.cost import StepCosts, set_seconds, velocities
from core.synthesis.evidence import measure_set
from core.synthesis.job import labels_of
from core.training.estimate import START_SECONDS

IMAGES = 40


@pytest.mark.parametrize(("steps", "guidance"), [(1, 1.0), (3, 0.0), (4, 1.0), (3, 2.0)])
def test_each_velocity_is_counted(parent: str, steps: int, guidance: float) -> None:
    checkpoint = load_checkpoint(find_checkpoint(parent))
    asked = []
    checkpoint.model.register_forward_hook(lambda model, inputs, output: asked.append(len(output)))
    card = checkpoint.card.pixel_data
    make_images(checkpoint.model, card, np.arange(5), seed=0, steps=steps, guidance=guidance)
    config = config_for(parent, images=IMAGES, guidance=guidance, steps=steps, seed=0)
    assert 5 * velocities(config) == sum(asked)


def test_each_answer_and_each_pair_is_counted(
    parent: str,
    data: ImageDataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cost, "cores", lambda: 2)
    monkeypatch.setattr(cost, "dataset_sizes", lambda name: {"train": len(data.train), "test": len(data.test)})
    answers, pairs = [], []
    features, training, nearest = distance.image_features, evidence.training_features, copies.nearest_training_images

    def spy_logits(judge: object, images: np.ndarray, *rest: object) -> torch.Tensor:
        answers.append(len(images))
        return logits_of(judge, images, *rest)  # type: ignore[arg-type]

    def spy_features(judge: object, images: np.ndarray, *rest: object) -> torch.Tensor:
        answers.append(len(images))
        return features(judge, images, *rest)  # type: ignore[arg-type]

    def spy_training(judge: object, train: object, *rest: object) -> torch.Tensor:
        answers.append(len(train))  # type: ignore[arg-type]
        return training(judge, train, *rest)  # type: ignore[arg-type]

    def spy_nearest(queries: tuple[torch.Tensor, ...], train: torch.Tensor, *rest: object) -> object:
        if train.dtype == torch.uint8:
            pairs.append(sum(map(len, queries)) * len(train))
        return nearest(queries, train, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(evidence, "logits_of", spy_logits)
    monkeypatch.setattr(evidence, "image_features", spy_features)
    monkeypatch.setattr(evidence, "training_features", spy_training)
    monkeypatch.setattr(evidence, "nearest_training_images", spy_nearest)
    card = load_checkpoint(find_checkpoint(parent)).card
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    measure_set(card, images, labels_of(IMAGES, 10), data, lambda share, words: None)
    config = config_for(parent, images=IMAGES, guidance=1.0, steps=2, seed=0)
    making, comparing = set_seconds(config, StepCosts(velocity_s=0.0, answer_s=1.0, pair_s=0.0))
    assert making == START_SECONDS
    assert comparing == pytest.approx(sum(answers) / 2)
    _, comparing = set_seconds(config, StepCosts(velocity_s=0.0, answer_s=0.0, pair_s=1.0))
    assert comparing == pytest.approx(sum(pairs) / 2)


def test_what_a_step_costs_is_measured_and_is_of_one_image(
    parent: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cost, "processor_seconds", lambda work: (work(), 2.0)[1])
    monkeypatch.setattr(cost, "answer_seconds", lambda judge: 3.0)
    found = cost.step_costs(load_checkpoint(find_checkpoint(parent)))
    assert found == StepCosts(velocity_s=2 / cost.TRIAL, answer_s=3.0, pair_s=2 / (cost.ASKED * cost.KNOWN))
