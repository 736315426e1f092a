"""What a set of generated images is measured to be: distance, recognised classes, copies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from core.checkpoints.store import Card, Checkpoint
from core.common.pixels import to_png
from core.common.progress import Progress
from core.data import subset
from core.data.dataset import ImageDataset, Split
from core.data.splits import stratified_order
from core.inference.images import logits_of
from core.synthesis.copies import LEAST_HELD_OUT, Neighbours, as_rows, copy_rate, nearest_training_images
from core.synthesis.distance import LEAST, frechet_distance, image_features, load_judge, training_features
from core.synthesis.results import MOST_COPIES_SHOWN, Copies, CopyPair, Rate

MOST_HELD_OUT = 2_000
USUAL_IMAGES = 200
"""Real images that say what is usual beside one image."""
SHEET_ROWS = 5


def training_images(card: Card, dataset: ImageDataset) -> Split:
    """The images that a generator was trained on, as its card says it."""
    train = dataset.train
    if card.recipe.get("train_on") == "train+validation":
        train = Split(
            images=np.concatenate([train.images, dataset.validation.images]),
            labels=np.concatenate([train.labels, dataset.validation.labels]),
        )
    count = int(card.recipe.get("train_images") or 0)
    return subset(train, min(count, len(train)), int(card.recipe.get("seed") or 0)) if count else train


def new_images(dataset: ImageDataset) -> Split:
    """Real images that no generator trains on, test images where there are any, in an order in which every beginning, and
    so every half, has all classes in proportion."""
    rest = dataset.test if len(dataset.test) else dataset.validation
    order = stratified_order(rest.labels, 0)
    return Split(images=rest.images[order], labels=rest.labels[order])


def class_sheet(images: np.ndarray, labels: np.ndarray, classes: int, rows: int = SHEET_ROWS) -> str:
    """The first images of each class, a column a class, as PNG in base64; black where a class has too few."""
    side = images.shape[1]
    sheet = np.zeros((rows * side, classes * side, 3), np.uint8)
    for label in range(classes):
        for row, image in enumerate(images[labels == label][:rows]):
            sheet[row * side : (row + 1) * side, label * side : (label + 1) * side] = image
    return to_png(sheet)


def recognise(judge: Checkpoint, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) whether the judge's answer is the label."""
    answers = [logits_of(judge, images[at : at + 250], "none").argmax(1) for at in range(0, len(images), 250)]
    return np.asarray(torch.cat(answers).numpy() == labels)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Nearest:
    """The training images nearest to one image."""

    images: np.ndarray
    """(count, H, W, 3) uint8, nearest first."""
    labels: tuple[str, ...]
    ratio: float
    """Distance to the first as a share of the mean distance to the 50 nearest."""
    usual: float
    """The ratio that 95% of new real images are above."""


def nearest_of(
    card: Card, image: np.ndarray, dataset: ImageDataset, way: str, report: Progress, count: int = 4
) -> Nearest:
    """The training images of a generator nearest to one image (H, W, 3) uint8. way: `pixels` or `features`.

    report: may raise to stop. Raises LabError.
    """
    train, rest = training_images(card, dataset), new_images(dataset)
    report(0.0, f"comparing {way}")
    judge = load_judge() if way == "features" else None

    def rows_of(pixels: np.ndarray) -> torch.Tensor:
        if judge is None:
            return as_rows(pixels)
        if pixels is train.images and pixels.shape[1] == judge.card.image_data.image_size:
            return torch.nn.functional.normalize(training_features(judge, train, report))
        return torch.nn.functional.normalize(image_features(judge, pixels))

    known = rows_of(train.images)
    queries = np.concatenate([image[None], rest.images[:USUAL_IMAGES]])
    mirrored = np.ascontiguousarray(queries[:, :, ::-1])
    found = nearest_training_images((rows_of(queries), rows_of(mirrored)), known)
    places = found.places[0, :count]
    return Nearest(
        images=train.images[places],
        labels=tuple(dataset.card.classes[int(train.labels[place])] for place in places),
        ratio=float(found.ratio[0]),
        usual=float(np.quantile(found.ratio[1:], 0.05)),
    )


