"""Regularization techniques in the one trainer, each against its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.common.errors import LabError
from core.data.dataset import TextCard, TextDataset
from core.models.stochastic_depth import StochasticDepth
from core.training import batches
from core.training.auto_augment import trivial_augment
from core.training.batches import AUTO_AUGMENT_STREAM, MIXING_STREAM, DeviceImages, batch_seed, epoch_batches
from core.training.config import IMAGES_ONLY, TrainConfig
from core.training.estimate import estimate_seconds, measured_speed, record_speed
from core.training.mixing import blend, box_of_share, paste_box
from core.training.optimizers import lr_factor
from core.training.preview import augmented_pixels
from core.training.results import EvalResult, StepResult
from core.training.session import TrainSession
from core.training.trainer import train, train_step
from tests.unit.builders import synthetic

DATA = synthetic(train=60)
SGD = TrainConfig(epochs=1, batch_size=20, optimizer="sgd", momentum=0, lr=0.1, schedule="constant")
LETTERS = np.random.default_rng(0).integers(0, 5, 400)
TEXT = TextDataset(
    card=TextCard(name="text:x", title="Letters", vocabulary="abcde"),
    text="".join("abcde"[token] for token in LETTERS),
    train=LETTERS[:300],
    validation=LETTERS[300:],
)
AUGMENTED = TrainConfig(flip="random", crop_padding=3, cutout=6, batch_size=20)


def session(config: TrainConfig) -> TrainSession:
    return TrainSession.start(config, TEXT if config.model.startswith("char") else DATA, "cpu")


def without_gradient(run: TrainSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loss be zero whatever the weights, so that only what a technique adds moves them."""

    def loss(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return sum(p.sum() * 0 for p in run.model.parameters()), torch.zeros(())

    monkeypatch.setattr(run, "forward", loss)


def copies(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def epoch(config: TrainConfig, number: int = 0, first: int = 0) -> list[tuple[Tensor, Tensor]]:
    data = DeviceImages(DATA.train, DATA.card, "cpu")
    return list(epoch_batches(data, config, number, config.batch_size, first))


def test_adamw_decay_is_the_closed_form_for_weights_and_nothing_for_biases_and_norms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = TrainConfig(
        epochs=3,
        batch_size=20,
        lr=0.1,
        weight_decay=0.5,
        schedule="triangular",
        warmup=0.3,
        model_config={"batch_norm": True},
    )
    run = session(config)
    without_gradient(run, monkeypatch)
    before = copies(run.model)
    used = [train_step(run, *batch) for batch, _ in zip(run.batches(), range(9), strict=False)]
    assert used == [pytest.approx(0.1 * lr_factor(config, step, 9)) for step in range(9)]
    left = math.prod(1 - lr * 0.5 for lr in used)
    assert 0.2 < left < 0.9
    for name, parameter in run.model.named_parameters():
        if parameter.ndim >= 2:
            assert torch.allclose(parameter, before[name] * left, rtol=1e-5)
        else:
            assert torch.equal(parameter, before[name])


@pytest.mark.parametrize("pieces", [1, 3])
def test_l1_follows_the_gradient_of_loss_and_penalty_and_is_not_reported(pieces: int) -> None:
    run = session(SGD.replace(l1=0.02, grad_accumulation=pieces))
    images, labels = next(run.batches())
    names, parameters = zip(*run.model.named_parameters(), strict=True)
    loss = F.cross_entropy(run.model(images), labels)
    penalty = sum(p.abs().sum() for name, p in zip(names, parameters, strict=True) if name.endswith("weight"))
    expected_sum = 20 * float(loss.detach())
    wanted = [p - 0.1 * g for p, g in zip(parameters, torch.autograd.grad(loss + 0.02 * penalty, parameters))]
    train_step(run, images, labels)
    for after, expected in zip(run.model.parameters(), wanted, strict=True):
        assert torch.allclose(after, expected, atol=1e-6)
    assert float(run.sums[0]) == pytest.approx(expected_sum, rel=1e-5)


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("model", ["simple_cnn", "fast_resnet", "char_gpt"])
def test_l1_alone_moves_each_trained_weight_by_its_sign(
    model: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"fast_resnet": {"widths": [4, 8, 8]}, "char_gpt": {"width": 8, "layers": 1, "heads": 2}}
    run = session(
        SGD.replace(l1=0.01, model=model, model_config=small.get(model, {}), window=8, grad_accumulation=1).replace(
            precision=precision
        )
    )
    without_gradient(run, monkeypatch)
    before = copies(run.model)
    train_step(run, *next(run.batches()))
    moved = 0
    for name, parameter in run.model.named_parameters():
        penalised = parameter.requires_grad and parameter.ndim >= 2
        expected = before[name] - 0.1 * 0.01 * before[name].sign() if penalised else before[name]
        assert torch.allclose(parameter, expected, atol=1e-7)
        moved += penalised
    assert moved >= 3
    assert float(run.sums[0]) == 0


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d, StochasticDepth])
def test_what_drops_is_the_identity_in_evaluation_and_keeps_the_mean_in_training(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    p, rows = 0.3, 20_000
    module = kind(p)
    x = torch.rand(rows, 4, 2, 2) + 0.5
    untouched = x.clone()
    assert module.eval()(x) is x or torch.equal(module.eval()(x), x)
    y = module.train()(x)
    assert torch.equal(x, untouched)
    ratio = y / x
    assert torch.allclose(ratio[ratio > 0], torch.tensor(1 / (1 - p)))
    # The coarsest mask is one draw a row: its mean has a standard error of sqrt(p / (1 - p) / rows), 5 of which are 0.023.
    assert float(ratio.mean()) == pytest.approx(1, abs=5 * math.sqrt(p / (1 - p) / rows))
    if kind is StochasticDepth:
        assert set((ratio > 0).flatten(1).sum(1).tolist()) == {0, 16}


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("simple_cnn", {"spatial_dropout": 0.1}),
        ("fast_resnet", {"dropout": 0.1}),
        ("fast_resnet", {"depth": 3, "stochastic_depth": 0.1}),
        ("resnet18", {"stochastic_depth": 0.1}),
        ("resnet18", {"dropout": 0.1}),
    ],
)
def test_a_session_notices_whatever_drops(model: str, settings: dict) -> None:
    assert session(SGD.replace(model=model, model_config=settings)).has_dropout
    assert not session(SGD.replace(model=model)).has_dropout


