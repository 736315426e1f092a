"""How good a checkpoint is, with intervals; and the calibration that classification uses."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from core.checkpoints.store import Calibration, Card, Checkpoint, DistanceScore, Misses
from core.common.values import wilson
from core.data import subset
from core.data.dataset import ImageDataset, Split
from core.inference.foreign import auroc, foreign_images
from core.inference.images import Answers, answers_of, free_energy, normalise, warning_scores, warnings_for
from core.inference.neighbours import MEASURED, MOST, NEAREST, SEED, without_head
from core.models import images_at_once

BINS = 15
FALSE_ALARMS = 0.05
HALF_SEED = 0
"""Random seed of the half of the test images that calibrates a checkpoint trained on all other images."""
FEWEST_TO_CALIBRATE = 100
"""Images, for a temperature."""
FAMILIAR = 1000
"""Test images that foreign ones are compared with where others set the threshold."""
FEWEST_TO_WARN = 19
"""Images, for a threshold: of fewer even the largest energy gives more than 5% false alarms, see `warning_threshold`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassResult:
    label: str
    n: int
    accuracy: float
    low: float
    high: float
    """95% Wilson interval, 0..1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationBin:
    confidence: float
    """Mean calibrated probability of the answers in this bin, 0..1."""
    accuracy: float
    """Share of them that are right, 0..1."""
    low: float
    high: float
    """95% Wilson interval of the accuracy, 0..1."""
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageAnswer:
    """The answer to one image of the split."""

    index: int
    """Position in the split."""
    file: str
    """Path below the dataset's folder; empty where the image has no file."""
    true: str
    predicted: str
    confidence: float
    """Calibrated probability of the answer, 0..1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    n: int
    accuracy: float
    interval: tuple[float, float]
    """95% Wilson interval of the accuracy, 0..1: the uncertainty from having only n images."""
    loss_nats: float
    """Mean cross-entropy of the calibrated probabilities. This and the calibration leave out test images that the
    checkpoint was calibrated on, unless `has_other_test_images`."""
    ece: float
    """Expected calibration error, 0..1, over 15 equal-width bins (Guo et al., arXiv:1706.04599)."""
    flagged: float
    """Share of the images that the none-of-these warning flags, 0..1."""
    per_class: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Counts; row = true class, column = answer."""
    calibration: tuple[CalibrationBin, ...]
    labels: tuple[int, ...]
    """(n,) true class of each image, in the order of the split."""
    answers: tuple[int, ...]
    """(n,) class that each image was given."""
    confidences: tuple[float, ...]
    """(n,) calibrated probability of each answer, 0..1."""
    files: tuple[str, ...]
    """(n,) paths below the dataset's folder; empty where the images have no files."""
    tta: str
    seconds: float

    @property
    def mistakes(self) -> tuple[ImageAnswer, ...]:
        """Most confident first."""
        return self.images_of()

    def images_of(self, true: int | None = None, answer: int | None = None) -> tuple[ImageAnswer, ...]:
        """The images of a true class with an answer, most confident first. None: of any class; any wrong answer."""
        places = [
            index
            for index, (label, given) in enumerate(zip(self.labels, self.answers, strict=True))
            if true in (None, label) and (given != label if answer is None else given == answer)
        ]
        names = [item.label for item in self.per_class]
        return tuple(
            ImageAnswer(
                index=index,
                file=self.files[index] if self.files else "",
                true=names[self.labels[index]],
                predicted=names[self.answers[index]],
                confidence=self.confidences[index],
            )
            for index in sorted(places, key=lambda index: -self.confidences[index])
        )

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def evaluate(
    checkpoint: Checkpoint,
    split: Split,
    tta: str | None = None,
    on_progress: Callable[[float], None] | None = None,
    *,
    name: str = "test",
) -> Evaluation:
    """Evaluate on a split. tta: None takes the card's. on_progress gets the share done, 0..1. name: of the split."""
    started = time.perf_counter()
    card = checkpoint.card
    classes = card.image_data.classes
    found = split_answers(checkpoint, split, tta, on_progress)
    logits = found.logits
    labels = torch.from_numpy(np.asarray(split.labels, dtype=np.int64))
    scaled = logits / card.calibration.temperature
    confidence, answers = torch.softmax(scaled, dim=1).max(dim=1)
    right = answers == labels
    count, n = len(classes), len(labels)
    confusion = torch.bincount(labels * count + answers, minlength=count * count).view(count, count)
    per_class = []
    for index, label in enumerate(classes):
        total, hits = int(confusion[index].sum()), int(confusion[index, index])
        low, high = wilson(hits, total)
        accuracy = hits / total if total else 0.0
        per_class.append(ClassResult(label=label, n=total, accuracy=accuracy, low=low, high=high))
    known = name != "test" or not has_other_test_images(card, n)
    rest = torch.from_numpy(held_out(card.calibration, n, name) if known else np.ones(n, dtype=bool))
    bins, ece, flagged = measure_calibration(found[rest], labels[rest], card.calibration)
    return Evaluation(
        n=n,
        accuracy=int(right.sum()) / n,
        interval=wilson(int(right.sum()), n),
        loss_nats=float(F.cross_entropy(scaled[rest], labels[rest])),
        ece=ece,
        flagged=flagged,
        per_class=tuple(per_class),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        calibration=bins,
        labels=tuple(labels.tolist()),
        answers=tuple(answers.tolist()),
        confidences=tuple(round(value, 4) for value in confidence.tolist()),
        files=split.files,
        tta=card.tta if tta is None else tta,
        seconds=time.perf_counter() - started,
    )