def find_copies(
    images: np.ndarray,
    labels: np.ndarray,
    train: Split,
    held_out: Split,
    classes: tuple[str, ...],
    rows_of: Callable[[np.ndarray, float, float], torch.Tensor],
) -> Copies:
    """By one way of comparing. rows_of: images (N, H, W, 3), and the share of the work before and after them, to (N, F)."""
    known = rows_of(train.images, 0.0, 0.6)

    def near(pixels: np.ndarray, begin: float, end: float) -> Neighbours:
        middle = (begin + end) / 2
        mirrored = np.ascontiguousarray(pixels[:, :, ::-1])
        return nearest_training_images((rows_of(pixels, begin, middle), rows_of(mirrored, middle, end)), known)

    others, own = near(held_out.images, 0.6, 0.8), near(images, 0.8, 1.0)
    rate = copy_rate(own, others)
    pairs = tuple(
        CopyPair(
            number=int(number),
            label=classes[int(labels[number])],
            image=to_png(images[number]),
            nearest=to_png(train.images[own.places[number, 0]]),
            nearest_label=classes[int(train.labels[own.places[number, 0]])],
            ratio=round(float(own.ratio[number]), 4),
        )
        for number in np.argsort(own.ratio)[:MOST_COPIES_SHOWN]
    )
    return dataclasses.replace(rate, limit=round(rate.limit, 4), closest=pairs)


def measure_set(
    card: Card, images: np.ndarray, labels: np.ndarray, dataset: ImageDataset, report: Progress
) -> dict[str, object]:
    """Fields of an ImageSet. images: (N, H, W, 3) uint8; report: may raise to stop. Raises LabError."""
    judge, classes = load_judge(), dataset.card.classes
    train, rest = training_images(card, dataset), new_images(dataset)
    held_out = Split(images=rest.images[:MOST_HELD_OUT], labels=rest.labels[:MOST_HELD_OUT])

    def told(words: str, begin: float, end: float, count: int) -> Callable[[int], None]:
        return lambda done: report(begin + (end - begin) * done / max(1, count), words)

    words = "measuring the distance"
    half = min(len(images), len(rest) // 2)
    found: dict[str, object] = {"compared": half}
    if half >= LEAST:
        real = image_features(judge, rest.images[: 2 * half], told(words, 0.0, 0.1, 2 * half))
        own = image_features(judge, images[:half], told(words, 0.1, 0.15, half))
        found["distance"] = round(frechet_distance(own, real[:half]), 4)
        found["floor"] = round(frechet_distance(real[half:], real[:half]), 4)
    if judge.card.image_data.classes == classes:
        report(0.2, "asking the classifier")
        right, real_right = recognise(judge, images, labels), recognise(judge, held_out.images, held_out.labels)
        found["recognised"] = Rate(hits=int(right.sum()), images=len(right))
        found["real_recognised"] = Rate(hits=int(real_right.sum()), images=len(real_right))
        shares = (right[labels == place].mean() if (labels == place).any() else 0.0 for place in range(len(classes)))
        found["recognised_by_class"] = tuple(round(float(share), 4) for share in shares)

    def pixels(part: np.ndarray, begin: float, end: float) -> torch.Tensor:
        report(0.3 + 0.2 * end, "comparing pixels with the training images")
        return as_rows(part)

    def features(part: np.ndarray, begin: float, end: float) -> torch.Tensor:
        first, last, size = 0.5 + begin / 2, 0.5 + end / 2, judge.card.image_data.image_size
        if part is train.images and part.shape[1] == size:
            rows = training_features(judge, train, lambda share, words: report(first + (last - first) * share, words))
        else:
            rows = image_features(judge, part, told("comparing features", first, last, len(part)))
        return torch.nn.functional.normalize(rows)

    ways = {"pixels": pixels, "features": features} if len(held_out) >= LEAST_HELD_OUT else {}
    found["copies"] = {
        name: find_copies(images, labels, train, held_out, classes, rows_of) for name, rows_of in ways.items()
    }
    return found | {"trained_on": len(train)}
