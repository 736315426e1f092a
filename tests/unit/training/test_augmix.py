"""AugMix, noise and the loss between views: against plain versions, and what a batch of views does to a step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

from core.common.errors import LabError
from core.regularization.arms import parse_arm
from core.training import augmix as module
from core.training.augmix import OPERATIONS, VIEWS, add_noise, augmix, js_divergence
from core.training.batches import DeviceImages, epoch_batches
from core.training.config import TrainConfig
from core.training.estimate import estimate_seconds
from core.training.preview import augmented_pixels
from core.training.session import TrainSession
from tests.unit.builders import synthetic

DATA = synthetic()
PIXELS = torch.from_numpy(DATA.train.images[:24])
VIEWED = TrainConfig(model_config={"widths": [8, 8]}, augmix=3, consistency=12.0, batch_size=20, epochs=1)


def batch(config: TrainConfig, epoch: int = 0, first: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    return next(epoch_batches(DeviceImages(DATA.train, DATA.card, "cpu"), config, epoch, config.batch_size, first))


def test_the_seed_and_the_severity_decide_what_augmix_makes() -> None:
    found = augmix(PIXELS, 1, 3)
    assert (found.shape, found.dtype) == (PIXELS.shape, torch.uint8)
    assert torch.equal(found, augmix(PIXELS, 1, 3))
    assert not torch.equal(found, augmix(PIXELS, 2, 3))
    changes = [float((augmix(PIXELS, 1, severity).float() - PIXELS).abs().mean()) for severity in (1, 10)]
    assert 0 < changes[0] < changes[1]


def test_the_mix_is_convex_and_of_chains_of_one_to_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an operation that paints all white, what is left of an image is its own weight."""
    calls: list[int] = []

    def white(images: torch.Tensor, strengths: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        assert float(strengths.abs().max()) <= 0.4
        return torch.full_like(images, 255)

    monkeypatch.setattr(module, "OPERATIONS", (white,))
    mixed = augmix(torch.zeros(400, 8, 8, 3, dtype=torch.uint8), 0, 4).float() / 255
    own = 1 - mixed[:, 0, 0, 0]
    assert torch.equal(mixed, mixed[:, :1, :1, :1].expand_as(mixed))
    assert float(own.mean()) == pytest.approx(0.5, abs=0.05)  # Beta(1, 1)
    assert float(own.std()) == pytest.approx(12**-0.5, abs=0.03)
    assert sum(calls) / 400 == pytest.approx(6, abs=0.3)  # three chains of two operations on average


def pillow(name: str, image: Image.Image, strength: float) -> Image.Image:
    sign, size = (1 if strength > 0 else -1), abs(strength)
    side = image.width
    shear, shift = sign * 0.3 * size, sign * int(side / 3 * size)
    moves = {
        "shear_x": (1, shear, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, shear, 1, 0),
        "translate_x": (1, 0, shift, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, shift),
    }
    if name in moves:
        return image.transform(image.size, Image.Transform.AFFINE, moves[name], Image.Resampling.BILINEAR)
    if name == "rotate":
        return image.rotate(sign * int(30 * size), Image.Resampling.BILINEAR)
    if name == "posterize":
        return ImageOps.posterize(image, 4 - int(4 * size))
    if name == "solarize":
        return ImageOps.solarize(image, 256 - int(256 * size))
    return getattr(ImageOps, name)(image)


@pytest.mark.parametrize("operate", OPERATIONS, ids=lambda each: each.__name__)
def test_an_operation_is_pillows(operate: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    smooth = F.interpolate(PIXELS.permute(0, 3, 1, 2)[:, :, ::4, ::4].float(), size=32, mode="bilinear").to(torch.uint8)
    smooth[0] = 7
    strengths = torch.linspace(-0.87, 0.89, len(smooth))
    found = operate(smooth, strengths).permute(0, 2, 3, 1).numpy()
    inside = slice(2, -2)  # Pillow cuts at the border, and does not blend with black
    for place, strength in enumerate(strengths.tolist()):
        image = Image.fromarray(smooth[place].permute(1, 2, 0).numpy())
        expected = np.asarray(pillow(operate.__name__, image, strength)).astype(int)
        off = np.abs(found[place] - expected)[inside, inside]
        if operate.__name__ in ("equalize", "posterize", "solarize"):
            assert not off.any()
        elif operate.__name__ == "autocontrast":
            assert off.max() <= 1  # where rounding decides what is cut off
        else:
            assert np.median(off) == 0
            assert (off > 1).mean() < 0.12  # along the border of what was moved in


def test_half_of_the_images_get_noise_of_the_asked_size() -> None:
    grey = torch.full((200, 32, 32, 3), 128, dtype=torch.uint8)
    noise = add_noise(grey, 0.1, 3) - 128
    spread = noise.flatten(1).std(1)
    noisy = spread > 0
    assert 70 < int(noisy.sum()) < 130
    assert torch.equal(spread[~noisy], torch.zeros(int((~noisy).sum())))
    assert float(spread[noisy].mean()) == pytest.approx(25.5, rel=0.02)
    assert torch.equal(add_noise(grey, 0.1, 3), add_noise(grey, 0.1, 3))
    wild = add_noise(grey, 1.0, 0)
    assert float(wild.min()) >= 0
    assert float(wild.max()) <= 255


def test_the_divergence_is_that_of_the_entropies() -> None:
    logits = torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    p = torch.softmax(logits, 2)

    def entropy(q: torch.Tensor) -> torch.Tensor:
        return -(q * q.log()).sum(-1)

    expected = (entropy(p.mean(1)) - entropy(p).mean(1)).mean()
    assert float(js_divergence(logits)) == pytest.approx(float(expected), rel=1e-6)
    assert float(js_divergence(logits[:, :1].expand(-1, 3, -1))) == pytest.approx(0, abs=1e-6)


def test_a_batch_of_views_begins_with_the_image_itself() -> None:
    plain, labels = batch(VIEWED.replace(augmix=0, consistency=0.0))
    views, same = batch(VIEWED)
    assert views.shape == (20, VIEWS, 3, 32, 32)
    assert torch.equal(views[:, 0], plain)
    assert torch.equal(labels, same)
    one, _ = batch(VIEWED.replace(consistency=0.0))
    assert torch.equal(views[:, 1], one)
    assert not torch.equal(views[:, 1], views[:, 2])
    rest = [item[0] for item in islice(epoch_batches(DeviceImages(DATA.train, DATA.card, "cpu"), VIEWED, 2, 20), 2)]
    assert torch.equal(rest[1], batch(VIEWED, 2, first=1)[0])
    hidden, _ = batch(VIEWED.replace(cutout=8))
    assert torch.equal((hidden == 0).all(2)[:, 0] & (views[:, 0] != 0).all(1), (hidden != views).any(2)[:, 0])


def test_noise_leaves_labels_and_half_of_the_images_alone() -> None:
    plain, labels = batch(VIEWED.replace(augmix=0, consistency=0.0))
    noisy, same = batch(VIEWED.replace(augmix=0, consistency=0.0, noise=0.2))
    assert torch.equal(labels, same)
    changed = (plain - noisy).abs().flatten(1).amax(1) > 1e-5
    assert 3 < int(changed.sum()) < 17


def test_the_loss_is_cross_entropy_of_the_image_and_twelve_times_the_divergence() -> None:
    session = TrainSession.start(VIEWED, DATA, "cpu")
    views, labels = batch(VIEWED)
    loss, right = session.task.loss(session.model.eval(), views, labels)
    logits = torch.stack([session.model(views[:, view]) for view in range(VIEWS)], 1)
    expected = F.cross_entropy(logits[:, 0], labels) + 12 * js_divergence(logits)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert int(right) == int((logits[:, 0].argmax(1) == labels).sum())


def test_a_technique_is_a_change_of_the_config() -> None:
    config = parse_arm("augmix=5").variants[0].apply(TrainConfig())
    assert (config.augmix, config.consistency) == (5, 12.0)
    assert parse_arm("noise").variants[0].apply(TrainConfig()).noise == 0.1
    assert TrainConfig.from_dict(config.to_dict()) == config
    pixels, _ = augmented_pixels(DATA.train.images[:6], DATA.train.labels[:6], DATA.card, config)
    assert pixels.shape == (6, 32, 32, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"consistency": 1.0}, "set augmix, to 3 for example"),
        ({"noise": 1.5}, r"noise=1\.5"),
        ({"augmix": 11}, "augmix=11"),
    ],
)
def test_what_does_not_fit_together_is_one_sentence(changes: dict[str, object], words: str) -> None:
    with pytest.raises(LabError, match=words):
        TrainConfig(**changes)


def test_all_views_are_mixed_with_the_same_image() -> None:
    views, _ = batch(VIEWED)
    mixed, targets = batch(VIEWED.replace(mixup=1.0))
    share = float(targets.amax(1).min())  # of some image whose partner is of another class
    assert targets.shape == (20, 4)
    partner = next(
        place
        for place in range(20)
        if torch.allclose(views[0, 0] * share + (1 - share) * views[place, 0], mixed[0, 0], atol=1e-4)
        or torch.allclose(views[0, 0] * (1 - share) + share * views[place, 0], mixed[0, 0], atol=1e-4)
    )
    own = (
        share
        if torch.allclose(views[0, 0] * share + (1 - share) * views[partner, 0], mixed[0, 0], atol=1e-4)
        else 1 - share
    )
    for view in range(VIEWS):
        assert torch.allclose(views[0, view] * own + (1 - own) * views[partner, view], mixed[0, view], atol=1e-4)


def test_three_views_are_estimated_as_three_times_the_work(lab_home: object) -> None:
    config = TrainConfig(epochs=1)
    plain, views = (estimate_seconds(item, "cpu", 50_000) for item in (config, VIEWED.replace(model_config={})))
    assert plain is not None
    assert views is not None
    assert views > 2.5 * plain
