"""What may be wrong with the values of a checkpoint's card: it may come from anyone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from core.checkpoints.packing import STORAGES
from core.common.values import finite
from core.data.dataset import ImageCard
from core.models import LAYERS, MODELS, TTA_LEVELS

if TYPE_CHECKING:
    from core.checkpoints.store import Card, DistanceScore, Misses

CALIBRATION_SPLITS = ("validation", "test")
MAX_IMAGE_SIZE = 512
MOST_STEPS = 100
"""Of compression, one after another."""
MOST_KINDS = 100
"""Of images that the warning was tried on."""
MOST_LAYERS = 1000
"""Whose sizes were changed."""
_HASH = re.compile(r"[0-9a-f]{64}")
_SAFE_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}\.safetensors")
_SAFE_ONNX = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}\.onnx")


def validate_card(card: Card) -> str:
    """What is wrong with the values of a card that has the right fields, as the end of a sentence; empty if nothing is.
    A card may come from anyone, so nothing that a page or a model computes with is taken on trust."""
    of_data = _wrong_images if isinstance(card.dataset, ImageCard) else _wrong_text
    checks = (_wrong_types, _wrong_files, _wrong_figures, _wrong_compression, of_data)
    return next((problem for check in checks if (problem := check(card))), "")


def _wrong_types(card: Card) -> str:
    data = card.dataset
    if not all(isinstance(value, dict) for value in (card.metrics, card.recipe, card.model_config, card.versions)):
        return "has a list or a number where a mapping belongs"
    of_card, of_data = (card.title, card.model, card.notes, card.hardware, card.created), (data.name, data.title)
    if not all(isinstance(value, str) for value in (*of_card, *of_data, data.split, data.source)):
        return "has a number or a list where a text belongs"
    if not isinstance(data.sha256, dict):
        return "has no mapping of checksums"
    if card.tta not in TTA_LEVELS:
        return "asks for a test-time augmentation that does not exist"
    if card.model in MODELS and MODELS[card.model].task != card.task:
        return f"names a {MODELS[card.model].title} for data of another kind"
    return ""


def _wrong_files(card: Card) -> str:
    if not isinstance(card.weights_file, str) or not _SAFE_FILE.fullmatch(card.weights_file):
        return "names a weights file that is not allowed"
    if not isinstance(card.weights_sha256, str) or not _HASH.fullmatch(card.weights_sha256):
        return "has no checksum of its weights"
    if not isinstance(card.onnx_file, str) or not isinstance(card.onnx_sha256, str):
        return "names an ONNX file that is not allowed"
    if card.onnx_file and not _SAFE_ONNX.fullmatch(card.onnx_file):
        return "names an ONNX file that is not allowed"
    if not (_HASH.fullmatch(card.onnx_sha256) if card.onnx_file else card.onnx_sha256 == ""):
        return "has no checksum of its ONNX file"
    if card.model == "onnx_runtime" and not card.onnx_file:
        return "names no ONNX file for a network that runs only in ONNX Runtime"
    if not isinstance(card.features_file, str) or not isinstance(card.features_sha256, str):
        return "names a file of features that is not allowed"
    if card.features_file and not (_SAFE_FILE.fullmatch(card.features_file) and _HASH.fullmatch(card.features_sha256)):
        return "names a file of features that is not allowed"
    if bool(card.features_file) != (card.calibration.distance is not None):
        return "has a warning by distance without features, or features without it"
    return ""


def _wrong_figures(card: Card) -> str:
    calibration = card.calibration
    numbers = [calibration.temperature, calibration.energy_threshold or 0.0, calibration.false_alarm_rate or 0.0]
    numbers += [
        calibration.images,
        calibration.threshold_images,
        *card.dataset.sizes.values(),
        card.parameters,
        card.size_bytes,
        card.step,
    ]
    numbers += [card.epoch, card.onnx_bytes]
    if not all(finite(value) for value in numbers):
        return "has figures that are not finite numbers"
    if calibration.temperature <= 0:
        return "has a temperature that is not above 0"
    if calibration.threshold_images < 0 or calibration.threshold_images % 1:
        return "has figures of the warning that are not valid"
    if calibration.distance and not _valid_distance(calibration.distance):
        return "has figures of the warning that are not valid"
    if calibration.split not in CALIBRATION_SPLITS:
        return "was calibrated on images of an unknown split"
    if calibration.misses is not None and _wrong_misses(calibration.misses):
        return "has figures of the warning that are not valid"
    for name in ("val_accuracy", "test_accuracy"):
        value = card.metrics.get(name)
        if value is not None and not (finite(value) and 0 <= value <= 1):
            return "has an accuracy outside 0–1"
    loss = card.metrics.get("val_loss_nats")
    if loss is not None and not (finite(loss) and loss >= 0):
        return "has a loss that is not a number of at least 0"
    return ""


def _valid_distance(score: DistanceScore) -> bool:
    numbers = (score.energy_mean, score.energy_sd, score.distance_mean, score.distance_sd, score.threshold)
    return all(finite(value) for value in numbers) and score.energy_sd > 0 and score.distance_sd > 0


def _wrong_misses(misses: Misses) -> bool:
    kinds = misses.by_kind
    if (
        not isinstance(kinds, dict)
        or not 1 <= len(kinds) <= MOST_KINDS
        or not all(isinstance(name, str) for name in kinds)
    ):
        return True
    if isinstance(misses.images, bool) or not isinstance(misses.images, int) or misses.images < 1:
        return True
    return not all(finite(value) and 0 <= value <= 1 for value in (misses.rate, misses.auroc, *kinds.values()))


def _wrong_compression(card: Card) -> str:
    if card.storage not in STORAGES:
        return "holds its weights in an unknown format"
    layers = card.model_config.get(LAYERS, {})
    if not isinstance(layers, dict) or len(layers) > MOST_LAYERS:
        return "has changed layers that are not a mapping of a reasonable size"
    done = card.compression
    if not isinstance(done, dict):
        return "has a list or a number where a mapping belongs"
    if done:
        original, steps = done.get("original"), done.get("steps")
        if not isinstance(original, str) or not isinstance(steps, list) or len(steps) > MOST_STEPS:
            return "lacks the original or the steps of its compression"
        if not all(isinstance(step, dict) and isinstance(step.get("step"), str) for step in steps):
            return "has compression steps without a name"
    return ""


def _wrong_images(card: Card) -> str:
    data = card.pixel_data
    if not data.classes or not all(isinstance(value, str) for value in data.classes):
        return "has no class names, or some that are not text"
    if not all(finite(value) for value in (*data.mean, *data.std, data.image_size)):
        return "has figures that are not finite numbers"
    if not isinstance(data.image_size, int) or not 8 <= data.image_size <= MAX_IMAGE_SIZE:
        return f"has an image size that is not a whole number from 8 to {MAX_IMAGE_SIZE}"
    if card.model_config.get("image_size", 32) != data.image_size:
        return f"gives images of {data.image_size} pixels to a network for another size"
    if len(data.mean) != 3 or len(data.std) != 3 or min(data.std) <= 0:
        return "has a mean or a standard deviation that is not valid"
    if card.model_config.get("classes", 10) != len(data.classes):
        return f"names {len(data.classes)} classes, but its network has another number"
    return ""


def _wrong_text(card: Card) -> str:
    data = card.text_data
    known = data.vocabulary
    if not isinstance(known, str) or len(known) < 2 or len(set(known)) != len(known):
        return "has a vocabulary that is not at least two different characters"
    changed = card.model_config.get(LAYERS) or {}
    if not isinstance(changed, dict) or any(
        not isinstance(change, dict) or not {"heads"} <= set(change) <= {"heads", "kept"} for change in changed.values()
    ):
        return "has changed layers other than removed heads, which no language model has here"
    if card.onnx_file:
        return "names an ONNX file, which no language model has here"
    if card.model_config.get("vocabulary") != len(data.vocabulary):
        return f"has {len(data.vocabulary)} characters, but its network has another number"
    return ""
