"""What a recipe is made of: one model a method, its settings checked. `Step.apply` does it, and loads torch only then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from core.common.errors import LabError
from core.common.settings import Settings
from core.common.values import plural
from core.models import DESIGNS

if TYPE_CHECKING:
    from core.checkpoints.store import Checkpoint
    from core.compression.job import VariantContext

FEWEST_CALIBRATION_IMAGES = 16
TAYLOR_IMAGES = 512

Scope = Literal["global", "layer"]
SCOPES = get_args(Scope)
Share = Annotated[float, Field(ge=0, le=1)]
Inside = Annotated[float, Field(gt=0, lt=1)]
"""A share that is neither nothing nor all."""
Temperature = Annotated[float, Field(gt=0, lt=100)]
Epochs = Annotated[
    float,
    Field(gt=0, lt=1000, description="Passes over the training images or characters; may be a fraction."),
]


class Step(Settings):
    """One step of a recipe. Raises LabError for a setting out of its range."""

    title: ClassVar[str]
    """Name for people."""
    about: ClassVar[str]
    """What it does and what it buys, in a sentence, with its paper."""
    tasks: ClassVar[tuple[str, ...]] = ("images", "text")
    trains: ClassVar[bool] = False
    """Whether it trains, and so takes minutes."""
    last: ClassVar[bool] = False
    """Whether nothing may follow it."""

    @property
    def words(self) -> str:
        """What it does with these settings, short, for tables."""
        return self.title

    def needs_data(self, task: str) -> bool:
        """Whether it takes the training data of the checkpoint."""
        return self.trains

    def apply(self, before: Checkpoint, context: VariantContext) -> Checkpoint:
        """A new checkpoint; `before` stays as it is. Raises LabError."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        return {"step": name_of(self)} | self.model_dump()

    @classmethod
    def subject(cls) -> str:
        return f" for {cls.title.lower()}"


class TrainingStep(Step):
    """A step that trains, on the data of the checkpoint."""

    trains: ClassVar[bool] = True
    epochs: Epochs = 2.0
    lr: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Peak learning rate; 0 takes the usual one: the original's own, or for `gentle` 0.02 for images, 0.001 for text."""

    def teacher(self, before: Checkpoint, original: Checkpoint) -> Checkpoint | None:
        """Whose probabilities it matches; None: it learns from the labels alone."""
        return None

    def apply(self, before: Checkpoint, context: VariantContext) -> Checkpoint:
        return context.train(self, before)


class FineTuningStep(TrainingStep):
    """A step that trains the original's own network on, perhaps with the original's help."""

    schedule: Literal["own", "gentle"] = "own"
    """`own`: the original's recipe once more from these weights (learning-rate rewinding, Renda et al., arXiv:2003.02389);
    `gentle`: a small rate that falls on a cosine (images: SGD with Nesterov momentum; text: AdamW). Where the card does not
    say how the original was trained, it is always `gentle`."""
    alpha: Share = 0.0
    """Share of the loss that asks for the original's probabilities instead of the labels: 0 to 1."""
    temperature: Temperature = 4.0
    """Softens the probabilities that are matched."""

    def teacher(self, before: Checkpoint, original: Checkpoint) -> Checkpoint | None:
        return original if self.alpha else None


class PruneWeights(Step):
    title: ClassVar[str] = "Prune weights"
    about: ClassVar[str] = (
        "Sets the smallest weights to zero (Han et al., arXiv:1506.02626). The file gets smaller only once it is coded, and "
        "nothing gets faster: the zeros are still multiplied."
    )

    amount: Inside = 0.5
    """Share of the weights of convolutions, linear and recurrent layers that become zero."""
    scope: Scope = "global"
    """`global`: the smallest of the whole network; `layer`: the same share of every layer."""

    @property
    def words(self) -> str:
        return f"prune {self.amount:.0%} of the weights" + (" of each layer" if self.scope == "layer" else "")

    def apply(self, before: Checkpoint, context: VariantContext) -> Checkpoint:
        from core.compression.methods.pruning import prune_weights

        return prune_weights(before, self)


class PruneGradually(FineTuningStep):
    title: ClassVar[str] = "Prune weights while training"
    about: ClassVar[str] = (
        "Sets more and more of the smallest weights to zero while the others learn to do without them, along a cubic schedule "
        "(Zhu & Gupta, arXiv:1710.01878)."
    )

    amount: Inside = 0.9
    """Share of the weights that are zero at the end."""
    scope: Scope = "global"
    """`global`: the smallest of the whole network; `layer`: the same share of every layer."""

    @property
    def words(self) -> str:
        return f"prune {self.amount:.0%} of the weights over {plural(self.epochs, 'epoch')}"


