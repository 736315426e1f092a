"""What a dataset lacks, judged by a simple classifier on features of its images: labels that are likely wrong, classes that
are hard to tell apart, and what more images would bring.

Every image is judged by a classifier that never saw it (cross-validation). Measured on 186 photo-sized CIFAR-10 images of
three classes with ten labels changed: 6.3 of the ten are among the 17.8 named, 5.0 among the first ten (mean of ten draws). So
a doubt is something to look at, not a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.common.errors import LabError
from core.common.progress import Progress, no_progress
from core.common.values import wilson
from core.data.dataset import ImageDataset

FOLDS = 5
SEEDS = 8
MOST_IMAGES = 5000
"""Training and validation images together; the time grows with their square."""
BACKBONE = "efficientnet_lite0"
LEAST_OF_CLASS = FOLDS
SIZES = 6
"""Sizes of the training set on a learning curve."""
REFITS = 100
"""Bootstrap refits behind an interval."""
INVERSE_L2 = 10.0
"""Of the logistic regression on standardised features, divided by their number: scikit-learn's C."""
MOST_FACTOR = 100.0
"""No forecast goes beyond so many times the images that there are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelDoubt:
    """An image whose label should be looked at."""

    index: int
    """In the images given."""
    label: int
    likely: int
    """The class that it seems to be."""
    probability: float
    """Of that class, 0..1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassQuality:
    label: int
    images: int
    accuracy: float
    """Share of its images that are recognised by classifiers that never saw them, 0..1."""
    interval: tuple[float, float]
    """95%, Wilson."""
    confused_with: int | None
    """The class that its images are most often taken for; None where all are recognised."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What more images would bring, by a learning curve 1 − a·n^−b − c through measured accuracies."""

    sizes: tuple[int, ...]
    """Training images of each measured point."""
    accuracies: tuple[float, ...]
    """Mean over seeds at each, 0..1."""
    spread: tuple[float, ...]
    """Standard deviation over seeds."""
    doubled: tuple[float, float, float]
    """Accuracy with twice the images: estimate, and its 95% bootstrap interval."""
    factor: tuple[float, float, float] | None
    """How many times the images halve the error: estimate and 95% interval; inf where that is not in sight. None without an
    error."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    images: int
    accuracy: float
    doubts: tuple[LabelDoubt, ...]
    """The surest first."""
    classes: tuple[ClassQuality, ...]
    """The worst first."""
    forecast: Forecast


def diagnose_dataset(name: str, on_progress: Progress = no_progress) -> tuple[Diagnosis, ImageDataset]:
    """Judge the training and validation images of a dataset, in this order, by features of the ImageNet network: those that a
    training of its last layer computes too, so they are kept. Indices run over both. Raises LabError."""
    from core.data import load_images
    from core.training.head_task import HeadTask
    from core.training.recipes import get_recipe
    from core.training.session import TrainSession

    dataset = load_images(name, on_progress)
    number = len(dataset.train) + len(dataset.validation)
    if number > MOST_IMAGES:
        raise LabError(f"There are {number:,} images and at most {MOST_IMAGES:,} are judged: choose a smaller dataset.")
    session = TrainSession.start(
        get_recipe(BACKBONE, "default").replace(dataset=name), dataset, "cpu", on_progress=on_progress
    )
    task = session.task
    assert isinstance(task, HeadTask)
    parts = (task.train_data, task.validation_data)
    features = np.concatenate([task.features[part].numpy() for part in parts])
    labels = np.concatenate([part.labels.numpy() for part in parts])
    return diagnose(features, labels, on_progress=on_progress), dataset


def diagnose(features: np.ndarray, labels: np.ndarray, seed: int = 0, on_progress: Progress = no_progress) -> Diagnosis:
    """features: (N, F) float32; labels: (N,) int64. Raises LabError where a class has fewer than LEAST_OF_CLASS images,
    or there is only one class."""
    counts = np.bincount(labels, minlength=1)
    if counts.min() < LEAST_OF_CLASS:
        raise LabError(f"A class has only {counts.min()} images and {LEAST_OF_CLASS} are needed: add some.")
    if len(counts) < 2:
        raise LabError("There is only one class and at least 2 are needed: add images of another.")
    probabilities = cross_validated(features, labels, seed, on_progress)
    return Diagnosis(
        images=len(labels),
        accuracy=float((probabilities.argmax(1) == labels).mean()),
        doubts=tuple(likely_wrong(probabilities, labels)),
        classes=tuple(class_quality(probabilities, labels)),
        forecast=forecast(features, labels, seed, on_progress),
    )


def cross_validated(
    features: np.ndarray, labels: np.ndarray, seed: int, on_progress: Progress = no_progress
) -> np.ndarray:
    """Probabilities (N, C), each row by a classifier that was trained without that image."""
    from sklearn.model_selection import StratifiedKFold

    found = np.zeros((len(labels), int(labels.max()) + 1))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(features, labels)
    for number, (train, held) in enumerate(folds):
        on_progress(0.5 * number / FOLDS, "judge every image")
        found[held] = _fit(features[train], labels[train]).predict_proba(_scaled(features[train], features[held]))
    return found


def likely_wrong(probabilities: np.ndarray, labels: np.ndarray) -> list[LabelDoubt]:
    """Images that confident learning puts into another class than their label's: that class is as probable as it usually is
    for its own images, and the likeliest of those. Source: Northcutt et al., arXiv:1911.00068.

    probabilities: (N, C), out of cross-validation. None where the classifiers are no better than always naming the largest
    class: such doubts would be noise.
    """
    classes = probabilities.shape[1]
    hits = int((probabilities.argmax(1) == labels).sum())
    if wilson(hits, len(labels))[0] <= np.bincount(labels).max() / len(labels):
        return []
    usual = np.array([probabilities[labels == label, label].mean() for label in range(classes)])  # (C,)
    sure = np.where(probabilities >= usual, probabilities, -1.0)
    likely = sure.argmax(1)
    doubted = np.flatnonzero((sure.max(1) >= 0) & (likely != labels))
    margin = probabilities[doubted, likely[doubted]] - probabilities[doubted, labels[doubted]]
    return [
        LabelDoubt(
            index=int(index),
            label=int(labels[index]),
            likely=int(likely[index]),
            probability=float(probabilities[index, likely[index]]),
        )
        for index in doubted[np.argsort(-margin, kind="stable")]
    ]


def class_quality(probabilities: np.ndarray, labels: np.ndarray) -> list[ClassQuality]:
    answers = probabilities.argmax(1)
    found = []
    for label in range(probabilities.shape[1]):
        own = answers[labels == label]
        others = np.bincount(own[own != label], minlength=probabilities.shape[1])
        hits = int((own == label).sum())
        found.append(
            ClassQuality(
                label=label,
                images=len(own),
                accuracy=hits / len(own),
                interval=wilson(hits, len(own)),
                confused_with=int(others.argmax()) if others.any() else None,
            )
        )
    return sorted(found, key=lambda quality: quality.accuracy)


def forecast(features: np.ndarray, labels: np.ndarray, seed: int = 0, on_progress: Progress = no_progress) -> Forecast:
    """A learning curve over nested stratified parts of four fifths of the images, tested on the last fifth, for SEEDS draws."""
    from sklearn.model_selection import train_test_split

    measured: list[list[float]] = []
    sizes: list[int] = []
    for draw in range(SEEDS):
        on_progress(0.5 + 0.5 * draw / SEEDS, "measure a learning curve")
        pool, held = train_test_split(
            np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=seed * 1000 + draw
        )
        pool = pool[_round_robin(labels[pool], np.random.default_rng([seed, draw]))]
        least = 2 * len(np.unique(labels))
        sizes = sorted({round(size) for size in np.geomspace(min(least, len(pool)), len(pool), SIZES)})
        row = []
        for size in sizes:
            train = pool[:size]
            model = _fit(features[train], labels[train])
            answers = model.classes_[model.predict_proba(_scaled(features[train], features[held])).argmax(1)]
            row.append(float((answers == labels[held]).mean()))
        measured.append(row)
    return fit_curve(np.array(sizes), np.array(measured), seed)


def fit_curve(sizes: np.ndarray, measured: np.ndarray, seed: int = 0) -> Forecast:
    """sizes: (K,) training images; measured: (S, K) accuracies of S draws. The interval comes from drawing the draws again."""
    random = np.random.default_rng(seed)
    now = float(sizes[-1])
    fits = [_fit_power(sizes, measured.mean(0))]
    fits += [
        _fit_power(sizes, measured[random.integers(0, len(measured), len(measured))].mean(0)) for _ in range(REFITS)
    ]
    doubled = np.array([1 - _error(2 * now, fit) for fit in fits])
    factors = np.array([_halving(now, fit) for fit in fits])
    # What a forecast from so few tests misses, beyond the draws: the error of the mean itself.
    noise = measured.std(0, ddof=1)[-1] / np.sqrt(len(measured)) if len(measured) > 1 else 0.0
    low, high = np.quantile(doubled, (0.025, 0.975))
    error = 1 - measured.mean(0)[-1]
    return Forecast(
        sizes=tuple(map(int, sizes)),
        accuracies=tuple(map(float, measured.mean(0))),
        spread=tuple(map(float, measured.std(0, ddof=1) if len(measured) > 1 else np.zeros(len(sizes)))),
        doubled=(float(doubled[0]), max(0.0, float(low - 1.96 * noise)), min(1.0, float(high + 1.96 * noise))),
        factor=None
        if error <= 0
        else (
            float(factors[0]),
            float(np.quantile(factors, 0.025, method="lower")),
            float(np.quantile(factors, 0.975, method="higher")),
        ),
    )


def _round_robin(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """An order in which every beginning holds the classes in proportion, at least one of each as early as may be."""
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        place[members] = (np.arange(len(members)) + 0.5 * (np.arange(len(members)) > 0)) / len(members)
    return np.argsort(place, kind="stable")


def _fit(features: np.ndarray, labels: np.ndarray):  # type: ignore[no-untyped-def]
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=INVERSE_L2 / features.shape[1], max_iter=200).fit(_scaled(features, features), labels)


def _scaled(train: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Standardised by the training images' mean and spread."""
    return (features - train.mean(0)) / np.maximum(train.std(0), 1e-6)