def test_blend_and_box_by_hand() -> None:
    images, labels = torch.randn(5, 3, 8, 6), torch.tensor([0, 1, 2, 0, 1])
    targets, partner = F.one_hot(labels, 3).float(), torch.tensor([1, 0, 3, 4, 2])
    inputs, soft = blend(images, targets, partner, 0.7)
    pasted, shares = paste_box(images, targets, partner, (2, 5, 1, 6))
    for n, other in enumerate(partner.tolist()):
        assert torch.allclose(inputs[n], 0.7 * images[n] + 0.3 * images[other], atol=1e-6)
        assert torch.allclose(soft[n], 0.7 * targets[n] + 0.3 * targets[other])
        expected = images[n].clone()
        expected[:, 2:5, 1:6] = images[other][:, 2:5, 1:6]
        assert torch.equal(pasted[n], expected)
        assert torch.allclose(shares[n], (33 * targets[n] + 15 * targets[other]) / 48)


def test_a_box_has_the_images_proportions_and_stays_inside() -> None:
    assert box_of_share(0.75, (16, 8), 32, 16) == (8, 24, 4, 12)
    assert box_of_share(0.75, (0, 15), 32, 16) == (0, 8, 11, 16)
    assert box_of_share(0.0, (16, 16), 32, 32) == (0, 32, 0, 32)
    top, bottom, left, right = box_of_share(1.0, (5, 5), 32, 32)
    assert (bottom - top) * (right - left) == 0


