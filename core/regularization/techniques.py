"""Regularization techniques: one class each, with its strength, how it works and its paper. Nothing here imports torch.

A technique is a change of a TrainConfig and nothing else: the one trainer does the work, so all arms of a study
share one loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from core.checkpoints.backbone import BACKBONES
from core.common.errors import LabError
from core.common.values import finite
from core.models import DESIGNS
from core.training.augmentation import check_pipeline, parse_pipeline
from core.training.config import TrainConfig


def plain_number(value: float) -> str:
    """`0.3`, `2`, `0.0001`: what a person types, and what gives the same number when it is read again."""
    return f"{value:.10g}"


IMAGE_MODELS = tuple(name for name, entry in DESIGNS.items() if entry.task == "images" and name not in BACKBONES)
"""Those that are trained from random weights: on learned ones, an arm would have little left to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Technique:
    """What all have in common. Raises LabError for a strength outside `low`..`high`."""

    strength: float
    """How strongly it acts; what it measures is `unit`."""

    name: ClassVar[str]
    """What a command or a link calls it."""
    title: ClassVar[str]
    how: ClassVar[str]
    """How it works, in a sentence."""
    paper: ClassVar[str]
    url: ClassVar[str]
    unit: ClassVar[str] = ""
    """What the strength is; empty for a technique that is either on or off."""
    low: ClassVar[float] = 1
    high: ClassVar[float] = 1
    default: ClassVar[float] = 1
    grid: ClassVar[tuple[float, ...]] = (1,)
    """Strengths worth trying, from weak to strong: what `tune` stands for."""
    whole: ClassVar[bool] = False
    """Whether the strength is a whole number."""
    models: ClassVar[tuple[str, ...]] = IMAGE_MODELS
    """Models it can be used with."""
    reads_extra: ClassVar[bool] = False
    """Whether a run with it takes images from the study's `extra_dataset`."""

    def __post_init__(self) -> None:
        valid = finite(self.strength) and self.low <= self.strength <= self.high
        if not valid or (self.whole and self.strength != int(self.strength)):
            kind = "a whole number" if self.whole else "a number"
            shown = plain_number(self.strength) if finite(self.strength) else str(self.strength)
            raise LabError(
                f"{self.name}={shown[:40]} is not valid: the {self.unit or 'strength'} of "
                f"{self.name} must be {kind} from {self.low:g} to {self.high:g}."
            )

    @property
    def spec(self) -> str:
        """`dropout=0.3`; the name alone where there is no strength to choose."""
        return f"{self.name}={plain_number(self.strength)}" if self.unit else self.name

    @property
    def label(self) -> str:
        """`Dropout 0.3`, for people."""
        return f"{self.title} {plain_number(self.strength)}" if self.unit else self.title

    def images(self, real: int) -> int:
        """Training images of a run with it, where the run without it has so many."""
        return real

    def apply(self, config: TrainConfig) -> TrainConfig:
        """The config with this technique switched on: the field of its name set to its strength."""
        return config.replace(**{self.name: int(self.strength) if self.whole else self.strength})


class ModelTechnique(Technique):
    """A technique that is a setting of the model."""

    def apply(self, config: TrainConfig) -> TrainConfig:
        return config.replace(model_config=config.model_settings | {self.name: self.strength if self.unit else True})


class L2(Technique):
    name = "l2"
    title = "L2 (weight decay)"
    how = (
        "Every step shrinks all weights by learning rate × strength, apart from the gradient, so that no weight grows "
        "larger than the data ask for."
    )
    paper = "Loshchilov & Hutter 2019, Decoupled weight decay regularization"
    url = "https://arxiv.org/abs/1711.05101"
    unit = "decay"
    low, high, default = 0.0, 10.0, 0.3
    grid = (0.1, 0.3, 1.0, 3.0)

    def apply(self, config: TrainConfig) -> TrainConfig:
        return config.replace(weight_decay=self.strength)


class L1(Technique):
    name = "l1"
    title = "L1"
    how = "Adds strength × the sum of all absolute weights to what is minimised, which pushes small weights to zero."
    paper = "Tibshirani 1996, Regression shrinkage and selection via the lasso"
    url = "https://doi.org/10.1111/j.2517-6161.1996.tb02080.x"
    unit = "penalty"
    low, high, default = 0.0, 0.1, 1e-4
    grid = (3e-5, 1e-4, 3e-4)


class Dropout(ModelTechnique):
    name = "dropout"
    title = "Dropout"
    how = "Hides a random share of the last layer's inputs at every step, so that no unit can rely on another one."
    paper = "Srivastava et al. 2014, Dropout: a simple way to prevent neural networks from overfitting"
    url = "https://jmlr.org/papers/v15/srivastava14a.html"
    unit = "probability"
    low, high, default = 0.0, 0.95, 0.3
    grid = (0.1, 0.3, 0.5, 0.7)


