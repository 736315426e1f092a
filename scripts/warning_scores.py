"""Whether the distance to training images notices foreign images better than free energy:
`python -m scripts.measure_warning --scores EMOJI MNIST`, see there.

Three scores, higher for more foreign: free energy, as the product warns by; the distance to the 5th nearest of the training
images' features, all on the unit sphere (Sun et al., arXiv:2204.06507); and the sum of both, each in standard deviations of
the calibration images. Each warns above its 95% quantile of the calibration images.

The rule, written before the first result: the sum replaces energy for a network where the lower end of the 95% interval of
its mean gain over the natural sets is above 0, and no set gets worse by more than 3 points. A gain is the share of foreign
images that energy lets pass, minus the share that the other score lets pass. Natural is all that nobody computed.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from core.checkpoints.store import Checkpoint, load_checkpoint
from core.data.dataset import ImageDataset
from core.data.decode import model_input
from core.inference.foreign import KINDS, TEXTURES, auroc, photo_crops
from core.inference.images import free_energy, logits_of, normalise
from core.inference.neighbours import distances, without_head
from core.models import build_model

QUANTILE = 0.95
SCORES = ("energy", "distance", "both")
COUNT = 1000
"""Foreign images of each set."""
SEEDS, RESAMPLES = 5, 1000
WORSE = 0.03
"""Largest loss of a set (0..1) that the rule allows."""
NATURAL = ("emoji", "MNIST", "textures", "class left out")
TRAIN, POOL = 5000, 4000
"""Training images of a CIFAR-10 network in one draw, out of twice as many; test images, half of which calibrate."""
HEAD_IMAGES = 100
"""Images of each class that train a head, as many that calibrate it, and as many that test it."""
SAME_AS_CIFAR = ("animal", "transport", "cat-face", "monkey-face", "skin-tone")
"""Beginnings of groups of emoji that may show a class of CIFAR-10, or nothing."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Draw:
    """One draw of training, calibration and test images, for one network. All arrays are (n, 2): energy and distance."""

    seed: int
    group: int
    """The class left out; 0 where there is none."""
    calibration: np.ndarray
    test: np.ndarray
    foreign: Mapping[str, np.ndarray]
    """By set; the same set has as many images in all draws."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What a score does on one set, means over draws. Shares are 0..1."""

    score: str
    set: str
    auroc: float
    passes: float
    false_alarms: float
    gain: float
    """Against energy; of the set `mean`, over the natural ones."""
    interval: tuple[float, float]
    """95% of the gain, from a bootstrap over seeds, classes left out and images."""


def print_comparison(emoji: Path, mnist: Path) -> None:
    """Print a Markdown table for two networks that ship and for new heads on ImageNet features."""
    from core.checkpoints.backbone import fetch_backbone
    from core.data import load_images

    foreign, dataset = foreign_sets(emoji, mnist), load_images("cifar10")
    backbone = enlarging(load_checkpoint(str(fetch_backbone("efficientnet_lite0"))))
    networks = {
        "Simple CNN": partial(draws_of_checkpoint, "simple_cnn"),
        "new head, 9 classes × 100 images": partial(draws_of_heads, backbone),
        "Fast ResNet": partial(draws_of_checkpoint, "fast_resnet"),
    }
    print("| network | score | set | AUROC | pass | gain, points | false alarms |")
    print("|---|---|---|---:|---:|---:|---:|")
    for name, draw in networks.items():
        rows = compare(draw(dataset, foreign))
        for row in rows:
            low, high = (100 * end for end in row.interval)
            gain = "" if row.score == SCORES[0] else f"{100 * row.gain:+.1f} ({low:+.1f} to {high:+.1f})"
            cells = (row.score, row.set, f"{row.auroc:.3f}", f"{row.passes:.1%}", gain, f"{row.false_alarms:.1%}")
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
        adopted = [score for score in SCORES[1:] if adopts(rows, score)]
        print(f"| {name} | the rule adopts {' and '.join(adopted) or 'neither'} | | | | | |", flush=True)


def compare(draws: Sequence[Draw], *, resamples: int = RESAMPLES, seed: int = 0) -> list[Row]:
    """Each score on each set, and on the mean of the natural ones."""
    names = list(draws[0].foreign)
    natural = [place for place, name in enumerate(names) if name in NATURAL]
    passes = np.mean([_passes(draw) for draw in draws], axis=0)  # (scores, sets)
    alarms = np.mean([1 - _shares(_scores(draw, draw.test), _thresholds(draw)) for draw in draws], axis=0)
    ranks = np.mean(
        [
            [
                [
                    auroc(known, other)
                    for known, other in zip(_scores(draw, draw.test), _scores(draw, images), strict=True)
                ]
                for images in draw.foreign.values()
            ]
            for draw in draws
        ],
        axis=0,
    ).T
    gains = np.stack([found[0] - found for found in _bootstrap(draws, resamples, seed)])  # (resamples, scores, sets)
    low, high = np.quantile(gains, (0.025, 0.975), axis=0)
    mean_low, mean_high = np.quantile(gains[:, :, natural].mean(2), (0.025, 0.975), axis=0)
    rows = []
    for place, score in enumerate(SCORES):
        for column, name in enumerate(names):
            rows.append(
                Row(
                    score=score,
                    set=name,
                    auroc=float(ranks[place, column]),
                    passes=float(passes[place, column]),
                    false_alarms=float(alarms[place]),
                    gain=float(passes[0, column] - passes[place, column]),
                    interval=(float(low[place, column]), float(high[place, column])),
                )
            )
        rows.append(
            Row(
                score=score,
                set="mean",
                auroc=float(ranks[place, natural].mean()),
                passes=float(passes[place, natural].mean()),
                false_alarms=float(alarms[place]),
                gain=float((passes[0, natural] - passes[place, natural]).mean()),
                interval=(float(mean_low[place]), float(mean_high[place])),
            )
        )
    return rows


