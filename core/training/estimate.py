"""How long a run will take, before it starts. Learned from runs on this machine; nothing here imports torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.common.errors import LabError
from core.common.paths import ensure_folder, lab_home, write_atomic
from core.data import dataset_sizes
from core.training.config import TrainConfig

START_SECONDS = 8.0
"""Importing torch and loading data, before the first step."""
SCALED = {
    # Multiply-adds of one forward pass of one 32x32 image, and the share of a core's 100 GFLOP/s that training
    # reached here, both with the default config. They give a first guess for a model that never ran on a machine.
    "simple_cnn": (3.9e6, 0.35),
    "fast_resnet": (118e6, 0.75),
    "resnet18": (556e6, 0.6),
    "compact_transformer": (34e6, 0.85),
    "flow_unet": (207e6, 0.6),  # in float32; the form measures a step (core.training.trial), as bfloat16 may be fast
    "efficientnet_lite0": (8.3e6, 0.15),
}
VIEWS = 3
"""Of an image, where their answers are compared (core.training.augmix, which needs torch)."""
HEAD_SPEED = 20_000
"""Examples per second that a head alone is trained on, a batch of 32 at a time."""
CORE_FLOPS = 100e9
DROPS = ("dropout", "spatial_dropout", "stochastic_depth")
"""Settings of those models that hardly change their speed."""
RESIZES = "upscale_to"
"""A setting whose effect on the speed is known."""
AUTO_AUGMENT_SECONDS, AUGMIX_SECONDS = 150e-6, 250e-6
"""What auto-augment, and each step of a pipeline, adds to each image, and augmix to each view: 144 µs and 250 µs were measured
here, on one core."""
TEXT_SHARE = 0.5
"""The same share for language models: 0.75 was seen for 2x512, less for small ones."""
GATES = {"char_rnn": 1, "char_gru": 3, "char_lstm": 4}


def training_examples(config: TrainConfig) -> int | None:
    """How many images or characters an epoch has, without loading the dataset; None where that is not known."""
    try:
        sizes = dataset_sizes(config.dataset)
    except LabError:
        return None
    used = [sizes.get(part) for part in config.train_on.split("+")]
    return sum(filter(None, used)) if all(used) else None


def estimate_seconds(config: TrainConfig, device: str, train_examples: int, speed: float | None = None) -> float | None:
    """Seconds for the whole run, start-up included. device: `cpu`, `cuda:0`, …; train_examples: images or characters of an
    epoch; speed: training examples per second, None for what is known. None where nothing is known."""
    speed = speed or known_speed(config, device)
    if speed is None:
        return None
    images = _images(config, train_examples)
    if config.train_layers == "head":  # the body computes all images once, forward only
        forward = guessed_speed(config.replace(train_layers="all"), device)
        return START_SECONDS + images / (3 * forward) + images * config.epochs / speed if forward else None
    return START_SECONDS + images * config.epochs / speed


def _images(config: TrainConfig, train_examples: int) -> int:
    """Images or characters of an epoch, with the extra ones."""
    own = min(train_examples, config.train_images or train_examples)
    if not config.extra_dataset:
        return own
    try:
        extra = config.extra_images or dataset_sizes(config.extra_dataset).get("train", 0)
    except LabError:
        extra = config.extra_images
    return extra if config.extra_only else own + extra


def known_speed(config: TrainConfig, device: str) -> float | None:
    """Training images or characters per second, evaluations included, as far as one can say before the run."""
    if config.train_layers == "head":  # for a small dataset, a run's speed is that of its evaluations
        return HEAD_SPEED
    return measured_speed(config, device) or guessed_speed(config, device)


def measured_speed(config: TrainConfig, device: str) -> float | None:
    """Training images or characters per second of the last such run here: same batch size if there was one, else any."""
    speeds = _read().get(_key(config, device), {})
    values = speeds.get(str(config.batch_size)) or (list(speeds.values()) or [None])[-1]
    return float(values) if isinstance(values, int | float) and values > 0 else None


def guessed_speed(config: TrainConfig, device: str) -> float | None:
    """Images or characters per second from the model's size, on a CPU; None for a GPU, or a classifier that was resized."""
    from core.common.devices import cores

    if device.split(":")[0] != "cpu":
        return None
    if config.model.startswith("char_"):
        multiply_adds, share = _of_a_character(config), TEXT_SHARE
    elif config.model in SCALED and not set(_sizes(config)) - {RESIZES}:
        multiply_adds, share = SCALED[config.model]
        multiply_adds *= max(1.0, config.model_settings.get(RESIZES, 0) / 32) ** 2
    else:
        return None
    # Forward and backward together cost three forward passes, at two operations per multiply-add.
    speed = cores() * CORE_FLOPS * share / (6 * multiply_adds)
    return 1 / (views(config) / speed + augmentation_seconds(config))


def views(config: TrainConfig) -> int:
    """Of each image, that the network sees in a step."""
    return VIEWS if config.consistency else 1


def augmentation_seconds(config: TrainConfig) -> float:
    """What transforms that are computed image by image, and augmix, add to each."""
    seconds = AUTO_AUGMENT_SECONDS * ((config.auto_augment != "none") + len(config.augmentation.split()))
    return seconds + (AUGMIX_SECONDS * max(1, views(config) - 1) if config.augmix else 0.0)


def _of_a_character(config: TrainConfig) -> float:
    """Multiply-adds of one character's forward pass, roughly. The defaults are those of core.models, which need torch."""

    def setting(name: str, usual: int) -> int:
        value = config.model_settings.get(name, usual)
        return value if isinstance(value, int) else usual

    if config.model == "char_gpt":
        width, layers = setting("width", 192), setting("layers", 6)
        return layers * width * (12 * width + config.window)
    width, layers = setting("width", 512), setting("layers", 2)
    inner = width * (setting("embedding", 128) + width) + (layers - 1) * 2 * width * width
    return GATES.get(config.model, 4) * inner + 65 * width


def record_speed(config: TrainConfig, device: str, examples_per_s: float) -> None:
    """Remember what a run reached. A cache: a failure to write it is nothing to stop for."""
    if examples_per_s <= 0 or config.train_layers == "head":
        return
    try:
        speeds = _read()
        speeds.setdefault(_key(config, device), {})[str(config.batch_size)] = round(examples_per_s, 1)
        ensure_folder(lab_home())
        write_atomic(_path(), json.dumps(speeds, indent=1))
    except (OSError, LabError):
        return


def _key(config: TrainConfig, device: str) -> str:
    sizes = _sizes(config)
    settings = json.dumps(sizes, sort_keys=True) if sizes else ""
    auto = "" if config.auto_augment == "none" else config.auto_augment
    augmented = auto + (f"augmix {views(config)}" if config.augmix else "")
    shared = f"devices {config.devices}" if config.devices > 1 else ""
    parts = (device, config.model, settings, augmented, config.augmentation, shared)
    return " ".join(part for part in parts if part)


def _sizes(config: TrainConfig) -> dict[str, Any]:
    """The settings of the model that its speed depends on."""
    drops = DROPS if config.model in SCALED else ()
    return {name: value for name, value in config.model_settings.items() if name not in drops}


def _path() -> Path:
    return lab_home() / "speed.json"


def _read() -> dict[str, dict[str, Any]]:
    try:
        found = json.loads(_path().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