class SpatialDropout(ModelTechnique):
    name = "spatial_dropout"
    title = "Spatial dropout"
    how = "Hides whole feature maps after each block: single pixels of a map tell each other what was hidden."
    paper = "Tompson et al. 2015, Efficient object localization using convolutional networks"
    url = "https://arxiv.org/abs/1411.4280"
    unit = "probability"
    low, high, default = 0.0, 0.95, 0.1
    grid = (0.05, 0.1, 0.2)
    models = ("simple_cnn", "fast_resnet", "resnet18")  # it needs blocks of convolutions


class Augment(Technique):
    name = "augment"
    title = "Flip + crop"
    how = "Mirrors half of the images and moves each by up to this many pixels, which leaves its class alone."
    paper = "Krizhevsky et al. 2012, ImageNet classification with deep convolutional neural networks"
    url = "https://papers.nips.cc/paper/4824"
    unit = "pixels"
    low, high, default = 0, 8, 2
    grid = (1, 2, 4)
    whole = True

    def apply(self, config: TrainConfig) -> TrainConfig:
        return config.replace(flip="random", crop_padding=int(self.strength))


class Cutout(Technique):
    name = "cutout"
    title = "Cutout"
    how = "Hides a random square of this width in every training image, so that no single part decides."
    paper = "DeVries & Taylor 2017, Improved regularization of convolutional neural networks with cutout"
    url = "https://arxiv.org/abs/1708.04552"
    unit = "pixels"
    low, high, default = 1, 32, 8
    grid = (4, 8, 16)
    whole = True


class Mixup(Technique):
    name = "mixup"
    title = "Mixup"
    how = (
        "Trains on weighted means of two images with the same mean of their labels; weights are drawn from "
        "Beta(strength, strength)."
    )
    paper = "Zhang et al. 2018, mixup: beyond empirical risk minimization"
    url = "https://arxiv.org/abs/1710.09412"
    unit = "alpha"
    low, high, default = 0.01, 10.0, 0.2
    grid = (0.1, 0.2, 0.5, 1.0)


class CutMix(Technique):
    name = "cutmix"
    title = "CutMix"
    how = "Pastes a box out of another image and mixes the two labels by the share of pixels; its size is drawn from Beta."
    paper = "Yun et al. 2019, CutMix: regularization strategy to train strong classifiers"
    url = "https://arxiv.org/abs/1905.04899"
    unit = "alpha"
    low, high, default = 0.01, 10.0, 1.0
    grid = (0.2, 1.0)


class TrivialAugment(Technique):
    name = "trivial_augment"
    title = "TrivialAugment"
    how = "Changes every image by one random operation (rotation, shear, colour, contrast, …) of random strength."
    paper = "Müller & Hutter 2021, TrivialAugment: tuning-free yet state-of-the-art data augmentation"
    url = "https://arxiv.org/abs/2103.10158"

    def apply(self, config: TrainConfig) -> TrainConfig:
        return config.replace(auto_augment="trivialaugment")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pipeline(Technique):
    """Written as `pipeline=flip@0.5 rotate:0.3@0.5`. Raises LabError for steps that are not valid."""

    steps: str = "flip@0.5 crop:0.25"
    """As `core.training.augmentation` writes them."""

    name = "pipeline"
    title = "Pipeline"
    how = "Applies transforms to every image in a fixed order. Each has its own strength and probability."
    paper = "Shorten & Khoshgoftaar 2019, A survey on image data augmentation for deep learning"
    url = "https://doi.org/10.1186/s40537-019-0197-0"

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", check_pipeline(self.steps) or parse_pipeline("").spec)

    @property
    def spec(self) -> str:
        return f"{self.name}={self.steps}"

    @property
    def label(self) -> str:
        return parse_pipeline(self.steps).words

    def apply(self, config: TrainConfig) -> TrainConfig:
        return config.replace(augmentation=self.steps)


class AugMix(Technique):
    name = "augmix"
    title = "AugMix"
    how = (
        "Mixes every image with three chains of random operations up to this strength, and asks for like answers to the image "
        "and two such views (Jensen–Shannon, weight 12). A step costs three."
    )
    paper = "Hendrycks et al. 2020, AugMix: a simple data processing method to improve robustness and uncertainty"
    url = "https://arxiv.org/abs/1912.02781"
    unit = "severity"
    low, high, default = 1, 10, 3
    grid = (1, 3, 5)
    whole = True
    consistency: ClassVar[float] = 12.0
    """The paper's weight."""

    def apply(self, config: TrainConfig) -> TrainConfig:
        return config.replace(augmix=int(self.strength), consistency=self.consistency)


class Noise(Technique):
    name = "noise"
    title = "Gaussian noise"
    how = "Adds Gaussian noise to half of the training images. Its standard deviation is a share of the pixel range."
    paper = "Rusak et al. 2020, A simple way to make neural networks robust against diverse image corruptions"
    url = "https://arxiv.org/abs/2001.06057"
    unit = "deviation"
    low, high, default = 0.0, 1.0, 0.1
    grid = (0.05, 0.1, 0.2)


class LabelSmoothing(Technique):
    name = "label_smoothing"
    title = "Label smoothing"
    how = "Gives every class a little of the target probability, so that the logits stop growing."
    paper = "Szegedy et al. 2016, Rethinking the Inception architecture for computer vision"
    url = "https://arxiv.org/abs/1512.00567"
    unit = "probability mass"
    low, high, default = 0.0, 0.9, 0.1
    grid = (0.05, 0.1, 0.2)


