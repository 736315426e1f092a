"""A study: arms × training-set sizes × seeds, fair by construction. Nothing here imports torch.

Every run of a study has the same number of steps, the same batch size and learning-rate schedule. Runs of one seed share
their initial weights, their training images and the order in which they see them; an arm with other images (EXTRA_DATA)
has another order. The strength of a technique is chosen on validation; the test set is looked at once, at the end, and only
for what was chosen.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from core.common.errors import LabError
from core.common.settings import List, Name, Settings
from core.data import dataset_title
from core.regularization.arms import BASELINE, Arm, Variant, parse_arm
from core.regularization.techniques import EXTRA_DATA, IMAGE_MODELS, TECHNIQUES, techniques_for
from core.training.config import Device, TrainConfig

MAX_SEEDS = 50
MAX_RUNS = 2000
MAX_IMAGES = 10**9
OWNED = tuple(
    name for kind in TECHNIQUES.values() for name in kind(strength=kind.default).apply(TrainConfig()).model_settings
)
"""Settings of models that are techniques: all arms sharing one would not be a baseline without regularization."""
MAX_EPOCHS = 10_000
"""What a TrainConfig allows."""
PROBE_IMAGES = 1000
"""Training images that are measured, plain, beside validation."""
LEARNING_RATES = {"simple_cnn": 3e-3, "fast_resnet": 2e-3, "resnet18": 1e-3, "compact_transformer": 1e-3}
"""Of AdamW, which all arms share: its decay is the decoupled one."""
MODEL_CONFIGS: dict[str, dict[str, Any]] = {"fast_resnet": {"depth": 3}}
"""With a residual connection in each block, so that stochastic depth can be compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One run of a study."""

    variant: Variant
    train_size: int
    seed: int

    @property
    def id(self) -> str:
        """Name of its folder: readable, and another one for another member."""
        return f"{_words(self.variant.spec)}-n{self.train_size}-s{self.seed}"

    @property
    def title(self) -> str:
        return f"{self.variant.label}, {self.train_size:,} images, seed {self.seed}"


@cache
def _words(spec: str) -> str:
    return f"{re.sub(r'[^a-z0-9_]+', '-', spec)[:40].strip('-')}-{hashlib.sha256(spec.encode()).hexdigest()[:6]}"


def _check_model(name: str) -> str:
    if name not in IMAGE_MODELS:
        raise LabError(
            f"A study needs an image classifier, and {name[:60]!r} is none: choose one of {', '.join(IMAGE_MODELS)}."
        )
    return name


class StudyConfig(Settings):
    """What is compared. Raises LabError with the valid range for any value outside it."""

    model: Annotated[str, AfterValidator(_check_model)] = "simple_cnn"
    """Name in `core.models.MODELS`; an image classifier."""
    dataset: Name = "cifar10"
    """Name in `core.data.DATASETS`, or `folder:<path>`."""
    extra_dataset: str = ""
    """Dataset of the same classes for the arms synthetic=N, synthetic_only=N and more_real=N, such as `generated:<id>`;
    empty = none."""
    arms: Annotated[tuple[str, ...], Field(strict=False, validate_default=True)] = (
        BASELINE,
        "l2",
        "dropout",
        "augment",
        "label_smoothing",
    )
    """Techniques as `core.regularization.arms` writes them; the baseline `none` is always among them."""
    train_sizes: Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_IMAGES)], ...], List] = (2000,)
    """Numbers of training images; a larger one contains the smaller ones."""
    seeds: Annotated[int, Field(ge=1, le=MAX_SEEDS)] = 3
    """Every arm is trained with the seeds 0 to this minus 1."""
    steps: Annotated[int, Field(ge=1, le=10**6)] = 1000
    """Optimizer steps of every run, whatever its arm and size; early stopping may use fewer."""
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Images per step."""
    lr: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Peak learning rate of AdamW; 0 = what the model is known to like."""
    evaluations: Annotated[int, Field(ge=1, le=1000)] = 10
    """How often each run is measured on validation, evenly spread."""
    model_settings: dict[str, Any] = Field(default_factory=dict, alias="model_config")
    """Settings of the model that all arms share."""
    device: Device = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:N`, `mps`."""

    @field_validator("arms")
    @classmethod
    def _check_arms(cls, specs: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        arms = [parse_arm(spec) for spec in specs]
        specs = tuple(arm.spec for arm in arms)
        twice = next((spec for spec in specs if specs.count(spec) > 1), None)
        if twice:
            raise LabError(f"The arm {twice} is given twice: leave one of them out.")
        if not [spec for spec in specs if spec != BASELINE]:
            raise LabError("No technique is chosen: choose at least one to compare with no regularization.")
        model = info.data.get("model", "")  # empty where it is wrong itself, which is told first
        usable = (*techniques_for(model), *EXTRA_DATA)
        unusable = next((name for arm in arms for name in arm.names if model and name not in usable), None)
        if unusable:
            raise LabError(f"{unusable} cannot be used with {model}: choose among {', '.join(techniques_for(model))}.")
        return (BASELINE, *(spec for spec in specs if spec != BASELINE))

    @field_validator("train_sizes")
    @classmethod
    def _check_sizes(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if not sizes:
            raise LabError("No training-set size is given: give one, such as 2000.")
        return tuple(sorted(set(sizes)))

    @model_validator(mode="after")
    def _check_runs(self) -> StudyConfig:
        if self.evaluations > self.steps:
            raise LabError(
                f"evaluations={self.evaluations} is not valid: there are only {self.steps} steps to measure at."
            )
        owned = next((name for name in OWNED if name in self.model_settings), None)
        if owned:
            raise LabError(f"model_config cannot hold {owned} in a study: it is a technique, so make it an arm.")
        self._check_extra()
        if self.runs > MAX_RUNS:
            raise LabError(
                f"This study has {self.runs:,} runs: take fewer arms, strengths, sizes or seeds, at most {MAX_RUNS:,} runs."
            )
        for size in self.train_sizes:
            epochs = self.steps / self._steps_per_epoch(size)
            if epochs > MAX_EPOCHS:
                raise LabError(
                    f"{self.steps:,} steps on {size:,} images are {epochs:,.0f} epochs, more than a run may have "
                    f"({MAX_EPOCHS:,}): take fewer steps or more images."
                )
        for variant in self._variants().values():  # what a training run would refuse is refused here
            self.train_config(Member(variant=variant, train_size=self.train_sizes[0], seed=0))
        return self

    def _check_extra(self) -> None:
        for arm in self.parsed():
            names = [name for name in arm.names if name in EXTRA_DATA]
            if names and not self.extra_dataset:
                raise LabError(f"{names[0]} needs extra images: set extra_dataset to a dataset of the same classes.")
            if len(names) > 1:
                raise LabError(f"The arm {arm.spec} has {names[0]} and {names[1]}: give one of them.")

    @property
    def recipe(self) -> str:
        """What a list of runs calls it."""
        return "regularization study"

    def parsed(self) -> tuple[Arm, ...]:
        """The arms, the baseline first."""
        return tuple(parse_arm(spec) for spec in self.arms)

    def members(self) -> tuple[Member, ...]:
        """All runs, in the order in which they are done: every seed is a small study of its own, so that one that is
        stopped half-way can be read. A variant that several arms share is trained once."""
        variants = self._variants()
        return tuple(
            Member(variant=variant, train_size=size, seed=seed)
            for seed in range(self.seeds)
            for size in self.train_sizes
            for variant in variants.values()
        )

    @property
    def runs(self) -> int:
        return len(self._variants()) * len(self.train_sizes) * self.seeds

    def _variants(self) -> dict[str, Variant]:
        return {variant.spec: variant for arm in self.parsed() for variant in arm.variants}

    def base(self) -> TrainConfig:
        """The training run that all members are a change of: no regularization at all."""
        return TrainConfig(
            model=self.model,
            model_config=MODEL_CONFIGS.get(self.model, {}) | self.model_settings,
            dataset=self.dataset,
            recipe="study",
            batch_size=self.batch_size,
            optimizer="adamw",
            lr=self.lr or LEARNING_RATES[self.model],
            weight_decay=0.0,
            schedule="triangular",
            warmup=0.1,
            keep="last",
            probe_images=PROBE_IMAGES,
            device=self.device,
        )

    def train_config(self, member: Member) -> TrainConfig:
        """The training run of a member."""
        images = member.train_size
        for item in member.variant.techniques:
            images = item.images(images)
        steps_per_epoch = self._steps_per_epoch(images)
        extra = any(item.reads_extra for item in member.variant.techniques)
        config = self.base().replace(
            extra_dataset=self.extra_dataset if extra else "",
            seed=member.seed,
            train_images=member.train_size,
            epochs=self.steps / steps_per_epoch,
            eval_every=self.steps / self.evaluations / steps_per_epoch,
        )
        return member.variant.apply(config)

    def _steps_per_epoch(self, train_size: int) -> int:
        """Epochs are counted in whole batches; a set smaller than a batch is one batch."""
        return train_size // min(self.batch_size, train_size)

    def check_data(self, training_images: int, extra_images: int | None = None) -> None:
        """Raises LabError where a size is above what the dataset has, or its extra dataset; None where that is not known."""
        above = [size for size in self.train_sizes if size > training_images]
        if above:
            raise LabError(
                f"A training-set size of {above[0]:,} is not valid: {dataset_title(self.dataset)[:80]} has {training_images:,} "
                "training images beside those for validation."
            )
        largest = self.train_sizes[-1]
        for item in (item for variant in self._variants().values() for item in variant.techniques):
            if item.reads_extra and extra_images is not None and item.strength > extra_images:
                raise LabError(
                    f"{item.spec} is not valid: {dataset_title(self.extra_dataset)[:80]} has {extra_images:,} images."
                )
            if not item.reads_extra and (images := item.images(largest)) > training_images:
                raise LabError(
                    f"{item.spec} beside {largest:,} training images takes {images:,}, and "
                    f"{dataset_title(self.dataset)[:80]} has {training_images:,}: take fewer of either."
                )

    def extended(self, *, arms: tuple[str, ...] = (), train_sizes: tuple[int, ...] = (), seeds: int = 0) -> StudyConfig:
        """The same study with more arms, sizes or seeds; what there was stays. Raises LabError for an arm that it has."""
        new = tuple(parse_arm(spec).spec for spec in arms)
        twice = [spec for spec in new if spec in self.arms and spec != BASELINE]
        if twice:
            raise LabError(f"The study has the arm {twice[0]} already: choose another one, or another strength.")
        return self.replace(
            arms=(*self.arms, *(spec for spec in new if spec != BASELINE)),
            train_sizes=(*self.train_sizes, *train_sizes),
            seeds=max(self.seeds, seeds),
        )