def adopts(rows: Sequence[Row], score: str = "both") -> bool:
    """The rule."""
    own = [row for row in rows if row.score == score]
    return all(row.interval[0] > 0 if row.set == "mean" else row.gain >= -WORSE for row in own)


def _bootstrap(draws: Sequence[Draw], resamples: int, seed: int) -> Iterator[np.ndarray]:
    """(scores, sets) shares that pass: seeds, classes left out and images drawn with replacement."""
    random = np.random.default_rng(seed)
    by_key = {(draw.seed, draw.group): draw for draw in draws}
    seeds, groups = sorted({draw.seed for draw in draws}), sorted({draw.group for draw in draws})
    for _ in range(resamples):
        # The same foreign images are in all draws, so they are drawn once for all.
        rows = {name: random.integers(0, len(images), len(images)) for name, images in draws[0].foreign.items()}
        found = []
        for key in itertools.product(random.choice(seeds, len(seeds)), random.choice(groups, len(groups))):
            draw = by_key[int(key[0]), int(key[1])]
            kept = draw.calibration[random.integers(0, len(draw.calibration), len(draw.calibration))]
            found.append(
                _passes(
                    Draw(
                        seed=0,
                        group=0,
                        calibration=kept,
                        test=draw.test,
                        foreign={name: images[rows[name]] for name, images in draw.foreign.items()},
                    )
                )
            )
        yield np.mean(found, axis=0)


def _passes(draw: Draw) -> np.ndarray:
    """(scores, sets): shares of the foreign images below the thresholds."""
    thresholds = _thresholds(draw)
    return np.stack([_shares(_scores(draw, images), thresholds) for images in draw.foreign.values()], axis=1)


def _thresholds(draw: Draw) -> np.ndarray:
    return np.quantile(_scores(draw, draw.calibration), QUANTILE, axis=1)