@pytest.mark.parametrize("technique", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 1.0}])
def test_mixing_joins_the_very_images_that_would_be_trained_on_without_it(technique: dict) -> None:
    config, kinds = AUGMENTED.replace(**technique), set()
    for number in range(8):
        for index, (plain, mixed) in enumerate(zip(epoch(AUGMENTED, number), epoch(config, number), strict=True)):
            (images, labels), (inputs, targets) = plain, mixed
            assert targets.shape == (20, 4)
            assert targets.dtype == torch.float32
            assert inputs.is_contiguous(memory_format=torch.channels_last)
            assert torch.allclose(targets.sum(1), torch.ones(20))
            seed = batch_seed(0, number, index, MIXING_STREAM)
            partner = torch.from_numpy(np.random.default_rng(seed).permutation(20))
            own = F.one_hot(labels, 4).float()
            n = next(n for n in range(20) if labels[n] != labels[partner[n]])
            share = float(targets[n, labels[n]])  # one for the whole batch
            assert torch.allclose(targets, share * own + (1 - share) * own[partner], atol=1e-6)
            if torch.allclose(inputs, share * images + (1 - share) * images[partner], atol=1e-5):
                kinds.add("mixup")
            else:
                kinds.add("cutmix")
                inside = (inputs != images).any(dim=(0, 1))  # (H, W): some image of the batch differs at every pixel
                assert torch.equal(inputs, torch.where(inside, images[partner], images))
                assert share == pytest.approx(1 - float(inside.sum()) / 32**2, abs=1e-6)
    assert kinds == set(technique)


def test_auto_augment_changes_images_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    config = AUGMENTED.replace(auto_augment="trivialaugment")
    plain = epoch(AUGMENTED)
    assert all(torch.equal(a[1], b[1]) for a, b in zip(plain, epoch(config), strict=True))
    assert not any(torch.equal(a[0], b[0]) for a, b in zip(plain, epoch(config), strict=True))
    assert all((b[0][a[0] == 0] == 0).all() for a, b in zip(plain, epoch(config), strict=True))  # cutout comes after
    monkeypatch.setattr(batches, "trivial_augment", lambda pixels, seed: pixels)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(plain, epoch(config), strict=True))


def test_auto_augment_depends_on_seed_epoch_and_batch_only() -> None:
    config = TrainConfig(auto_augment="trivialaugment", batch_size=20)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    whole = epoch(config, 3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    rest = epoch(config, 3, first=1)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(whole[1:], rest, strict=True))
    pixels = torch.from_numpy(DATA.train.images[:20])
    seeds = [batch_seed(*place, AUTO_AUGMENT_STREAM) for place in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))]
    results = [trivial_augment(pixels, seed) for seed in seeds]
    assert {(r.shape, r.dtype) for r in results} == {(pixels.shape, torch.uint8)}
    assert len({r.numpy().tobytes() for r in results}) == 4