def calibrate(card: Card, dataset: ImageDataset, answer: Callable[[Split], Answers]) -> Calibration:
    """The calibration of a checkpoint on images that it did not train on: the validation images, else half of the test
    images. Fewer than 100 set the threshold of the warning alone, fewer than 19 nothing. The warning is then tried on images
    of none of the classes. answer: its answers to a split; with distances, the warning goes by them too."""
    validates = card.recipe.get("train_on") == "train" and len(dataset.validation) > 0
    half = calibration_half(len(dataset.test))
    if (len(dataset.validation) if validates else half.sum()) < FEWEST_TO_WARN:
        return Calibration()
    if validates:
        found, labels = answer(dataset.validation), dataset.validation.labels
    else:
        found, labels = answer(dataset.test)[torch.from_numpy(half)], dataset.test.labels[half]
    calibration = fit_calibration(found, labels, "validation" if validates else "test")
    return dataclasses.replace(calibration, misses=measure_misses(card, calibration, found, answer))


def measure_misses(
    card: Card, calibration: Calibration, familiar: Answers, answer: Callable[[Split], Answers]
) -> Misses | None:
    """What the warning lets pass of images that show none of the classes; None where there is no warning, or no such image.

    familiar: answers to images of the dataset. answer: as for `calibrate`.
    """
    if calibration.energy_threshold is None:
        return None
    found = {
        kind: answer(Split(images=images, labels=np.zeros(len(images), dtype=np.int64)))
        for kind, images in foreign_images(card.image_data)
    }
    if not found:
        return None
    every = Answers.joined(list(found.values()))
    scores = [warning_scores(answers, calibration).numpy() for answers in (familiar, every)]
    return Misses(
        rate=_share(~warnings_for(every, calibration)),
        images=len(every.logits),
        auroc=auroc(*scores),
        by_kind={kind: _share(~warnings_for(answers, calibration)) for kind, answers in found.items()},
    )


def _share(flags: torch.Tensor) -> float:
    return int(flags.sum()) / len(flags)


def fit_calibration(answers: Answers, labels: np.ndarray, split: str = "validation") -> Calibration:
    """Temperature (least cross-entropy; of at least 100 images) and threshold of the warning. labels: (N,). None of either
    where logits are not finite: no card could hold it."""
    logits = answers.logits
    if not logits.isfinite().all():
        return Calibration()
    energies = free_energy(logits)
    threshold = warning_threshold(energies)
    enough = len(labels) >= FEWEST_TO_CALIBRATE
    found = Calibration(
        temperature=best_temperature(logits, torch.from_numpy(np.asarray(labels, dtype=np.int64))) if enough else 1.0,
        energy_threshold=threshold,
        false_alarm_rate=None if threshold is None else _share(energies > threshold),
        images=len(labels) if enough else 0,
        threshold_images=0 if enough or threshold is None else len(labels),
        split=split,
    )
    score = _fit_distance(answers, energies) if threshold is not None else None
    if score is None:
        return found
    scored = dataclasses.replace(found, distance=score)
    return dataclasses.replace(scored, false_alarm_rate=_share(warnings_for(answers, scored)))


def _fit_distance(answers: Answers, energies: torch.Tensor) -> DistanceScore | None:
    """For answers with distances; None where all energies or all distances are the same."""
    if answers.distances is None:
        return None
    values = [float(value) for part in (energies, answers.distances) for value in (part.mean(), part.std())]
    if not all(map(math.isfinite, values)) or min(values[1], values[3]) <= 0:
        return None
    names = ("energy_mean", "energy_sd", "distance_mean", "distance_sd")
    unset = DistanceScore(**dict(zip(names, values, strict=True)), threshold=0.0)
    threshold = warning_threshold(warning_scores(answers, Calibration(distance=unset)))
    return None if threshold is None else dataclasses.replace(unset, threshold=threshold)