def _shares(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return (scores <= thresholds[:, None]).mean(1)


def _scores(draw: Draw, values: np.ndarray) -> np.ndarray:
    """(3, n), in the order of SCORES, of energies and distances (n, 2)."""
    scaled = (values - draw.calibration.mean(0)) / draw.calibration.std(0)
    return np.stack([values[:, 0], values[:, 1], scaled.sum(1)])


def nearest(features: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(N,) distances of features (N, F) to the 5th nearest of known (M, F), all on the unit sphere."""
    return distances(torch.from_numpy(features), torch.nn.functional.normalize(torch.from_numpy(known))).numpy()


def draws_of_checkpoint(name: str, dataset: ImageDataset, foreign: Mapping[str, np.ndarray]) -> list[Draw]:
    """Of a CIFAR-10 network that ships: test images calibrate it, for some trained on all others."""
    checkpoint = load_checkpoint(name)
    random = np.random.default_rng(0)
    test = dataset.test.images[random.choice(len(dataset.test), POOL, replace=False)]
    train = dataset.train.images[random.choice(len(dataset.train), 2 * TRAIN, replace=False)]
    sets = {"test": test, **foreign}
    energies = {key: _energies(checkpoint, images) for key, images in sets.items()}
    features = {key: features_of(checkpoint, images) for key, images in sets.items()}
    known = features_of(checkpoint, train)
    draws = []
    for seed in range(SEEDS):
        chance = np.random.default_rng(seed)
        chosen = known[chance.choice(len(known), TRAIN, replace=False)]
        both = {key: np.stack([energies[key], nearest(features[key], chosen)], 1) for key in sets}
        kept, rest = np.split(both.pop("test")[chance.permutation(POOL)], 2)
        draws.append(Draw(seed=seed, group=0, calibration=kept, test=rest, foreign=both))
    return draws


def enlarging(backbone: Checkpoint) -> Checkpoint:
    """The backbone for CIFAR-10's images, as a new head for them has it."""
    card = backbone.card
    settings = card.model_config | {"image_size": 32, "upscale_to": 160}
    model = build_model(card.model, settings)
    model.load_state_dict(backbone.model.state_dict())
    return dataclasses.replace(backbone, model=model.eval().requires_grad_(False))


def draws_of_heads(backbone: Checkpoint, dataset: ImageDataset, foreign: Mapping[str, np.ndarray]) -> list[Draw]:
    """Of heads on a backbone's features, for each seed and each class of CIFAR-10 left out."""
    pool = 4 * HEAD_IMAGES
    labels = dataset.test.labels
    classes = range(len(dataset.card.classes))
    rows = [np.flatnonzero(labels == index)[:pool] for index in classes]
    by_class = [features_of(backbone, dataset.test.images[chosen]) for chosen in rows]
    others = {key: features_of(backbone, images) for key, images in foreign.items()}
    draws = []
    for seed, left_out in itertools.product(range(SEEDS), classes):
        random = np.random.default_rng((seed, left_out))
        parts: list[list[np.ndarray]] = [[], [], []]
        for index in classes:
            if index != left_out:
                order = random.permutation(pool)
                for place, part in enumerate(parts):
                    part.append(by_class[index][order[place * HEAD_IMAGES : (place + 1) * HEAD_IMAGES]])
        train, kept, test = (np.concatenate(part) for part in parts)
        head = train_head(train, np.repeat(np.arange(len(parts[0])), HEAD_IMAGES), seed)
        both = {
            key: _head_values(head, features, train)
            for key, features in {"class left out": by_class[left_out], **others}.items()
        }
        draws.append(
            Draw(
                seed=seed,
                group=left_out,
                calibration=_head_values(head, kept, train),
                test=_head_values(head, test, train),
                foreign=both,
            )
        )
    return draws


def _head_values(head: torch.nn.Linear, features: np.ndarray, train: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        energies = free_energy(head(torch.from_numpy(features))).numpy()
    return np.stack([energies, nearest(features, train)], 1)


def train_head(features: np.ndarray, labels: np.ndarray, seed: int) -> torch.nn.Linear:
    """A linear layer on features (N, F), by the recipe of a new head."""
    from core.training.recipes import get_recipe

    recipe = get_recipe("efficientnet_lite0", "default")
    torch.manual_seed(seed)
    head = torch.nn.Linear(features.shape[1], int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    steps = len(labels) // recipe.batch_size
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, int(recipe.epochs) * steps)
    inputs, targets = torch.from_numpy(features), torch.from_numpy(labels)
    for _ in range(int(recipe.epochs)):
        for part in torch.randperm(len(labels))[: steps * recipe.batch_size].split(recipe.batch_size):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(head(inputs[part]), targets[part]).backward()
            optimizer.step()
            schedule.step()
    return head.requires_grad_(False)


@torch.inference_mode()
def features_of(checkpoint: Checkpoint, images: np.ndarray) -> np.ndarray:
    """(N, F) float32: what the last layer gets of one view of images (N, H, W, 3) uint8."""
    body = without_head(checkpoint.model)
    parts = [
        body(normalise(torch.from_numpy(np.ascontiguousarray(images[start : start + 25])), checkpoint.card))
        for start in range(0, len(images), 25)
    ]
    return torch.cat(parts).numpy()


def _energies(checkpoint: Checkpoint, images: np.ndarray) -> np.ndarray:
    parts = [free_energy(logits_of(checkpoint, images[start : start + 100])) for start in range(0, len(images), 100)]
    return torch.cat(parts).numpy()


def foreign_sets(emoji: Path, mnist: Path, side: int = 32) -> dict[str, np.ndarray]:
    """By name (COUNT, side, side, 3) uint8. emoji, mnist: the archives."""
    random = np.random.default_rng(0)
    patterns = next(kind for kind in KINDS if kind.name == "patterns")
    return {
        "emoji": read_emoji(emoji, side, random),
        "MNIST": read_mnist(mnist, side),
        "textures": photo_crops(TEXTURES, COUNT, side, random),
        "patterns": patterns.draw(COUNT, side, random),
    }


def read_emoji(path: Path, side: int, random: np.random.Generator) -> np.ndarray:
    """On white, none of an animal or a vehicle."""
    from PIL import Image

    found = {}
    with tarfile.open(path) as archive:
        for member in archive:  # in their order: an archive that is compressed as a whole can only be read on
            if member.name == "package/emoji.json" or member.name.startswith("package/img/google/64/"):
                file = archive.extractfile(member)
                assert file
                found[member.name.rpartition("/")[2]] = file.read()
    names = [
        item["image"]
        for item in json.loads(found["emoji.json"])
        if item["has_img_google"] and not item["subcategory"].startswith(SAME_AS_CIFAR)
    ]
    images = []
    for index in random.choice(len(names), COUNT, replace=False):
        drawn = Image.open(io.BytesIO(found[names[index]])).convert("RGBA")
        white = Image.new("RGBA", drawn.size, "white")
        images.append(model_input(np.asarray(Image.alpha_composite(white, drawn).convert("RGB")), side))
    return np.stack(images)


def read_mnist(path: Path, side: int) -> np.ndarray:
    """White on black, as many of each digit."""
    found = []
    with tarfile.open(path) as archive:
        for digit in range(10):
            member = archive.extractfile(f"package/src/digits/{digit}.json")
            assert member
            values = np.array(json.load(member)["data"][: COUNT // 10 * 28 * 28]).reshape(-1, 28, 28, 1)
            found += [model_input(np.repeat((255 * image).astype(np.uint8), 3, axis=2), side) for image in values]
    return np.stack(found)