def test_a_preview_shows_each_image_at_its_place() -> None:
    def show(**changes: object) -> tuple[np.ndarray, np.ndarray]:
        return augmented_pixels(DATA.train.images, DATA.train.labels, DATA.card, TrainConfig(**changes))

    plain, labels = show()
    assert plain.dtype == np.uint8
    assert np.array_equal(plain, DATA.train.images)
    assert np.array_equal(labels, DATA.train.labels)
    flipped, _ = show(flip="random")
    mirrored = [np.array_equal(now, image[:, ::-1]) for now, image in zip(flipped, DATA.train.images, strict=True)]
    assert 10 < sum(mirrored) < 50
    same = [np.array_equal(now, image) for now, image in zip(flipped, DATA.train.images, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    pasted, targets = show(cutmix=1.0)
    kept = (pasted == DATA.train.images).all(axis=3).all(axis=0)  # (H, W): outside the box, every image is itself
    assert 0 < kept.mean() < 1
    own = targets[np.arange(60), DATA.train.labels]
    assert own.min() == pytest.approx(kept.mean(), abs=1e-6)
    with pytest.raises(LabError, match="give each image one label"):
        augmented_pixels(DATA.train.images, DATA.train.labels[:5], DATA.card, TrainConfig())


def test_smoothed_and_soft_labels_by_hand() -> None:
    run = session(SGD.replace(label_smoothing=0.2))
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    soft = torch.distributions.Dirichlet(torch.ones(4)).sample((6,))

    def by_hand(targets: Tensor) -> float:
        log_p = logits - logits.exp().sum(1, keepdim=True).log()
        return float(-((0.8 * targets + 0.2 / 4) * log_p).sum(1).mean())

    for given, targets in ((labels, F.one_hot(labels, 4).float()), (soft, soft)):
        loss, correct = run.task.loss(nn.Identity(), logits, given)
        assert float(loss) == pytest.approx(by_hand(targets), rel=1e-5)
        assert int(correct) == int((logits.argmax(1) == targets.argmax(1)).sum())


def test_a_mixed_label_is_one_example() -> None:
    run = session(SGD.replace(mixup=1.0, cutmix=1.0, grad_accumulation=3, lr=1e-9))
    wanted = [F.cross_entropy(run.model(images), targets).item() for (images, targets), _ in zip(run.batches(), "abc")]
    steps = [result for result in train(run) if isinstance(result, StepResult)]
    assert [step.examples for step in steps] == [20, 40, 60]
    assert [step.train_loss_nats for step in steps] == pytest.approx(wanted, rel=1e-4)
    assert all(0 <= (step.train_accuracy or 0) <= 1 for step in steps)


@pytest.mark.parametrize(("asked", "measured"), [(0, 0), (24, 24), (1000, 60)])
def test_the_probe_measures_plain_training_images(asked: int, measured: int) -> None:
    run = session(SGD.replace(probe_images=asked, mixup=1.0, model_config={"dropout": 0.5}))
    result = next(result for result in train(run) if isinstance(result, EvalResult))
    if not measured:
        assert result.probe_loss_nats is result.probe_accuracy is None
        return
    probed = run.task.probe_data
    assert len(probed) == measured
    training = {image.tobytes() for image in DATA.train.images}
    assert {image.tobytes() for image in probed.images.numpy()} <= training
    assert np.bincount(probed.labels).tolist() == [measured // 4] * 4
    logits = run.model.eval()(probed.normalise(probed.images)).detach()
    assert result.probe_loss_nats == pytest.approx(float(F.cross_entropy(logits, probed.labels)), rel=1e-5)
    assert result.probe_accuracy == pytest.approx(float((logits.argmax(1) == probed.labels).float().mean()))


def test_estimates_ignore_dropout_and_count_auto_augment(lab_home: object) -> None:
    config = TrainConfig(epochs=1)
    dropping, augmenting = (
        config.replace(model_config={"spatial_dropout": 0.1}),
        config.replace(auto_augment="trivialaugment"),
    )
    plain, same, slower = (estimate_seconds(item, "cpu", 50_000) for item in (config, dropping, augmenting))
    assert plain == same
    assert slower == pytest.approx(plain + 50_000 * 150e-6)
    record_speed(config, "cpu", 1000.0)
    assert measured_speed(dropping, "cpu") == 1000
    assert measured_speed(augmenting, "cpu") is None


def test_a_config_of_an_older_version_is_still_one() -> None:
    old = TrainConfig().to_dict()
    for name in ("l1", "mixup", "cutmix", "auto_augment", "keep", "probe_images"):
        del old[name]
    assert TrainConfig.from_dict(old) == TrainConfig()
    assert {"keep", "l1"} & set(IMAGES_ONLY) == set()
    assert TrainConfig.from_dict(old).keep == "best"
