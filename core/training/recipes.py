"""Recipes: named TrainConfigs, each with the result it was measured to give. Nothing here imports torch.

Accuracies are on the 10,000 test images of CIFAR-10, mean ± standard deviation where there are several seeds, made with
torch 2.15 on two cores of an AMD EPYC. What a run takes there: the README, and the estimate before it starts.
"""

from __future__ import annotations

from typing import Any

from core.checkpoints.backbone import BACKBONES
from core.checkpoints.store import Card, find_checkpoint
from core.common.errors import LabError
from core.data import DATASETS
from core.models import MODELS
from core.training.config import TrainConfig
from core.training.windows import text_windows

_SIMPLE = TrainConfig(
    model="simple_cnn",
    epochs=40,
    batch_size=128,
    optimizer="adamw",
    lr=4e-3,
    weight_decay=0.02,
    schedule="triangular",
    warmup=0.2,
    flip="alternating",
    crop_padding=2,
    average="ema",
    average_decay=0.998,
    tta="flip",
)

_FAST = TrainConfig(
    model="fast_resnet",
    epochs=14,
    batch_size=1000,
    optimizer="muon",
    lr=0.17,
    momentum=0.6,
    bias_lr=53.0,
    head_lr=0.0102,
    weight_decay=2e-3,
    schedule="triangular",
    label_smoothing=0.2,
    flip="alternating",
    crop_padding=2,
    tta="flip+shift",
)

_RESNET18 = TrainConfig(
    model="resnet18",
    epochs=30,
    batch_size=512,
    optimizer="sgd",
    lr=0.4,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="triangular",
    warmup=0.2,
    label_smoothing=0.1,
    flip="alternating",
    crop_padding=4,
    tta="flip",
)

# For a tenth of the paper's 200 epochs, so with little of its regularization: `long` has more of both.
_TRANSFORMER = TrainConfig(
    model="compact_transformer",
    epochs=24,
    batch_size=128,
    optimizer="adamw",
    lr=2e-3,
    weight_decay=0.06,
    schedule="cosine",
    warmup=0.1,
    grad_clip=1.0,
    label_smoothing=0.1,
    flip="alternating",
    crop_padding=2,
    average="ema",
    average_decay=0.998,
    tta="flip",
)

_FLOW = TrainConfig(
    model="flow_unet",
    epochs=48,
    batch_size=128,
    optimizer="adamw",
    lr=1.5e-3,
    weight_decay=0.01,
    schedule="cosine",
    warmup=0.02,
    grad_clip=1.0,
    flip="random",
    average="ema",
    average_decay=0.999,
)

# On features that do not change, so a head is a convex problem: as many passes suffice for any number of images.
_HEAD = TrainConfig(
    model="efficientnet_lite0",
    init_from="efficientnet_lite0",
    train_layers="head",
    model_config={"upscale_to": 160},
    epochs=30,
    batch_size=32,
    optimizer="adamw",
    lr=1e-3,
    weight_decay=0.01,
    schedule="cosine",
    eval_every=3,
    keep="last",
)

# Text. The published tricks at this size: dropout between layers, an open forget gate, gradients clipped to norm 1, and a
# learning rate that falls to 0 in a straight line.
_LSTM = TrainConfig(
    model="char_lstm",
    model_config={"dropout": 0.4, "weight_drop": 0.2},
    dataset="tiny_shakespeare",
    epochs=14,
    batch_size=32,
    window=128,
    optimizer="adamw",
    lr=3e-3,
    weight_decay=0.01,
    schedule="triangular",
    warmup=0.02,
    grad_clip=1.0,
)
_QUICK_LSTM = _LSTM.replace(
    recipe="quick",
    epochs=3,
    lr=5e-3,
    model_config={"width": 256, "layers": 1, "embedding": 64, "dropout": 0.1},
    eval_every=0.25,
    state_reset=0.05,
)

