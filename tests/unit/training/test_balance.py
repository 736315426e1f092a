"""Classes of different sizes: weights in the loss, and images drawn so that classes come equally often."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.data.dataset import ImageDataset, Split
from core.training.batches import class_weights, drawn_order
from core.training.config import TrainConfig
from core.training.head_task import HeadTask
from core.training.session import TrainSession
from core.training.trainer import train, train_step
from tests.unit.builders import synthetic

RARE = TrainConfig(
    model="simple_cnn", epochs=2, batch_size=20, optimizer="sgd", lr=0.05, momentum=0, schedule="constant"
)


@pytest.fixture(scope="module")
def skewed() -> ImageDataset:
    """Mostly images of class 0."""
    whole = synthetic(train=200)
    kept = np.flatnonzero((whole.train.labels == 0) | (np.arange(200) < 40))
    train = Split(images=whole.train.images[kept], labels=whole.train.labels[kept])
    return ImageDataset(card=whole.card, train=train, validation=whole.validation, test=whole.test)


def test_weights_are_those_of_a_weighted_mean(skewed: ImageDataset) -> None:
    session = TrainSession.start(RARE.replace(balance="weights"), skewed, "cpu")
    labels = torch.from_numpy(skewed.train.labels)
    counts = torch.bincount(labels, minlength=4)
    weights = class_weights(labels, 4)
    assert weights[labels].mean() == pytest.approx(1)
    per_class = torch.bincount(labels, weights[labels].double(), minlength=4)[counts > 0]
    assert per_class.numpy() == pytest.approx(float(per_class[0]))
    inputs, targets = next(session.batches())
    loss, _ = session.forward(inputs, targets)
    each = F.cross_entropy(session.model(inputs), targets, reduction="none")
    assert loss.item() == pytest.approx((weights[targets] * each).mean().item(), rel=1e-5)


@pytest.mark.parametrize("balance", ["weights", "sampling"])
def test_a_batch_in_pieces_is_the_same_step(balance: str, skewed: ImageDataset) -> None:
    runs = [
        TrainSession.start(RARE.replace(balance=balance, grad_accumulation=pieces), skewed, "cpu") for pieces in (1, 4)
    ]
    for run in runs:
        train_step(run, *next(run.batches()))
    for name, value in runs[0].model.state_dict().items():
        if not name.endswith(("running_mean", "running_var")):  # those of batch norm are of each piece
            assert torch.allclose(value, runs[1].model.state_dict()[name], atol=1e-5), name


def test_a_class_without_images_has_no_weight() -> None:
    assert class_weights(torch.tensor([0, 0, 2]), 4).tolist() == pytest.approx([0.75, 0, 1.5, 0])


def test_sampling_brings_every_class_equally_often_and_the_same_ones_again() -> None:
    labels = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    drawn = drawn_order(labels, "sampling", torch.Generator().manual_seed(1))
    counts = torch.bincount(labels[drawn], minlength=3).numpy()
    # Binomial: 333 ± 15 each; five standard deviations.
    assert np.abs(counts - 1000 / 3).max() < 75
    again = drawn_order(labels, "sampling", torch.Generator().manual_seed(1))
    assert torch.equal(drawn, again)


@pytest.mark.parametrize("balance", ["weights", "sampling"])
def test_it_stays_the_same_after_a_resume(balance: str, skewed: ImageDataset) -> None:
    config = RARE.replace(balance=balance)
    whole = TrainSession.start(config, skewed, "cpu")
    for _ in train(whole):
        pass
    first, second = TrainSession.start(config, skewed, "cpu"), TrainSession.start(config, skewed, "cpu")
    batches = first.batches()
    for _ in range(3):
        train_step(first, *next(batches))
    second.load_state_dict(first.state_dict())
    for _ in train(second):
        pass
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


def test_a_head_on_features_is_balanced_the_same_way(skewed: ImageDataset) -> None:
    config = RARE.replace(init_from="x", train_layers="head", balance="sampling")
    task = HeadTask(config, skewed, "cpu", torch.float32, torch.autocast("cpu", enabled=False))
    count = len(skewed.train)
    task.features = {task.train_data: torch.arange(count)[:, None].float()}
    drawn = torch.cat([inputs for inputs, _ in itertools.islice(task.batches(0), 40 * task.steps_per_epoch)])
    labels = torch.from_numpy(skewed.train.labels)[drawn[:, 0].long()]
    shares = torch.bincount(labels, minlength=4) / len(labels)
    assert torch.allclose(shares, torch.full((4,), 0.25), atol=0.05)
    assert shares[0] < np.mean(skewed.train.labels == 0) - 0.2


def test_rare_classes_are_recognised_by_weights_as_bayes_says() -> None:
    """Two classes that overlap, one with a nineteenth of the images: weights move the border back to the middle."""
    random = np.random.default_rng(0)
    labels = np.array([0] * 19_000 + [1] * 1000)
    features = torch.tensor(random.normal(labels[:, None] * 1.5, 1.0, (20_000, 1)), dtype=torch.float32)
    # Where both are equally likely: half-way between the means, moved by the log of the priors where nothing is weighted.
    assert _border(features, labels, class_weights(torch.from_numpy(labels), 2)) == pytest.approx(0.75, abs=0.1)
    assert _border(features, labels, None) == pytest.approx(0.75 + np.log(19) / 1.5, abs=0.15)


def _border(features: torch.Tensor, labels: np.ndarray, weights: torch.Tensor | None) -> float:
    head = torch.nn.Linear(1, 2)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=50)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(head(features), torch.from_numpy(labels), weight=weights)
        loss.backward()
        return loss

    optimizer.step(closure)
    bias, weight = head.bias.detach(), head.weight.detach()
    return ((bias[0] - bias[1]) / (weight[1] - weight[0])).item()
