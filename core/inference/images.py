"""From an image to an honest answer: calibrated probabilities, and a warning when it is likely none of the classes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from core.checkpoints.store import Calibration, Card, Checkpoint
from core.common.errors import LabError
from core.inference.neighbours import distances, without_head
from core.inference.onnx_network import LARGEST_BATCH, OnnxNetwork
from core.models import head_name
from core.models.tta import tta_logits

TOP = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    probabilities: tuple[float, ...]
    """Calibrated, one per class, sum 1."""
    top: tuple[tuple[str, float], ...]
    """The five most probable labels with their probabilities, best first."""
    energy: float
    """Free energy, -logsumexp(logits), nats: higher means less like anything the model was trained on."""
    likely_none_of_these: bool
    """Whether the score of the warning is above the card's threshold. False where the card has none."""
    latency_ms: float
    """Wall time per image of this call, from uint8 pixels to probabilities."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a network says of N images, float32 on the CPU."""

    logits: Tensor
    """(N, classes)."""
    distances: Tensor | None = None
    """(N,) from training images, see core.inference.neighbours; of a checkpoint that keeps their features."""

    def __getitem__(self, rows: Tensor) -> Answers:
        return Answers(self.logits[rows], None if self.distances is None else self.distances[rows])

    @staticmethod
    def joined(parts: Sequence[Answers]) -> Answers:
        """Several, one after the other."""
        found = [part.distances for part in parts if part.distances is not None]
        return Answers(torch.cat([part.logits for part in parts]), torch.cat(found) if found else None)


def logits_of(checkpoint: Checkpoint, images: np.ndarray, tta: str | None = None) -> Tensor:
    """The logits of `answers_of`."""
    return answers_of(checkpoint, images, tta).logits


@torch.inference_mode()
def answers_of(checkpoint: Checkpoint, images: np.ndarray, tta: str | None = None) -> Answers:
    """Answers to images (N, H, W, 3) uint8. tta: None takes the card's; distances are of one view always.

    An int8 checkpoint answers as it runs, in ONNX Runtime on the CPU. Raises LabError where the images do not have the
    model's input size, and for an ONNX file that does not fit its card.
    """
    card = checkpoint.card
    side = card.image_data.image_size
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (side, side, 3):
        raise LabError(
            f"{card.title} takes images of {side}x{side} pixels with three uint8 channels, not {images.dtype} of shape "
            f"{'x'.join(map(str, images.shape))}: resize them first."
        )
    network: Callable[[Tensor], Tensor] = checkpoint.model
    device = next(checkpoint.model.parameters()).device
    if checkpoint.onnx:
        network, device = _in_onnx_runtime(checkpoint), torch.device("cpu")
    pixels = torch.from_numpy(np.require(images, requirements=["C", "W"])).to(device)
    inputs, tta = normalise(pixels, card), card.tta if tta is None else tta
    if checkpoint.features is None:
        return Answers(tta_logits(network, inputs, tta).float().cpu())
    features = without_head(checkpoint.model)(inputs)
    head = checkpoint.model.get_submodule(head_name(checkpoint.model))
    logits = head(features) if tta == "none" else tta_logits(network, inputs, tta)
    return Answers(logits.float().cpu(), distances(features.float().cpu(), checkpoint.features))


def _in_onnx_runtime(checkpoint: Checkpoint) -> Callable[[Tensor], Tensor]:
    network, classes = _onnx_network(checkpoint.onnx, torch.get_num_threads()), len(checkpoint.card.image_data.classes)

    def logits(inputs: Tensor) -> Tensor:
        found = [network.logits(part.contiguous().numpy()) for part in inputs.split(LARGEST_BATCH)]
        if any(part.shape[1:] != (classes,) for part in found):
            raise LabError(
                f"The ONNX file of {checkpoint.card.title[:100]} has other classes: get the checkpoint again."
            )
        return torch.from_numpy(np.concatenate(found))

    return logits


@lru_cache(maxsize=4)
def _onnx_network(data: bytes, threads: int) -> OnnxNetwork:
    """Loaded once: checking the file takes longer than an answer."""
    return OnnxNetwork(data, threads=threads)


def normalise(pixels: Tensor, card: Card) -> Tensor:
    """(N, H, W, 3) uint8 to the model's input (N, 3, H, W) float32, in channels_last memory order."""
    mean, std = (torch.tensor(values, device=pixels.device) for values in (card.image_data.mean, card.image_data.std))
    return ((pixels / 255.0 - mean) / std).permute(0, 3, 1, 2)


def classify(checkpoint: Checkpoint, images: np.ndarray, tta: str | None = None) -> list[Prediction]:
    """One Prediction per image. images: (N, H, W, 3) uint8. Raises LabError as `logits_of` does."""
    if len(images) == 0:
        return []
    started = time.perf_counter()
    found = answers_of(checkpoint, images, tta)
    logits = found.logits
    calibration, classes = checkpoint.card.calibration, checkpoint.card.image_data.classes
    probabilities = torch.softmax(logits / calibration.temperature, dim=1)
    energies, warned = free_energy(logits), warnings_for(found, calibration)
    latency_ms = (time.perf_counter() - started) * 1000 / len(images)
    answers = []
    for row, energy, warn in zip(probabilities, energies.tolist(), warned.tolist(), strict=True):
        order = row.argsort(descending=True)[:TOP].tolist()
        answers.append(
            Prediction(
                probabilities=tuple(row.tolist()),
                top=tuple((classes[index], float(row[index])) for index in order),
                energy=energy,
                likely_none_of_these=warn,
                latency_ms=latency_ms,
            )
        )
    return answers


def free_energy(logits: Tensor) -> Tensor:
    """-logsumexp over classes: (N, C) to (N,), nats. Source: Liu et al., arXiv:2010.03759, equation 3 with T=1."""
    return -torch.logsumexp(logits, dim=1)


def warning_scores(answers: Answers, calibration: Calibration) -> Tensor:
    """(N,) what the none-of-these warning goes by, higher for more foreign: the energy, or its sum with the distance."""
    energies, by = free_energy(answers.logits), calibration.distance
    if by is None:
        return energies
    if answers.distances is None:
        raise LabError("This checkpoint warns by distances, but its features are missing: load it again.")
    return (energies - by.energy_mean) / by.energy_sd + (answers.distances - by.distance_mean) / by.distance_sd


def threshold_of(calibration: Calibration) -> float | None:
    """Of `warning_scores`; None where there is no warning."""
    return calibration.energy_threshold if calibration.distance is None else calibration.distance.threshold


def warnings_for(answers: Answers, calibration: Calibration) -> Tensor:
    """(N,) bool: which images are probably none of the classes."""
    threshold = threshold_of(calibration)
    if threshold is None:
        return torch.zeros(len(answers.logits), dtype=torch.bool)
    return warning_scores(answers, calibration) > threshold