_GPT = TrainConfig(
    model="char_gpt",
    dataset="tiny_shakespeare",
    model_config={"dropout": 0.1},
    epochs=13,
    batch_size=8,
    window=256,
    optimizer="adamw",
    lr=2e-3,
    weight_decay=0.1,
    schedule="cosine",
    warmup=0.03,
    grad_clip=1.0,
)

RECIPES: dict[str, dict[str, TrainConfig]] = {
    "simple_cnn": {
        "default": _SIMPLE,
        "quick": _SIMPLE.replace(recipe="quick", epochs=3, lr=6e-3, average_decay=0.99),
        "long": _SIMPLE.replace(recipe="long", epochs=100, lr=4e-3, average_decay=0.9995, crop_padding=4),
        "textbook": TrainConfig(
            model="simple_cnn", recipe="textbook", epochs=10, batch_size=32, optimizer="adam", schedule="constant"
        ),
    },
    "fast_resnet": {
        "default": _FAST,
        "quick": _FAST.replace(
            recipe="quick", epochs=2, batch_size=500, lr=0.12, bias_lr=26.5, head_lr=0.0051, weight_decay=1e-3
        ),
        "speedrun": _FAST.replace(
            recipe="speedrun",
            epochs=8,
            batch_size=2000,
            lr=0.24,
            bias_lr=106.0,
            head_lr=0.0204,
            weight_decay=4e-3,
            train_on="train+validation",
            model_config={"activation": "gelu"},
            eval_every=8,
            compile=True,
        ),
        # On all 50,000 images. Two half batches stay in a processor's cache, where one whole batch does not: a step
        # took 4.1 s instead of 5.2 on 2 cores.
        "full": _FAST.replace(recipe="full", epochs=18, train_on="train+validation", grad_accumulation=2),
        "long": _FAST.replace(
            recipe="long",
            model_config={"widths": [96, 256, 384], "depth": 3},
            epochs=80,
            crop_padding=4,
            cutout=12,
            eval_every=2,
        ),
    },
    "resnet18": {"default": _RESNET18, "quick": _RESNET18.replace(recipe="quick", epochs=3)},
    "flow_unet": {
        "default": _FLOW,
        "quick": _FLOW.replace(recipe="quick", epochs=14),
    },
    "compact_transformer": {
        "default": _TRANSFORMER,
        "quick": _TRANSFORMER.replace(recipe="quick", epochs=4, average_decay=0.99),
        "long": _TRANSFORMER.replace(
            recipe="long",
            model_config={"stochastic_depth": 0.1},
            epochs=200,
            lr=1e-3,
            crop_padding=4,
            auto_augment="trivialaugment",
            average_decay=0.9995,
            eval_every=2,
        ),
    },
    "efficientnet_lite0": {
        "default": _HEAD,
        "fine-tuning": _HEAD.replace(
            recipe="fine-tuning", train_layers="all", epochs=10, flip="random", crop_padding=2, eval_every=1
        ),
    },
    "char_lstm": {
        "default": _LSTM,
        "quick": _QUICK_LSTM,
    },
    "char_gru": {
        "default": _LSTM.replace(model="char_gru", lr=2e-3, model_config={"dropout": 0.4}),
        "quick": _QUICK_LSTM.replace(model="char_gru"),
    },
    "char_rnn": {
        "default": _LSTM.replace(model="char_rnn", lr=1e-3, model_config={"dropout": 0.2}),
        "quick": _QUICK_LSTM.replace(model="char_rnn", lr=2e-3),
    },
    "char_gpt": {
        "default": _GPT,
        "quick": _GPT.replace(
            recipe="quick",
            epochs=3,
            batch_size=16,
            window=128,
            lr=3e-3,
            warmup=0.05,
            model_config={"width": 128, "layers": 4, "heads": 4, "context": 128, "dropout": 0.0},
            eval_every=0.25,
        ),
    },
}

LONGER_RATE = 0.25
"""Share of its learning rates that a finished run goes on with: it ended at a rate near 0, and the first one would undo it."""


STARTS = ("longer", "fine-tuning", "head")
"""How a run goes on from a checkpoint: on what that was trained on, on other data with all layers, or with the head alone."""