Power = tuple[float, float, float]


def _error(n: float | np.ndarray, fit: Power) -> float | np.ndarray:
    a, b, c = fit
    return np.clip(a * np.asarray(n, dtype=float) ** -b + c, 0.0, 1.0)


def _fit_power(sizes: np.ndarray, accuracies: np.ndarray) -> Power:
    """a, b, c ≥ 0 of the error a·n^−b + c, later points counting more."""
    from scipy.optimize import least_squares

    errors, weights = 1 - accuracies, np.sqrt(sizes / sizes[-1])

    def residuals(values: np.ndarray) -> np.ndarray:
        log_a, b, c = values
        return weights * (np.exp(log_a) * sizes**-b + c - errors)

    start = (np.log(max(errors[0], 1e-3)) + 0.5 * np.log(sizes[0]), 0.5, 0.5 * max(errors[-1], 0.0))
    found = least_squares(residuals, start, bounds=((-20, 0.01, 0), (20, 2.0, 1)), max_nfev=60)
    return float(np.exp(found.x[0])), float(found.x[1]), float(found.x[2])


def _halving(now: float, fit: Power) -> float:
    """How many times the images give half the error of now; inf beyond MOST_FACTOR."""
    a, b, c = fit
    wanted = float(_error(now, fit)) / 2
    if wanted <= c or a == 0:
        return float("inf")
    factor = (a / (wanted - c)) ** (1 / b) / now
    return factor if factor <= MOST_FACTOR else float("inf")