class LotteryTicket(TrainingStep):
    title: ClassVar[str] = "Lottery ticket"
    about: ClassVar[str] = (
        "Keeps the largest weights of the trained network, sets them back to what they were before training, and trains those "
        "alone with the original's own recipe (Frankle & Carbin, arXiv:1803.03635)."
    )

    amount: Inside = 0.8
    """Share of the weights that stay zero."""
    scope: Scope = "global"
    """`global`: the smallest of the whole network; `layer`: the same share of every layer."""

    @property
    def words(self) -> str:
        return f"lottery ticket of {1 - self.amount:.0%}, trained for {plural(self.epochs, 'epoch')}"


class PruneChannels(Step):
    title: ClassVar[str] = "Prune channels"
    about: ClassVar[str] = (
        "Takes whole channels out of the network, and with them the rows, columns and norms that depend on them (Fang et al., "
        "DepGraph, arXiv:2301.12900): fewer weights and fewer multiply-adds, really."
    )
    tasks: ClassVar[tuple[str, ...]] = ("images",)

    amount: Inside = 0.5
    """Share of the channels of every layer that are taken out."""
    importance: Literal["magnitude", "taylor", "bn_scale"] = "magnitude"
    """What the least important channels are told by: `magnitude` of their weights, `taylor` (what the loss would lose, from
    gradients on training images; Molchanov et al., arXiv:1906.10771), or `bn_scale` (Liu et al., arXiv:1708.06519)."""
    scope: Scope = "layer"
    """`layer`: the same share of every layer; `global`: the least important of the whole network."""

    @property
    def words(self) -> str:
        return f"prune {self.amount:.0%} of the channels"

    def needs_data(self, task: str) -> bool:
        return self.importance == "taylor"

    def apply(self, before: Checkpoint, context: VariantContext) -> Checkpoint:
        from core.compression.methods.channels import prune_channels
        from core.data import subset

        if self.importance != "taylor":
            return prune_channels(before, self)
        train = context.images().train
        chosen = subset(train, min(TAYLOR_IMAGES, len(train)), context.seed)
        return prune_channels(before, self, chosen.images, chosen.labels)


class FineTune(FineTuningStep):
    title: ClassVar[str] = "Fine-tune"
    about: ClassVar[str] = (
        "Trains what is left for a while; zeros stay zero. Part of the loss may ask for the original's probabilities (Hinton "
        "et al., arXiv:1503.02531), which helps when little is left."
    )

    @property
    def words(self) -> str:
        return f"fine-tune for {plural(self.epochs, 'epoch')}"


class TrainQuantized(TrainingStep):
    title: ClassVar[str] = "Quantization-aware training"
    about: ClassVar[str] = (
        "Trains with weights and activations rounded to 8 bits in the forward pass (Jacob et al., arXiv:1712.05877), so that "
        "less is lost when they are. Follow it with int8."
    )
    tasks: ClassVar[tuple[str, ...]] = ("images",)
    epochs: Epochs = 1.0

    @property
    def words(self) -> str:
        return f"train with 8-bit rounding for {plural(self.epochs, 'epoch')}"


class Distill(TrainingStep):
    title: ClassVar[str] = "Distill"
    about: ClassVar[str] = (
        "Trains a smaller network, the student, to give the probabilities of this one, its teacher (Hinton et al., "
        "arXiv:1503.02531), and beside it the same network on the labels alone: the control that shows what the teacher added."
    )
    epochs: Epochs = 8.0

    student: str = "simple_cnn"
    """Architecture of the student, for the same kind of data."""
    student_config: dict[str, Any] = Field(default_factory=dict)
    """Settings of the student that differ from its defaults."""
    alpha: Share = 0.9
    """Share of the loss that asks for the teacher's probabilities instead of the labels: 0 to 1; 0 is plain training."""
    temperature: Temperature = 4.0
    """Softens the probabilities that are matched."""
    seeds: Annotated[int, Field(ge=1, le=10)] = 3
    """How often student and control are trained; a recipe goes on with the first student."""

    @model_validator(mode="after")
    def _check_student(self) -> Distill:
        if self.student not in DESIGNS:
            raise LabError(f"There is no model named {str(self.student)[:60]!r}: choose one of {', '.join(DESIGNS)}.")
        return self

    def without_teacher(self) -> Distill:
        """The same training without the teacher: what a control does."""
        return self.replace(alpha=0.0)

    def teacher(self, before: Checkpoint, original: Checkpoint) -> Checkpoint | None:
        return before if self.alpha else None

    @property
    def words(self) -> str:
        return f"distill into {DESIGNS[self.student].title}, {plural(self.epochs, 'epoch')}"


