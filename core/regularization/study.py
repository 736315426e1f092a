"""A study: arms × training-set sizes × seeds, fair by construction. Nothing here imports torch.

Every run of a study has the same number of steps, the same batch size and learning-rate schedule. Runs of one seed share
their initial weights, their training images and the order in which they see them. The strength of a technique is chosen
on validation; the test set is looked at once, at the end, and only for what was chosen.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from core.common.errors import LabError
from core.common.values import finite
from core.data import dataset_title
from core.regularization.arms import BASELINE, Arm, Variant, parse_arm
from core.regularization.techniques import IMAGE_MODELS, TECHNIQUES, techniques_for
from core.training.config import TrainConfig

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
LEARNING_RATES = {"simple_cnn": 3e-3, "fast_resnet": 2e-3, "resnet18": 1e-3}
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
        """For people."""
        return f"{self.variant.label}, {self.train_size:,} images, seed {self.seed}"


@cache
def _words(spec: str) -> str:
    return f"{re.sub(r'[^a-z0-9_]+', '-', spec)[:40].strip('-')}-{hashlib.sha256(spec.encode()).hexdigest()[:6]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyConfig:
    """What is compared. Raises LabError with the valid range for any value outside it."""

    model: str = "simple_cnn"
    """Name in `core.models.MODELS`; an image classifier."""
    dataset: str = "cifar10"
    """Name in `core.data.DATASETS`, or `folder:<path>`."""
    arms: tuple[str, ...] = (BASELINE, "l2", "dropout", "augment", "label_smoothing")
    """Techniques as `core.regularization.arms` writes them; the baseline `none` is always among them."""
    train_sizes: tuple[int, ...] = (2000,)
    """Numbers of training images; a larger one contains the smaller ones."""
    seeds: int = 3
    """Every arm is trained with the seeds 0 to this minus 1."""
    steps: int = 1000
    """Optimizer steps of every run, whatever its arm and size; early stopping may use fewer."""
    batch_size: int = 32
    """Images per step."""
    lr: float = 0.0
    """Peak learning rate of AdamW; 0 = what the model is known to like."""
    evaluations: int = 10
    """How often each run is measured on validation, evenly spread."""
    model_config: dict[str, Any] = field(default_factory=dict)
    """Settings of the model that all arms share."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:N`, `mps`."""

    def __post_init__(self) -> None:
        if self.model not in IMAGE_MODELS:
            raise LabError(f"A study needs an image classifier, and {str(self.model)[:60]!r} is none: choose one of "
                           f"{', '.join(IMAGE_MODELS)}.")  # fmt: skip
        for name, low, high in (("seeds", 1, MAX_SEEDS), ("steps", 1, 10**6), ("batch_size", 1, 10_000),
                                ("evaluations", 1, 1000)):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise LabError(
                    f"{name}={str(value)[:40]} is not valid: {name} must be a whole number from {low} to {high:,}."
                )
        if self.evaluations > self.steps:
            raise LabError(
                f"evaluations={self.evaluations} is not valid: there are only {self.steps} steps to measure at."
            )
        if not finite(self.lr) or not 0 <= self.lr <= 10:
            raise LabError(f"lr={str(self.lr)[:40]} is not valid: lr must be a number from 0 (the model's own) to 10.")
        object.__setattr__(self, "train_sizes", self._checked_sizes())
        object.__setattr__(self, "arms", self._checked_arms())
        if not isinstance(self.model_config, dict):
            raise LabError("model_config is not valid: it must be a mapping of names to values.")
        owned = next((name for name in OWNED if name in self.model_config), None)
        if owned:
            raise LabError(f"model_config cannot hold {owned} in a study: it is a technique, so make it an arm.")
        if self.runs > MAX_RUNS:
            raise LabError(f"This study has {self.runs:,} runs: take fewer arms, strengths, sizes or seeds, at most "
                           f"{MAX_RUNS:,} runs.")  # fmt: skip
        for size in self.train_sizes:
            epochs = self.steps / self._steps_per_epoch(size)
            if epochs > MAX_EPOCHS:
                raise LabError(
                    f"{self.steps:,} steps on {size:,} images are {epochs:,.0f} epochs, more than a run may have "
                    f"({MAX_EPOCHS:,}): take fewer steps or more images."
                )
        for variant in self._variants().values():  # what a training run would refuse is refused here
            self.train_config(Member(variant=variant, train_size=self.train_sizes[0], seed=0))

    def _checked_sizes(self) -> tuple[int, ...]:
        sizes = self.train_sizes
        if not isinstance(sizes, list | tuple) or not sizes:
            raise LabError("No training-set size is given: give one, such as 2000.")
        for size in sizes:
            if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_IMAGES:
                raise LabError(
                    f"A training-set size of {str(size)[:40]} is not valid: give whole numbers of at least 1."
                )
        return tuple(sorted(set(sizes)))

    def _checked_arms(self) -> tuple[str, ...]:
        if not isinstance(self.arms, list | tuple) or not all(isinstance(spec, str) for spec in self.arms):
            raise LabError("The arms are not valid: give a list of techniques, such as none, dropout, augment.")
        arms = [parse_arm(spec) for spec in self.arms]
        specs = [arm.spec for arm in arms]
        twice = next((spec for spec in specs if specs.count(spec) > 1), None)
        if twice:
            raise LabError(f"The arm {twice} is given twice: leave one of them out.")
        if not [spec for spec in specs if spec != BASELINE]:
            raise LabError("No technique is chosen: choose at least one to compare with no regularization.")
        usable = techniques_for(self.model)
        for arm in arms:
            for name in arm.names:
                if name not in usable:
                    raise LabError(f"{name} cannot be used with {self.model}: choose among {', '.join(usable)}.")
        return (BASELINE, *(spec for spec in specs if spec != BASELINE))

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
        """How many runs it has."""
        return len(self._variants()) * len(self.train_sizes) * self.seeds

    def _variants(self) -> dict[str, Variant]:
        return {variant.spec: variant for arm in self.parsed() for variant in arm.variants}

    def base(self) -> TrainConfig:
        """The training run that all members are a change of: no regularization at all."""
        return TrainConfig(
            model=self.model,
            model_config=MODEL_CONFIGS.get(self.model, {}) | self.model_config,
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
        steps_per_epoch = self._steps_per_epoch(member.train_size)
        config = self.base().replace(
            seed=member.seed,
            train_images=member.train_size,
            epochs=self.steps / steps_per_epoch,
            eval_every=self.steps / self.evaluations / steps_per_epoch,
        )
        return member.variant.apply(config)

    def _steps_per_epoch(self, train_size: int) -> int:
        """Epochs are counted in whole batches; a set smaller than a batch is one batch."""
        return train_size // min(self.batch_size, train_size)

    def check_data(self, training_images: int) -> None:
        """Raises LabError where a training-set size is above what the dataset has."""
        above = [size for size in self.train_sizes if size > training_images]
        if above:
            raise LabError(
                f"A training-set size of {above[0]:,} is not valid: {dataset_title(self.dataset)[:80]} has {training_images:,} "
                "training images beside those for validation."
            )

    def extended(self, *, arms: tuple[str, ...] = (), train_sizes: tuple[int, ...] = (), seeds: int = 0) -> StudyConfig:
        """The same study with more arms, sizes or seeds; what there was stays. Raises LabError for an arm that it has."""
        new = tuple(parse_arm(spec).spec for spec in arms)
        twice = [spec for spec in new if spec in self.arms and spec != BASELINE]
        if twice:
            raise LabError(f"The study has the arm {twice[0]} already: choose another one, or another strength.")
        return dataclasses.replace(
            self,
            arms=(*self.arms, *(spec for spec in new if spec != BASELINE)),
            train_sizes=(*self.train_sizes, *train_sizes),
            seeds=max(self.seeds, seeds),
        )

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StudyConfig:
        """Rebuild from JSON. Raises LabError for a field this version does not know."""
        if not isinstance(values, dict):
            raise LabError("The study is damaged, it has no settings: start a new one.")
        unknown = sorted(set(values) - {item.name for item in dataclasses.fields(cls)})
        if unknown:
            raise LabError(
                f"The study has fields that this version does not know ({', '.join(unknown)[:200]}): it was made by another "
                "version, start a new one."
            )
        return cls(**values)
