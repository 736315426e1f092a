"""The full description of a training run. A run folder holds one as JSON; nothing else is needed to repeat the run."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from core.common.errors import LabError
from core.common.settings import Name, Seed, Settings
from core.models import TtaLevel
from core.training.augmentation import check_pipeline

IMAGES_ONLY = (
    "train_layers",
    "body_lr_factor",
    "train_images",
    "train_on",
    "extra_dataset",
    "extra_images",
    "extra_only",
    "balance",
    "grad_accumulation",
    "devices",
    "flip",
    "crop_padding",
    "auto_augment",
    "augmentation",
    "augmix",
    "consistency",
    "noise",
    "cutout",
    "mixup",
    "cutmix",
    "probe_images",
    "tta",
)
"""Fields that mean nothing for a text."""
AUGMENTATION = (
    *("flip", "crop_padding", "auto_augment", "augmentation", "augmix", "consistency"),
    *("noise", "cutout", "mixup", "cutmix"),
)
"""Fields that change training images anew in every epoch; each is off by default."""
TEXT_ONLY = ("window", "state_reset")
"""Fields that mean nothing for images."""
CLASSIFIERS_ONLY = (
    *("train_layers", "devices", "balance", "auto_augment", "augmentation", "augmix", "consistency", "noise"),
    *("cutout", "mixup", "cutmix", "label_smoothing", "tta"),
    *("extra_dataset", "extra_images", "extra_only"),
)
"""Fields that mean nothing for a generator of images, or would change what it learns to make."""
Fraction = Annotated[float, Field(ge=0, le=1)]
LearningRate = Annotated[float, Field(ge=0, le=10_000)]
Epochs = Annotated[float, Field(gt=0, le=10_000)]
ImageCount = Annotated[int, Field(ge=0, le=10**9)]


def check_device(name: str) -> str:
    """The name of a device as it is. Raises LabError for what is no such name; whether the device is here is not asked."""
    if name not in ("auto", "cpu", "cuda", "mps") and not (name.startswith("cuda:") and name[5:].isdigit()):
        raise LabError(f"device={name[:60]!r} is not valid: device must be auto, cpu, cuda, cuda:N or mps.")
    return name


def check_shares(devices: int, batch_size: int) -> None:
    """Raises LabError for a batch that cannot be shared evenly."""
    if batch_size % devices:
        raise LabError(
            f"devices={devices} cannot share a batch of {batch_size}: set batch_size to a multiple of {devices}."
        )


Device = Annotated[str, AfterValidator(check_device)]


class TrainConfig(Settings):
    """One training run. Raises LabError (a ValueError) with the valid range for any value outside it."""

    model: Name = "simple_cnn"
    """Name in `core.models.MODELS`."""
    model_settings: dict[str, Any] = Field(default_factory=dict, alias="model_config")
    """Fields of that model's config that differ from its defaults; class count and image size, or the vocabulary, come from
    the dataset."""
    dataset: Name = "cifar10"
    """Name in `core.data.DATASETS`, `folder:<path>` for images, or `text:<path>` for a text."""
    recipe: Name = "default"
    """The preset this config started from; for people, it changes nothing."""
    init_from: str = ""
    """Checkpoint whose weights training starts from, or `efficientnet_lite0` for weights of ImageNet; empty = random weights.
    Model, settings and normalisation are the checkpoint's; a head for other classes starts anew."""
    train_layers: Literal["all", "head"] = "all"
    """`all`, or `head`: only the last layer, on features that the rest of the network computes once."""
    body_lr_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    """With `init_from`: the learning rate of all layers but the head, as a share of `lr`."""
    seed: Seed = 0
    """Seeds initial weights, data order, augmentation and dropout."""

    epochs: Epochs = 10.0
    """Passes over the training images or characters; may be a fraction."""
    train_images: ImageCount = 0
    """Use only this many training images (stratified, seeded); 0 = all."""
    train_on: Literal["train", "train+validation"] = "train"
    """`train`, or `train+validation` for a recipe that was fixed on validation before (its validation figures then
    say nothing)."""
    extra_dataset: str = ""
    """Dataset of the same classes and image size whose training images are added, such as `generated:<id>`; empty = none."""
    extra_images: ImageCount = 0
    """How many images of `extra_dataset` are added (stratified, seeded); 0 = all."""
    extra_only: bool = False
    """Train on the images of `extra_dataset` alone; those of the dataset are left out."""
    balance: Literal["none", "weights", "sampling"] = "none"
    """Where classes differ in size: `weights` counts an image of a rare class more in the loss, `sampling` draws images so
    that each class comes equally often, rare ones repeatedly."""
    batch_size: Annotated[int, Field(ge=1, le=100_000)] = 128
    """Images per optimizer step; for text, streams that are read side by side."""
    window: Annotated[int, Field(ge=1, le=8192)] = 128
    """Text: characters of each stream per optimizer step; gradients go back no further."""
    state_reset: Fraction = 0.02
    """Text: probability that a recurrent model forgets a stream's state before a window. Without it, it would hardly ever see
    a text begin, and start every prompt with nonsense."""
    grad_accumulation: Annotated[int, Field(ge=1)] = 1
    """Split each batch into this many pieces to save memory; the step stays the same but for batch-norm statistics."""
    devices: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that share each batch, each with a GPU, or on the CPU with its part of the threads; the step stays the same but
    for batch-norm statistics and which units dropout drops."""

    optimizer: Literal["adam", "adamw", "sgd", "muon"] = "adamw"
    """`adam`, `adamw`, `sgd` (Nesterov) or `muon` (conv filters by Muon, the rest by SGD)."""
    lr: Annotated[float, Field(gt=0, le=10_000)] = 1e-3
    """Peak learning rate (for Muon: that of the conv filters)."""
    momentum: Annotated[float, Field(ge=0, le=0.9999)] = 0.9
    """Momentum of SGD and Muon, beta1 of Adam(W)."""
    weight_decay: Annotated[float, Field(ge=0, le=100)] = 0.0
    """AdamW: decoupled, weights shrink by lr x this a step. Adam and SGD: an L2 gradient. Muon: an L2 gradient of this/lr
    for biases and head, so that their decay does not depend on their rates; none for conv filters, whose norm is fixed."""
    l1: Fraction = 0.0
    """L1 penalty: this times the sum of |w| over all trained weights but biases and norms is added to the objective; the
    reported loss leaves it out (Tibshirani 1996, the lasso)."""
    bias_lr: LearningRate = 0.0
    """`muon` and `sgd`: learning rate of biases and norms; 0 = same as `lr`."""
    head_lr: LearningRate = 0.0
    """`muon`: learning rate of the linear head; 0 = same as `lr`."""
    schedule: Literal["constant", "cosine", "triangular"] = "cosine"
    """`constant`, `cosine` or `triangular` (linear up, linear down); all after the warm-up."""
    warmup: Fraction = 0.0
    """Fraction of all steps spent raising the learning rate linearly from 0."""
    grad_clip: Annotated[float, Field(ge=0, le=10**9)] = 0.0
    """Largest gradient norm; 0 = off."""
    label_smoothing: Annotated[float, Field(ge=0, le=0.999)] = 0.0
    """Probability mass spread over all classes or characters."""

    flip: Literal["none", "random", "alternating"] = "none"
    """Horizontal flips: `none`, `random`, or `alternating` (random in epoch 0, then every image in turn;
    arXiv:2404.00498)."""
    crop_padding: Annotated[int, Field(ge=0, le=16)] = 0
    """Random crops: shifts by up to this many pixels, with reflected borders."""
    auto_augment: Literal["none", "trivialaugment"] = "none"
    """Random changes of colour and geometry after flip and crop: `none` or `trivialaugment` (one of any strength an image,
    arXiv:2103.10158)."""
    augmentation: Annotated[str, AfterValidator(check_pipeline)] = ""
    """A pipeline of transforms after flip, crop and auto-augment, as `flip@0.5 rotate:0.3@0.5`: transform, strength 0 to 1 after
    a colon, probability after an @; empty = off."""
    augmix: Annotated[int, Field(ge=0, le=10)] = 0
    """Mix each training image with three chains of random changes, of this severity at most; 0 = off (arXiv:1912.02781)."""
    consistency: Annotated[float, Field(ge=0, le=100)] = 0.0
    """With `augmix`: weight of the Jensen-Shannon divergence between the answers to an image and to two augmented views of it,
    which makes a step three times the work; 0 = train on one augmented view."""
    noise: Fraction = 0.0
    """Gaussian noise on half of the training images: its standard deviation as a share of the pixels' range; 0 = off
    (arXiv:2001.06057)."""
    cutout: Annotated[int, Field(ge=0, le=64)] = 0
    """Side of the square hidden in each training image, pixels; 0 = off (arXiv:1708.04552)."""
    mixup: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Blend images and labels of each batch in pairs, with a share drawn from Beta(this, this); 0 = off
    (arXiv:1710.09412)."""
    cutmix: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Paste a box of another image of the batch, and mix the labels by its area, with a share drawn from Beta(this, this);
    0 = off (arXiv:1905.04899). Beside mixup, each batch takes one of the two."""

    average: Literal["none", "ema"] = "none"
    """Averaged weights: `none` or `ema` (for evaluation only)."""
    average_decay: Annotated[float, Field(ge=0, le=0.999999)] = 0.999
    """Share of the old average kept at an update."""
    average_every: Annotated[int, Field(ge=1, le=10**6)] = 1
    """Optimizer steps between updates of the average."""
    early_stopping: Annotated[int, Field(ge=0, le=10**6)] = 0
    """Stop after this many evaluations without a better validation accuracy (text: loss); 0 = off."""
    eval_every: Epochs = 1.0
    """Epochs between evaluations on validation."""
    probe_images: ImageCount = 0
    """At each evaluation, measure this many training images too, not augmented, so that the gap to validation compares like
    with like; 0 = off."""
    keep: Literal["best", "last"] = "best"
    """Which weights are the run's result: `best`, those of the best validation accuracy (text: loss), or `last`, those at
    its end."""
    snapshots: Annotated[int, Field(ge=0, le=50)] = 0
    """Checkpoints to keep on the way, spread evenly over the evaluations, to see later how the network learned; the untrained
    network is kept too. Each takes the room of its weights on disk; 0 = none."""
    tta: TtaLevel = "none"
    """Test-time augmentation of the finished checkpoint: `none`, `flip`, `flip+shift`. Training never uses it."""

    device: Device = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:N`, `mps`."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of the forward and backward pass; `auto` = bfloat16 on CUDA, float32 elsewhere."""
    compile: bool = False
    """`torch.compile` the model: worth it on a GPU for runs over a minute; on a CPU it halved the speed."""

    @model_validator(mode="after")
    def _check_pieces(self) -> TrainConfig:
        if self.grad_accumulation > self.batch_size:
            raise LabError(
                f"grad_accumulation={self.grad_accumulation} is not valid: grad_accumulation must be at most the batch size, "
                f"{self.batch_size}."
            )
        return self

    @model_validator(mode="after")
    def _check_devices(self) -> TrainConfig:
        if self.devices == 1:
            return self
        check_shares(self.devices, self.batch_size)
        if self.train_layers == "head":
            raise LabError(
                f"devices={self.devices} cannot be used with train_layers='head', which is quick on one: set devices to 1."
            )
        return self

    @model_validator(mode="after")
    def _check_extra(self) -> TrainConfig:
        if not self.extra_dataset and (self.extra_images or self.extra_only):
            given = f"extra_images={self.extra_images}" if self.extra_images else "extra_only=True"
            raise LabError(
                f"{given} needs a dataset to take images from: set extra_dataset to one of the same classes."
            )
        if self.extra_dataset and self.extra_dataset == self.dataset:
            raise LabError("extra_dataset is the dataset of the run itself: raise train_images, or choose another.")
        return self

    @model_validator(mode="after")
    def _check_views(self) -> TrainConfig:
        if self.consistency and not self.augmix:
            raise LabError(
                f"consistency={self.consistency:g} is not valid: it compares views by augmix, so set augmix, to 3 for example."
            )
        return self

    @model_validator(mode="after")
    def _check_start(self) -> TrainConfig:
        if self.train_layers == "all":
            return self
        if not self.init_from:
            raise LabError(
                "train_layers='head' needs a network that has learned something: set init_from to a checkpoint."
            )
        usual = TrainConfig.model_fields
        for name in AUGMENTATION:
            if (value := getattr(self, name)) != usual[name].default:
                raise LabError(
                    f"{name}={value!r} cannot be used with train_layers='head', whose features are computed once: set {name} "
                    f"to {usual[name].default!r}, or train all layers."
                )
        return self