def warning_threshold(scores: torch.Tensor) -> float | None:
    """Above it lies at most 5% of further images, on average over draws of these (N,); None for fewer than 19 of them.

    Source: conformal prediction, Bates et al., arXiv:2104.08279, section 2.
    """
    place = math.ceil((len(scores) + 1) * (1 - FALSE_ALARMS) - 1e-9)
    return float(scores.sort().values[place - 1]) if place <= len(scores) else None


def calibration_half(n: int) -> np.ndarray:
    """(n,) bool: the half of n test images that a checkpoint is calibrated on where it left no others."""
    return np.random.default_rng(HALF_SEED).permutation(n) < n // 2


def held_out(calibration: Calibration, n: int, split: str = "test") -> np.ndarray:
    """(n,) bool: those of a split's images that the calibration was not set on, as far as test images go."""
    if split != "test" or calibration.split != "test" or calibration.set_on != n // 2:
        return np.ones(n, dtype=bool)
    return ~calibration_half(n)


def has_other_test_images(card: Card, n: int) -> bool:
    """Whether a checkpoint was calibrated on test images, and its dataset now has another number n of them: which of these
    it was calibrated on is not known."""
    return card.calibration.split == "test" and card.dataset.sizes.get("test") != n


def measure_calibration(
    answers: Answers, labels: torch.Tensor, calibration: Calibration
) -> tuple[tuple[CalibrationBin, ...], float, float]:
    """Bins, expected calibration error (0..1), and the share (0..1) that the warning flags, of answers to N images."""
    confidence, classes = torch.softmax(answers.logits / calibration.temperature, dim=1).max(dim=1)
    bins = _bins(confidence, classes == labels)
    flagged = float(warnings_for(answers, calibration).float().mean())
    return bins, sum(item.n * abs(item.accuracy - item.confidence) for item in bins) / len(labels), flagged


def best_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The temperature in 0.2..20 with the least cross-entropy, which is convex in 1/T. logits: (N, C); labels: (N,).

    Where every answer is right the best temperature would be 0, hence the lower bound.
    """
    low, high = math.log(1 / 20), math.log(1 / 0.2)
    for _ in range(60):
        third = (high - low) / 3
        left, right = low + third, high - third
        losses = [float(F.cross_entropy(logits.double() * math.exp(x), labels)) for x in (left, right)]
        low, high = (low, right) if losses[0] < losses[1] else (left, high)
    return math.exp(-(low + high) / 2)


def split_answers(
    checkpoint: Checkpoint, split: Split, tta: str | None = None, on_progress: Callable[[float], None] | None = None
) -> Answers:
    """Answers to a whole split, in order."""
    device = next(checkpoint.model.parameters()).device.type
    size = images_at_once(checkpoint.card.model_config, 250, "cpu" if checkpoint.onnx else device)
    parts = []
    for start in range(0, len(split), size):
        parts.append(answers_of(checkpoint, split.images[start : start + size], tta))
        if on_progress:
            on_progress(min(1.0, (start + size) / len(split)))
    return Answers.joined(parts)


@torch.inference_mode()
def training_features(checkpoint: Checkpoint, train: Split) -> torch.Tensor | None:
    """(at most MOST, F) float32: what the last layer gets of training images, for a warning by distance. None of a network on
    which that was not measured to help."""
    if checkpoint.card.model not in MEASURED or checkpoint.onnx or len(train) < NEAREST:
        return None
    body, device = without_head(checkpoint.model), next(checkpoint.model.parameters()).device
    images = subset(train, MOST, SEED).images
    size = images_at_once(checkpoint.card.model_config, 250, device.type)
    parts = [torch.from_numpy(np.ascontiguousarray(images[at : at + size])) for at in range(0, len(images), size)]
    return torch.cat([body(normalise(part.to(device), checkpoint.card)).float().cpu() for part in parts])


def _bins(confidence: torch.Tensor, right: torch.Tensor) -> tuple[CalibrationBin, ...]:
    which = (confidence * BINS).long().clamp(max=BINS - 1)
    found = []
    for index in range(BINS):
        inside = which == index
        if inside.any():
            hits, n = int(right[inside].sum()), int(inside.sum())
            low, high = wilson(hits, n)
            found.append(
                CalibrationBin(
                    confidence=float(confidence[inside].mean()),
                    accuracy=hits / n,
                    low=low,
                    high=high,
                    n=n,
                )
            )
    return tuple(found)