class EarlyStopping(Technique):
    name = "early_stopping"
    title = "Early stopping"
    how = (
        "Stops after this many evaluations without a better validation accuracy, and takes the best weights. All other arms "
        "are compared by their last weights."
    )
    paper = "Prechelt 1998, Early stopping – but when?"
    url = "https://doi.org/10.1007/3-540-49430-8_3"
    unit = "patience"
    low, high, default = 1, 100, 4
    grid = (2, 4, 8)
    whole = True

    def apply(self, config: TrainConfig) -> TrainConfig:
        return config.replace(early_stopping=int(self.strength), keep="best")


class BatchNorm(ModelTechnique):
    name = "batch_norm"
    title = "Batch-norm"
    how = "Scales every feature map to mean 0 and variance 1 over the batch, whose noise acts as a regularizer."
    paper = "Ioffe & Szegedy 2015, Batch normalization"
    url = "https://arxiv.org/abs/1502.03167"
    models = ("simple_cnn",)  # the others have it in every block already


class EMA(Technique):
    name = "ema"
    title = "EMA of weights"
    how = "Predicts with a running average of the weights; the decay is the share of it that stays at every step."
    paper = "Polyak & Juditsky 1992, Acceleration of stochastic approximation by averaging"
    url = "https://doi.org/10.1137/0330046"
    unit = "decay"
    low, high, default = 0.0, 0.9999, 0.99
    grid = (0.98, 0.99, 0.995)

    def apply(self, config: TrainConfig) -> TrainConfig:
        return config.replace(average="ema", average_decay=self.strength)


class StochasticDepth(ModelTechnique):
    name = "stochastic_depth"
    title = "Stochastic depth"
    how = "Skips residual branches at random, deeper ones more often, so that each must be useful by itself."
    paper = "Huang et al. 2016, Deep networks with stochastic depth"
    url = "https://arxiv.org/abs/1603.09382"
    unit = "probability"
    low, high, default = 0.0, 0.95, 0.1
    grid = (0.1, 0.2, 0.5)
    models = ("fast_resnet", "resnet18", "compact_transformer")  # it needs residual connections


class MoreImages(Technique):
    """What other training images do. The strength is how many there are; `extra_dataset` is set before where it is read."""

    unit = "images"
    low, high, default = 1, 500_000, 1000
    grid = (1000, 5000)
    whole = True
    paper = "Ravuri & Vinyals 2019, Classification accuracy score for conditional generative models"
    url = "https://arxiv.org/abs/1905.10887"

    @property
    def label(self) -> str:
        first, _, rest = self.title.partition(" ")
        return f"{first} {int(self.strength):,} {rest}"


class Synthetic(MoreImages):
    name = "synthetic"
    title = "Adding synthetic images"
    how = "Trains on so many images of the extra dataset too, beside all real ones."
    reads_extra = True

    def images(self, real: int) -> int:
        return real + int(self.strength)

    def apply(self, config: TrainConfig) -> TrainConfig:
        return config.replace(extra_images=int(self.strength))


class SyntheticOnly(MoreImages):
    name = "synthetic_only"
    title = "Using synthetic images alone"
    how = "Trains on so many images of the extra dataset, and on no real one, whatever the number of training images."
    reads_extra = True

    def images(self, real: int) -> int:
        return int(self.strength)

    def apply(self, config: TrainConfig) -> TrainConfig:
        return config.replace(extra_images=int(self.strength), extra_only=True)


class MoreReal(MoreImages):
    name = "more_real"
    title = "Adding real images"
    how = "Trains on so many more real images of the dataset: what synthetic ones are compared with."

    def images(self, real: int) -> int:
        return real + int(self.strength)

    def apply(self, config: TrainConfig) -> TrainConfig:
        return config.replace(train_images=config.train_images + int(self.strength))


TECHNIQUES: dict[str, type[Technique]] = {
    kind.name: kind
    for kind in (
        L2,
        L1,
        Dropout,
        SpatialDropout,
        Augment,
        Cutout,
        Mixup,
        CutMix,
        TrivialAugment,
        Pipeline,
        AugMix,
        Noise,
        LabelSmoothing,
        EarlyStopping,
        BatchNorm,
        EMA,
        StochasticDepth,
    )
}
"""In the order in which they are shown, and written in the name of a combination."""
EXTRA_DATA: dict[str, type[Technique]] = {kind.name: kind for kind in (Synthetic, SyntheticOnly, MoreReal)}
"""Arms of a study that has an `extra_dataset`; no form offers them elsewhere."""
ALL_TECHNIQUES = TECHNIQUES | EXTRA_DATA
AUGMENTATIONS = ("augment", "cutout", "mixup", "cutmix", "trivial_augment", "pipeline", "augmix", "noise")
"""Those that change what the network sees, and can be looked at before any training."""


def techniques_for(model: str) -> tuple[str, ...]:
    """Names of the techniques that a model can be trained with."""
    return tuple(name for name, kind in TECHNIQUES.items() if model in kind.models)
