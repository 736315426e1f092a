"""What an augmentation does to a checkpoint: the accuracy that is left on augmented test images, by class, and the loss that it
adds on training images. The images are those that the trainer would feed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count

import numpy as np
import torch
import torch.nn.functional as F

from core.augmentation.results import ClassChange, Effect
from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.common.pixels import to_png
from core.common.progress import Progress, no_progress
from core.compression.measuring.significance import paired_interval
from core.data.dataset import ImageDataset, Split
from core.data.splits import subset
from core.inference.images import logits_of
from core.models import images_at_once
from core.training.augmentation import parse_pipeline
from core.training.config import TrainConfig
from core.training.preview import augmented_pixels

AHEAD = 2
"""Sets of augmented images that wait for the network."""
CHUNK_PIXELS = 2000 * 32 * 32
"""Of images that are augmented at once, which takes some 30 bytes each."""


class EffectMeter:
    """One checkpoint with the images it is measured on. Raises LabError where there is nothing to measure."""

    def __init__(
        self, checkpoint: Checkpoint, data: ImageDataset, *, images: int, train_images: int, seed: int = 0
    ) -> None:
        title = data.card.title[:80]
        if len(data.card.classes) < 2:
            raise LabError(f"{title} has one class, so every answer is right: add images of a second class.")
        if not len(data.test) or not len(data.train):
            raise LabError(f"{title} has no test or no training images: add some to each class.")
        if data.card.classes != checkpoint.card.image_data.classes:
            raise LabError(f"{title} has other classes than the checkpoint: choose one that was trained on them.")
        self.checkpoint, self.data, self.seed = checkpoint, data, seed
        self.test, self.train = (
            subset(split, number, 0) for split, number in ((data.test, images), (data.train, train_images))
        )
        self.at_once = images_at_once(checkpoint.card.model_config, 250)
        self.right = self._right(self.test.images)
        self.losses = self._losses(self.train.images)

    @property
    def accuracy(self) -> float:
        """On the plain test images, 0..1."""
        return float(self.right.mean())

    def measure(self, augmentation: str, comparisons: int = 1, report: Progress = no_progress) -> Effect:
        """One pipeline, see `measure_all`."""
        total = sum(
            len(_places(part, size)) for part in (self.test, self.train) for size in (_size(part), self.at_once)
        )
        done = count()
        return next(
            self.measure_all(
                [augmentation], comparisons, lambda: report(next(done) / total, "measuring affinity and added loss")
            )
        )

    def measure_all(
        self, augmentations: Iterable[str], comparisons: int = 1, tick: Callable[[], None] = lambda: None
    ) -> Iterator[Effect]:
        """What each pipeline does, in order; an empty text stands for no augmentation.

        comparisons: pipelines whose intervals by class are to hold at once. While the network answers, the next images are
        made: transforms and network use different cores. tick: called before each chunk of images, in either thread; what it
        raises ends the work.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="answers") as network:
            waiting: list[Future[Effect]] = []
            for text in augmentations:
                config = TrainConfig(augmentation=text, seed=self.seed)
                test, train = (
                    self._augment(part, config, epoch, tick) for epoch, part in ((0, self.test), (10**6, self.train))
                )
                waiting.append(network.submit(self._effect, text, test, train, comparisons, tick))
                if len(waiting) > AHEAD:
                    yield waiting.pop(0).result()
            for answer in waiting:
                yield answer.result()

    def _augment(self, part: Split, config: TrainConfig, epoch: int, tick: Callable[[], None]) -> np.ndarray:
        if not config.augmentation:
            return part.images
        size = _size(part)
        chunks = []
        for place, at in enumerate(_places(part, size)):  # each with its own draws
            tick()
            images, labels = part.images[at : at + size], part.labels[at : at + size]
            chunks.append(augmented_pixels(images, labels, self.data.card, config, epoch + place)[0])
        pixels = np.concatenate(chunks)
        check_content(pixels)
        return pixels

    def _effect(
        self, text: str, test: np.ndarray, train: np.ndarray, comparisons: int, tick: Callable[[], None]
    ) -> Effect:
        right, labels, names = self._right(test, tick), self.test.labels, self.data.card.classes
        low, high = _interval(self.right, right)
        present = [label for label in range(len(names)) if (labels == label).any()]
        z = _z_of(len(present) * comparisons)
        classes = []
        for label in present:
            before, after = self.right[labels == label], right[labels == label]
            bounds = _interval(before, after, z)
            points = 100 * float(after.mean() - before.mean())
            classes.append(ClassChange(label=names[label], points=points, low=bounds[0], high=bounds[1]))
        return Effect(
            pipeline=parse_pipeline(text).spec if text else "",
            accuracy=float(right.mean()),
            affinity=100 * float(right.mean() - self.right.mean()),
            low=low,
            high=high,
            added_loss=float((self._losses(train, tick) - self.losses).mean()),
            classes=tuple(classes),
            image=to_png(test[0]),
        )

    def _logits(self, images: np.ndarray, tick: Callable[[], None]) -> torch.Tensor:
        parts = []
        for at in _places(images, self.at_once):
            tick()
            parts.append(logits_of(self.checkpoint, images[at : at + self.at_once], "none"))
        return torch.cat(parts)

    def _right(self, images: np.ndarray, tick: Callable[[], None] = lambda: None) -> np.ndarray:
        """(N,) bool."""
        return np.asarray(self._logits(images, tick).argmax(1).numpy() == self.test.labels)

    def _losses(self, images: np.ndarray, tick: Callable[[], None] = lambda: None) -> np.ndarray:
        """(N,) nats."""
        labels = torch.from_numpy(np.asarray(self.train.labels, dtype=np.int64))
        return np.asarray(
            F.cross_entropy(self._logits(images, tick), labels, reduction="none").numpy(), dtype=np.float64
        )


def _size(part: Split) -> int:
    """Images that are augmented at once."""
    return max(1, CHUNK_PIXELS // part.images[0, ..., 0].size)


def _places(images: Split | np.ndarray, size: int) -> range:
    """Where each chunk begins."""
    return range(0, len(images), size)


def check_content(pixels: np.ndarray) -> None:
    """Raises LabError where no image (N, H, W, 3) has two pixels that differ."""
    if (np.ptp(pixels.reshape(len(pixels), -1, pixels.shape[-1]), axis=1) == 0).all():
        raise LabError("This pipeline leaves nothing of the image, every pixel is the same: lower a strength.")


def _interval(before: np.ndarray, after: np.ndarray, z: float | None = None) -> tuple[float, float]:
    """Of the change of the accuracy in points. before, after: (N,) whether each image is answered right."""
    lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
    return paired_interval(lost, gained, len(before), *([] if z is None else [z]))


def _z_of(comparisons: int) -> float:
    """Quantile of the normal distribution for 95% intervals that hold at once (Šidák)."""
    from scipy import special

    return float(special.ndtri(1 - (1 - 0.95 ** (1 / comparisons)) / 2))
