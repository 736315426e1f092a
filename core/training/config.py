"""The full description of a training run. A run folder holds one as JSON; nothing else is needed to repeat the run."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from core.common.errors import LabError
from core.common.values import finite
from core.models import TTA_LEVELS

OPTIMIZERS = ("adam", "adamw", "sgd", "muon")
SCHEDULES = ("constant", "cosine", "triangular")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
FLIPS = ("none", "random", "alternating")
AVERAGES = ("none", "ema")
AUTO_AUGMENTS = ("none", "trivialaugment")
KEEPS = ("best", "last")
IMAGES_ONLY = (
    "train_images",
    "train_on",
    "grad_accumulation",
    "flip",
    "crop_padding",
    "auto_augment",
    "cutout",
    "mixup",
    "cutmix",
    "probe_images",
    "tta",
)
"""Fields that mean nothing for a text."""
TEXT_ONLY = ("window", "state_reset")
"""Fields that mean nothing for pictures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """One training run. Raises LabError (a ValueError) with the valid range for any value outside it."""

    model: str = "simple_cnn"
    """Name in `core.models.MODELS`."""
    model_config: dict[str, Any] = field(default_factory=dict)
    """Fields of that model's config that differ from its defaults; class count and image size, or the vocabulary, come from
    the dataset."""
    dataset: str = "cifar10"
    """Name in `core.data.DATASETS`, `folder:<path>` for pictures, or `text:<path>` for a text."""
    recipe: str = "default"
    """The preset this config started from; for people, it changes nothing."""
    seed: int = 0
    """Seeds initial weights, data order, augmentation and dropout."""

    epochs: float = 10.0
    """Passes over the training images or characters; may be a fraction."""
    train_images: int = 0
    """Use only this many training images (stratified, seeded); 0 = all."""
    train_on: str = "train"
    """`train`, or `train+validation` for a recipe that was fixed on validation before (its validation figures then
    say nothing)."""
    batch_size: int = 128
    """Images per optimizer step; for text, streams that are read side by side."""
    window: int = 128
    """Text: characters of each stream per optimizer step; gradients go back no further."""
    state_reset: float = 0.02
    """Text: probability that a recurrent model forgets a stream's state before a window. Without it, it would hardly ever see
    a text begin, and start every prompt with nonsense."""
    grad_accumulation: int = 1
    """Split each batch into this many pieces to save memory; the step stays the same but for batch-norm statistics."""

    optimizer: str = "adamw"
    """`adam`, `adamw`, `sgd` (Nesterov) or `muon` (conv filters by Muon, the rest by SGD)."""
    lr: float = 1e-3
    """Peak learning rate (for Muon: that of the conv filters)."""
    momentum: float = 0.9
    """Momentum of SGD and Muon, beta1 of Adam(W)."""
    weight_decay: float = 0.0
    """AdamW: decoupled, weights shrink by lr x this a step. Adam and SGD: an L2 gradient. Muon: an L2 gradient of this/lr
    for biases and head, so that their decay does not depend on their rates; none for conv filters, whose norm is fixed."""
    l1: float = 0.0
    """L1 penalty: this times the sum of |w| over all trained weights but biases and norms is added to the objective; the
    reported loss leaves it out (Tibshirani 1996, the lasso)."""
    bias_lr: float = 0.0
    """`muon` and `sgd`: learning rate of biases and norms; 0 = same as `lr`."""
    head_lr: float = 0.0
    """`muon`: learning rate of the linear head; 0 = same as `lr`."""
    schedule: str = "cosine"
    """`constant`, `cosine` or `triangular` (linear up, linear down); all after the warm-up."""
    warmup: float = 0.0
    """Fraction of all steps spent raising the learning rate linearly from 0."""
    grad_clip: float = 0.0
    """Largest gradient norm; 0 = off."""
    label_smoothing: float = 0.0
    """Probability mass spread over all classes or characters."""

    flip: str = "none"
    """Horizontal flips: `none`, `random`, or `alternating` (random in epoch 0, then every image in turn;
    arXiv:2404.00498)."""
    crop_padding: int = 0
    """Random crops: shifts by up to this many pixels, with reflected borders."""
    auto_augment: str = "none"
    """Random changes of colour and geometry after flip and crop: `none` or `trivialaugment` (one of any strength an image,
    arXiv:2103.10158)."""
    cutout: int = 0
    """Side of the square hidden in each training image, pixels; 0 = off (arXiv:1708.04552)."""
    mixup: float = 0.0
    """Blend images and labels of each batch in pairs, with a share drawn from Beta(this, this); 0 = off
    (arXiv:1710.09412)."""
    cutmix: float = 0.0
    """Paste a box of another image of the batch, and mix the labels by its area, with a share drawn from Beta(this, this);
    0 = off (arXiv:1905.04899). Beside mixup, each batch takes one of the two."""

    average: str = "none"
    """Averaged weights: `none` or `ema` (for evaluation only)."""
    average_decay: float = 0.999
    """Share of the old average kept at an update."""
    average_every: int = 1
    """Optimizer steps between updates of the average."""
    early_stopping: int = 0
    """Stop after this many evaluations without a better validation accuracy (text: loss); 0 = off."""
    eval_every: float = 1.0
    """Epochs between evaluations on validation."""
    probe_images: int = 0
    """At each evaluation, measure this many training images too, not augmented, so that the gap to validation compares like
    with like; 0 = off."""
    keep: str = "best"
    """Which weights are the run's result: `best`, those of the best validation accuracy (text: loss), or `last`, those at
    its end."""
    snapshots: int = 0
    """Checkpoints to keep on the way, spread evenly over the evaluations, to see later how the network learned; the untrained
    network is kept too. Each takes the room of its weights on disk; 0 = none."""
    tta: str = "none"
    """Test-time augmentation of the finished checkpoint: `none`, `flip`, `flip+shift`. Training never uses it."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:N`, `mps`."""
    precision: str = "auto"
    """Arithmetic of the forward and backward pass; `auto` = bfloat16 on CUDA, float32 elsewhere."""
    compile: bool = False
    """`torch.compile` the model: worth it on a GPU for runs over a minute; on a CPU it halved the speed."""

    def __post_init__(self) -> None:
        def need(ok: bool, name: str, valid: str) -> None:
            if not ok:
                raise LabError(f"{name}={repr(getattr(self, name))[:60]} is not valid: {name} must be {valid}.")

        def number(name: str, low: float, high: float, *, whole: bool = False, open_low: bool = False) -> None:
            value = getattr(self, name)
            fits = finite(value) and (isinstance(value, int) or not whole)
            low_ok = fits and (value > low if open_low else value >= low)
            most = f"{high:,}" if isinstance(high, int) else f"{high:,g}"
            bound = f"{'above' if open_low else 'at least'} {low:g} and at most {most}"
            need(low_ok and value <= high, name, f"{'a whole number' if whole else 'a number'} {bound}")

        for name in ("model", "dataset", "recipe"):
            value = getattr(self, name)
            need(isinstance(value, str) and 0 < len(value) <= 1000, name, "a name")
        need(isinstance(self.model_config, dict), "model_config", "a mapping of names to values")
        need(isinstance(self.compile, bool), "compile", "true or false")
        need(
            self.device in ("auto", "cpu", "cuda", "mps")
            or (isinstance(self.device, str) and self.device.startswith("cuda:") and self.device[5:].isdigit()),
            "device",
            "auto, cpu, cuda, cuda:N or mps",
        )
        for name, options in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("flip", FLIPS),
            ("auto_augment", AUTO_AUGMENTS),
            ("average", AVERAGES),
            ("keep", KEEPS),
            ("tta", TTA_LEVELS),
            ("precision", PRECISIONS),
            ("train_on", ("train", "train+validation")),
        ):
            need(getattr(self, name) in options, name, "one of " + ", ".join(options))
        number("seed", 0, 2**31 - 1, whole=True)
        number("epochs", 0, 10_000, open_low=True)
        number("train_images", 0, 10**9, whole=True)
        number("batch_size", 1, 100_000, whole=True)
        number("window", 1, 8192, whole=True)
        number("state_reset", 0, 1)
        number("grad_accumulation", 1, self.batch_size, whole=True)
        number("lr", 0, 10_000, open_low=True)
        number("momentum", 0, 0.9999)
        number("weight_decay", 0, 100)
        number("l1", 0, 1)
        number("bias_lr", 0, 10_000)
        number("head_lr", 0, 10_000)
        number("warmup", 0, 1)
        number("grad_clip", 0, 1e9)
        number("label_smoothing", 0, 0.999)
        number("crop_padding", 0, 16, whole=True)
        number("cutout", 0, 64, whole=True)
        number("mixup", 0, 10)
        number("cutmix", 0, 10)
        number("average_decay", 0, 0.999999)
        number("average_every", 1, 10**6, whole=True)
        number("early_stopping", 0, 10**6, whole=True)
        number("eval_every", 0, 10_000, open_low=True)
        number("probe_images", 0, 10**9, whole=True)
        number("snapshots", 0, 50, whole=True)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Rebuild from JSON. Raises LabError for a field this version does not know."""
        unknown = sorted(set(values) - {item.name for item in dataclasses.fields(cls)})
        if unknown:
            raise LabError(f"The configuration has unknown fields ({', '.join(unknown)}): remove them.")
        return cls(**values)

    def replace(self, **changes: Any) -> TrainConfig:
        return dataclasses.replace(self, **changes)


@cache
def field_docs(kind: type = TrainConfig) -> dict[str, str]:
    """The sentence under each field of a config, as one line: what pages and commands say about it."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for item, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and isinstance(text, ast.Expr):
            found[item.target.id] = " ".join(str(ast.literal_eval(text.value)).replace("`", "").split())
    return found