class LowRank(Step):
    title: ClassVar[str] = "Low rank"
    about: ClassVar[str] = (
        "Puts two thin layers in the place of one, from its singular value decomposition (Denton et al., arXiv:1404.0736), "
        "wherever that takes fewer multiply-adds."
    )
    tasks: ClassVar[tuple[str, ...]] = ("images",)

    energy: Inside = 0.9
    """Share of the squared singular values of each layer that is kept."""

    @property
    def words(self) -> str:
        return f"low rank, {self.energy:.0%} of the energy"

    def apply(self, before: Checkpoint, context: VariantContext) -> Checkpoint:
        from core.compression.methods.lowrank import factorise

        return factorise(before, self)


class Cluster(Step):
    title: ClassVar[str] = "Cluster"
    about: ClassVar[str] = (
        "Lets the weights of each layer share 2^bits values (k-means; Han et al., arXiv:1510.00149). For storage: what runs is "
        "as large and as fast as before."
    )

    bits: Annotated[int, Field(ge=1, le=8)] = 4
    """Bits of a weight: each layer has 2^bits values, zero among them."""

    @property
    def words(self) -> str:
        return f"cluster to {self.bits} bits"

    def apply(self, before: Checkpoint, context: VariantContext) -> Checkpoint:
        from core.compression.methods.cluster import cluster

        return cluster(before, self)


class Float16(Step):
    title: ClassVar[str] = "float16"
    about: ClassVar[str] = "Stores weights in 16 bits: half the size. On a CPU they are computed with in 32, no faster."
    last: ClassVar[bool] = True

    def apply(self, before: Checkpoint, context: VariantContext) -> Checkpoint:
        from core.compression.methods.pruning import half

        return half(before, self)


class Int8(Step):
    title: ClassVar[str] = "int8"
    about: ClassVar[str] = (
        "Weights in 8 bits, a scale for each output channel. Networks for images also compute in 8 bits, with the ranges of "
        "activations measured on training images (ONNX Runtime, static); LSTM, GRU and RNN round their inputs as they come "
        "(dynamic)."
    )
    last: ClassVar[bool] = True

    images: Annotated[int, Field(ge=FEWEST_CALIBRATION_IMAGES, le=10_000)] = 512
    """Training images that the ranges of activations are measured on."""

    def needs_data(self, task: str) -> bool:
        return task == "images"

    def apply(self, before: Checkpoint, context: VariantContext) -> Checkpoint:
        from core.compression.methods.int8 import to_int8
        from core.data import subset

        if before.card.task == "text":
            return to_int8(before, None, self)
        train = context.images().train
        step = self.replace(images=min(self.images, len(train)))
        return to_int8(before, subset(train, step.images, context.seed).images, step)


class HuffmanCode(Step):
    title: ClassVar[str] = "Huffman code"
    about: ClassVar[str] = (
        "Writes pruned and clustered weights with short codes for frequent values and only the gaps between those that are not "
        "zero (Han et al., Deep Compression, arXiv:1510.00149). Nothing is lost; for storage only."
    )
    last: ClassVar[bool] = True

    def apply(self, before: Checkpoint, context: VariantContext) -> Checkpoint:
        from core.compression.methods.pruning import code

        return code(before, self)


STEPS: dict[str, type[Step]] = {
    "prune_weights": PruneWeights,
    "prune_gradually": PruneGradually,
    "lottery_ticket": LotteryTicket,
    "prune_channels": PruneChannels,
    "fine_tune": FineTune,
    "low_rank": LowRank,
    "distill": Distill,
    "train_quantized": TrainQuantized,
    "int8": Int8,
    "float16": Float16,
    "cluster": Cluster,
    "huffman": HuffmanCode,
}
RETIRED: dict[str, dict[str, Any]] = {"int8": {"method": "minmax"}, "distill": {"features": 0.0}}
"""Settings that recipes of earlier versions name, with the value that stands for what a step does today. Results that were
made with other values are read; recipes are not gone on with."""


def name_of(step: Step) -> str:
    """The key of a step's class in STEPS."""
    return next(name for name, kind in STEPS.items() if type(step) is kind)


def read_step(values: Any) -> Step:
    """A step from its mapping, `{"step": "int8", "images": 256}`; settings left out take their defaults. Raises LabError."""
    name = values.get("step") if isinstance(values, dict) else None
    if not isinstance(name, str) or name not in STEPS:
        raise LabError(
            f"There is no step {repr(name)[:60]}: each one is a mapping with step set to one of {', '.join(STEPS)}."
        )
    retired = RETIRED.get(name, {})
    return STEPS[name](**{key: value for key, value in values.items() if key != "step" and key not in retired})


def check_retired(steps: Iterable[Mapping[str, Any]]) -> None:
    """Raises LabError for steps, as a recipe's file has them, that an earlier version did in a way that this one cannot."""
    for step in steps:
        for key, usual in RETIRED.get(str(step.get("step")), {}).items():
            if step.get(key, usual) != usual:
                raise LabError(
                    f"This recipe was made with {key}={step[key]!r}, which this version does not have: start a new one."
                )