def recipe_from(card: Card, name: str, how: str) -> TrainConfig:
    """The recipe of a run that goes on from the checkpoint `name` with that card. how: one of STARTS.

    `longer` is the checkpoint's own recipe at a lower rate, `fine-tuning` its model's, with the body at a tenth of that;
    in both the rate only falls, without a warm-up. Raises LabError where the card does not say how its network was trained.
    """
    kept = {
        key: card.model_config[key] for key in ("upscale_to",) if key in card.model_config
    }  # what the speed depends on
    start: dict[str, Any] = {"model": card.model, "init_from": name, "recipe": how, "model_config": kept}
    if how == "head":
        return _HEAD.replace(**start)
    recipe = own_recipe(card) if how == "longer" else RECIPES.get(card.model, {}).get(how)
    if how == "longer" and recipe is None:
        raise LabError(f"The card of {card.title[:100]} does not say how it was trained: choose fine-tuning.")
    recipe = recipe or get_recipe(card.model, "default")
    gentle: dict[str, Any] = {"schedule": "cosine", "warmup": 0.0, "compile": False}
    if how == "longer" or card.task == "text":
        gentle |= {key: getattr(recipe, key) * LONGER_RATE for key in ("lr", "bias_lr", "head_lr")}
    if how == "longer":
        gentle |= {"body_lr_factor": 1.0, "device": "auto", "precision": "auto"}
    return recipe.replace(**start | gentle)


def base_recipe(config: TrainConfig) -> TrainConfig | None:
    """The recipe that a run's settings started from; None where it is not known any more."""
    if config.init_from and config.init_from not in BACKBONES and config.recipe in STARTS:
        try:
            return recipe_from(find_checkpoint(config.init_from).card, config.init_from, config.recipe)
        except LabError:
            return None
    return RECIPES.get(config.model, {}).get(config.recipe)


def own_recipe(card: Card) -> TrainConfig | None:
    """How the network was trained; None where its card does not say it, or says it in settings of another version."""
    try:
        return TrainConfig.from_dict(card.recipe) if card.recipe.get("model") == card.model else None
    except LabError:
        return None


MEASURED: dict[tuple[str, str], str] = {
    (
        "efficientnet_lite0",
        "default",
    ): "83.3 ± 0.9% from 100 images of a class, 86.7 ± 0.6% from 1,000, on 2,000 test images (seeds 0 to 2).",
    ("simple_cnn", "default"): "81.45 ± 0.26% on an image and its mirror image, 79.77 ± 0.34% alone (seeds 0 to 2).",
    ("simple_cnn", "quick"): "72.6 ± 0.7% on an image and its mirror image (seeds 0 to 2).",
    ("simple_cnn", "textbook"): "71.1% (seed 0); the usual script, but for normalised pixels.",
    ("fast_resnet", "default"): "93.7% on six views of an image, 93.0% on the image alone (seed 0).",
    (
        "flow_unet",
        "quick",
    ): "Fast ResNet recognises 81.6% of 5,000 generated images, and 93.8% of real ones (seed 0).",
    (
        "compact_transformer",
        "default",
    ): "84.9% on an image and its mirror image, 83.7% on the image alone (seed 0).",
    ("char_lstm", "default"): "1.439 nats, 2.076 bits per character (seed 0).",
    ("char_lstm", "quick"): "1.712 ± 0.009 nats (seeds 0 to 2).",
    ("char_gru", "quick"): "1.594 nats (seed 0): at this size and length it learns faster than the LSTM.",
    ("char_rnn", "quick"): "1.804 ± 0.008 nats (seeds 0 to 2).",
    ("char_gpt", "default"): "1.464 nats, 2.112 bits per character (seed 0).",
    ("char_gpt", "quick"): "1.708 ± 0.007 nats (seeds 0 to 2).",
    ("fast_resnet", "full"): "94.3% on six views of an image, 93.5% on the image alone (seed 0).",
}
"""Test accuracy, or the loss on the validation part of the text; a recipe that is not here was not measured by us yet."""


MOST_EPOCHS = 300
"""Upper limit of the epochs proposed for a small dataset: with more passes a network mostly memorises it."""
FEWEST_EVALUATIONS = 10
"""Of a recipe that is stretched: the best weights are chosen among those evaluated."""


def get_recipe(model: str, recipe: str) -> TrainConfig:
    """The config of a recipe. Raises LabError with the known names."""
    if model not in RECIPES:
        raise LabError(f"There is no recipe for a model named {model[:60]!r}: choose one of {', '.join(RECIPES)}.")
    if recipe not in RECIPES[model]:
        raise LabError(f"{model} has no recipe named {recipe[:60]!r}: choose one of {', '.join(RECIPES[model])}.")
    return RECIPES[model][recipe]


def fit_to_data(recipe: TrainConfig, examples: int) -> TrainConfig:
    """The recipe for a dataset of `examples` training images or characters: as many steps as on the recipe's own dataset.

    A recipe's learning rates, warm-up and averages were fixed for a number of steps. As many epochs would be a handful of
    steps on a small dataset, which learns nothing, and hours on a large one. At least 1 epoch, so that everything is seen
    once, and at most MOST_EPOCHS; evaluations become as rare as epochs become short, or each would cost more than its steps.
    """
    if recipe.train_layers == "head":
        return recipe
    own = sum(DATASETS[recipe.dataset].sizes()[part] for part in recipe.train_on.split("+"))
    wanted = recipe.epochs * _steps_per_epoch(recipe, own)
    epochs = min(max(wanted / _steps_per_epoch(recipe, examples), 1.0), float(MOST_EPOCHS))
    epochs = float(f"{epochs:.2g}") if epochs < 100 else round(epochs, -1)
    return recipe.replace(epochs=epochs, eval_every=evaluations_for(recipe, epochs))


def evaluations_for(recipe: TrainConfig, epochs: float) -> float:
    """Epochs between evaluations where the recipe is run for so many: about as many evaluations as it has, or some more."""
    stretched = recipe.eval_every * epochs / recipe.epochs
    eval_every = max(recipe.eval_every, min(stretched, epochs / FEWEST_EVALUATIONS))
    return float(f"{min(eval_every, epochs):.2g}")


def _steps_per_epoch(config: TrainConfig, examples: int) -> int:
    if MODELS[config.model].task == "text":
        return text_windows(config, examples).steps
    return max(1, examples // config.batch_size)


def describe_recipe(model: str, recipe: str) -> str:
    """What the recipe does and what it was measured to give."""
    config = get_recipe(model, recipe)
    return f"{describe_training(config)} {measured_result(config) or 'Not measured by us yet.'}"


def describe_training(config: TrainConfig) -> str:
    """`3 epochs, batches of 128, adamw.`"""
    if MODELS[config.model].task == "text":
        batches = f"{config.batch_size} streams of {config.window} characters"
    else:
        batches = f"batches of {config.batch_size}"
    images = ", on training and validation images" if config.train_on != "train" else ""
    layers = ", the last layer only" if config.train_layers == "head" else ""
    return f"{config.epochs:g} {'epoch' if config.epochs == 1 else 'epochs'}, {batches}, {config.optimizer}{layers}{images}."


def measured_result(config: TrainConfig) -> str:
    """What such a run was measured to give: `CIFAR-10: 72.6 ± 0.7% …`; empty where it is not the recipe that was measured."""
    recipe = RECIPES.get(config.model, {}).get(config.recipe)
    found = MEASURED.get((config.model, config.recipe))
    return (
        f"{DATASETS[recipe.dataset].title}: {found}" if recipe and found and not changed_fields(config, recipe) else ""
    )


NO_MATTER = ("seed", "device", "snapshots")
"""Fields that change nothing of what a run is expected to give."""


def changed_fields(config: TrainConfig, recipe: TrainConfig) -> list[str]:
    """Names of the settings in which a run differs from its recipe, but for those that do not matter for its result."""
    mine, its = config.to_dict(), recipe.to_dict()
    return [name for name in its if name not in NO_MATTER and mine[name] != its[name]]
