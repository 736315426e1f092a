"""What to do with a checkpoint: steps in a row, as one run of the queue. A run folder holds one as JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator, model_validator

from core.checkpoints.store import RUNTIME_ONLY, Card
from core.common.errors import LabError
from core.common.settings import MAX_SEED, List, Name, Settings
from core.compression.steps import (
    Cluster,
    Distill,
    FineTune,
    Float16,
    HuffmanCode,
    Int8,
    LotteryTicket,
    PruneChannels,
    PruneGradually,
    PruneWeights,
    Step,
    TrainingStep,
    TrainQuantized,
    read_step,
)
from core.data.dataset import ImageCard
from core.models import DESIGNS, MODELS, full_config
from core.training.config import Device, TrainConfig

MOST_STEPS = 12
ORIGINAL = "original"
"""Id of the checkpoint that a recipe begins with, among its variants."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One checkpoint that a recipe makes."""

    id: str
    """Its folder below the run's: `1-prune_channels`, `2-distill-s1`, `2-control-s1`."""
    title: str
    """All that was done to the original, in words."""
    number: int
    """Of the step that makes it, from 1."""
    seed: int = 0
    control: bool = False
    """Trained like its student, without a teacher."""
    steps: tuple[dict[str, Any], ...] = ()
    """All that was done to the original, a mapping a step."""

    @property
    def goes_on(self) -> bool:
        """Whether the next step starts from it: of students the first."""
        return not self.control and self.seed == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A recipe to start from."""

    title: str
    about: str
    steps: tuple[Step, ...]
    task: str = "images"


def _check_model(name: str) -> str:
    if name not in MODELS:
        raise LabError(f"There is no model named {name[:60]!r}: choose one of {', '.join(MODELS)}.")
    return name


class CompressConfig(Settings):
    """A recipe for one checkpoint. Raises LabError for steps that do not go together."""

    checkpoint: Name
    """Name of the checkpoint to start from, as `core.checkpoints.store.find_checkpoint` takes it. It is only read."""
    steps: Annotated[tuple[dict[str, Any], ...], List]
    """One mapping a step, see core.compression.steps; each makes a checkpoint out of the one before it."""
    recipe: Name = "custom"
    """The preset this started from; for people, it changes nothing."""
    model: Annotated[str, AfterValidator(_check_model)] = "fast_resnet"
    """Architecture of the checkpoint, and what it was trained on: for lists of runs."""
    dataset: Name = "cifar10"
    seed: Annotated[int, Field(ge=0, le=MAX_SEED - 100)] = 0
    """Seeds the order of the data in steps that train, and whatever else is drawn."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """CPU threads that latencies are measured with."""
    device: Device = "auto"
    """Where steps that train run. Latencies are of the CPU."""

    @field_validator("steps")
    @classmethod
    def _check_steps(cls, steps: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        if not 1 <= len(steps) <= MOST_STEPS:
            raise LabError(f"A recipe has 1 to {MOST_STEPS} steps: add one, or take some out.")
        return tuple(read_step(values).to_dict() for values in steps)

    @model_validator(mode="after")
    def _check_whole(self) -> CompressConfig:
        _check_order(list(self.parsed()), MODELS[self.model].task)
        return self

    def parsed(self) -> tuple[Step, ...]:
        """The steps as objects."""
        return tuple(read_step(values) for values in self.steps)

    def variants(self) -> tuple[Variant, ...]:
        """All checkpoints that it makes, in the order in which they are made."""
        found, done = [], []
        for number, step in enumerate(self.parsed(), 1):
            done.append(step.words)
            words = ", ".join(done)
            if isinstance(step, Distill):
                for seed in range(step.seeds):
                    after = f", seed {seed}" if step.seeds > 1 else ""
                    for which, control in (("distill", False), ("control", True)):
                        title = f"{words}{after}" if not control else f"{words} without a teacher{after}"
                        steps = (*self.steps[: number - 1], (step.without_teacher() if control else step).to_dict())
                        found.append(
                            Variant(
                                id=f"{number}-{which}-s{seed}",
                                title=title,
                                number=number,
                                seed=seed,
                                control=control,
                                steps=steps,
                            )
                        )
            else:
                name, steps = f"{number}-{self.steps[number - 1]['step']}", self.steps[:number]
                found.append(Variant(id=name, title=words, number=number, steps=steps))
        return tuple(found)

    @property
    def needs_data(self) -> bool:
        """Whether a step needs the training data of the checkpoint. Without them the others can be made, if not measured."""
        task = MODELS[self.model].task
        return any(step.needs_data(task) for step in self.parsed())

    def base(self) -> TrainConfig:
        """What lists of runs show of it, beside trainings."""
        trained = sum(step.epochs for step in self.parsed() if isinstance(step, TrainingStep))
        return TrainConfig(
            model=self.model,
            dataset=self.dataset,
            recipe=self.recipe,
            seed=self.seed,
            epochs=trained or 1.0,
            device=self.device,
        )


def make(
    checkpoint: str, card: Card, steps: tuple[Step, ...], recipe: str = "custom", **settings: Any
) -> CompressConfig:
    """The recipe for a checkpoint whose card is known. Raises LabError where a step does not fit it."""
    made = CompressConfig(
        checkpoint=checkpoint,
        steps=tuple(step.to_dict() for step in steps),
        recipe=recipe,
        model=card.model,
        dataset=card.dataset.name,
        **settings,
    )
    check_fits(made, card)
    return made


def is_compressed(card: Card) -> bool:
    """Whether a checkpoint is in a form that any further step would undo."""
    return card.in_int8 or card.storage in ("int8", "coded", "clustered")


def check_fits(config: CompressConfig, card: Card) -> None:
    """Raises LabError where a recipe does not fit the checkpoint that it is for."""
    if is_compressed(card):
        raise LabError(
            f"{card.title[:100]} is in {'int8' if card.storage == 'int8' else card.storage} already: start from the checkpoint "
            f"that it was made from, {card.compression.get('original') or card.parent or 'its original'}."
        )
    if card.model == RUNTIME_ONLY and any(step["step"] != "int8" for step in config.steps):
        raise LabError(
            f"{card.title[:100]} runs only in ONNX Runtime and has no layers here that could be changed: int8 alone is possible."
        )
    if card.storage == "float16" and [step["step"] for step in config.steps] == ["float16"]:
        raise LabError(f"{card.title[:100]} is stored in float16 already: choose another recipe, int8 for instance.")
    for step in config.parsed():
        if isinstance(step, Distill) and MODELS[step.student].task != card.task:
            raise LabError(
                f"{MODELS[step.student].title} cannot be the student of {card.title[:100]}: they learn different things. Choose "
                f"one of {', '.join(name for name, entry in DESIGNS.items() if entry.task == card.task)}."
            )
        if isinstance(step, Distill):
            data = card.dataset
            given = (
                {"classes": len(data.classes), "image_size": data.image_size}
                if isinstance(data, ImageCard)
                else {"vocabulary": len(card.text_data.vocabulary)}
            )
            full_config(step.student, step.student_config | given)


def read_recipe(text: str, task: str) -> tuple[str, tuple[Step, ...]]:
    """Name and steps of a recipe that was typed: a preset's name, or steps as JSON (a list of mappings). Raises LabError."""
    from core.common.values import read_json

    if re.fullmatch(r"[a-z0-9_]{1,40}", text.strip()):
        name = text.strip()
        known = [key for key, preset in PRESETS.items() if preset.task == task]
        if name not in known:
            raise LabError(
                f"There is no recipe {name!r} for this checkpoint: choose one of {', '.join(known)}, or give JSON."
            )
        return name, PRESETS[name].steps
    try:
        values = read_json(text)
    except ValueError as error:
        raise LabError(
            f'The recipe is neither a name ({", ".join(PRESETS)}) nor JSON: write it as [{{"step": "int8"}}].'
        ) from error
    if not isinstance(values, list) or not values:
        raise LabError('The recipe must be a list of steps: write it as [{"step": "int8"}].')
    return "custom", tuple(read_step(item) for item in values)


def _check_order(steps: list[Step], task: str) -> None:
    for place, step in enumerate(steps):
        if task not in step.tasks:
            raise LabError(f"{step.title} is for images: take it out of the recipe of a language model.")
        if step.last and place < len(steps) - 1:
            raise LabError(f"{step.title} must be the last step: put {steps[place + 1].title} before it.")
        later = steps[place + 1 :]
        if isinstance(step, Cluster) and any(not isinstance(after, HuffmanCode) for after in later):
            raise LabError(f"{later[0].title} would undo the clustering: put Cluster last, or before Huffman code.")
        if isinstance(step, TrainQuantized) and later and not isinstance(later[0], Int8):
            raise LabError(f"{step.title} prepares for int8: put int8 right after it, not {later[0].title}.")
        if isinstance(step, LotteryTicket) and place:
            raise LabError("A lottery ticket starts from the first weights of its network: make it the first step.")
        if isinstance(step, Distill) and place:
            raise LabError(
                "Distill starts from a new network, so what was done before it is lost: make it the first step."
            )
        if isinstance(step, HuffmanCode) and not any(isinstance(before, Cluster) for before in steps[:place]):
            raise LabError("Huffman code needs few different values: put Cluster before it.")
        pruned = any(isinstance(before, PruneWeights | PruneGradually) for before in steps[:place])
        if isinstance(step, PruneChannels) and pruned:
            raise LabError("Prune channels before single weights: a channel is taken out whole.")


PRESETS: dict[str, Preset] = {
    "int8": Preset(
        title="int8",
        about="A quarter of the size, usually faster.",
        steps=(Int8(),),
    ),
    "half": Preset(
        title="Half the size, nothing lost",
        about="float16: half the file.",
        steps=(Float16(),),
    ),
    "coded": Preset(
        title="Four times smaller",
        about="7 bits a weight, without training; no faster.",
        steps=(Cluster(bits=7), HuffmanCode()),
    ),
    "quantized": Preset(
        title="int8, trained for it",
        about="One epoch with 8-bit rounding.",
        steps=(TrainQuantized(epochs=1.0), Int8()),
    ),
    "smallest": Preset(
        title="Smallest file",
        about="88% of weights pruned, the rest coded.",
        steps=(
            PruneGradually(amount=0.88, epochs=4.0, schedule="gentle", alpha=0.5),
            Cluster(bits=4),
            HuffmanCode(),
        ),
    ),
    "student": Preset(
        title="A small student",
        about="A Simple CNN learns from this network.",
        steps=(Distill(student="simple_cnn", epochs=6.0),),
    ),
    "fastest": Preset(
        title="Fastest on this CPU",
        about="40% fewer channels, trained, then int8.",
        steps=(
            PruneChannels(amount=0.4),
            FineTune(epochs=8.0),
            Int8(),
        ),
    ),
    "text_int8": Preset(
        title="int8",
        about="A quarter of the size; LSTM, GRU and RNN also write faster.",
        steps=(Int8(),),
        task="text",
    ),
    "text_half": Preset(
        title="Half the size, nothing lost", about="float16 weights: half the file.", steps=(Float16(),), task="text"
    ),
    "text_smallest": Preset(
        title="Smallest file",
        about="70% of weights pruned, the rest coded.",
        steps=(PruneGradually(amount=0.7, epochs=1.0, schedule="gentle"), Cluster(bits=4), HuffmanCode()),
        task="text",
    ),
    "text_student": Preset(
        title="A small student",
        about="A smaller LSTM learns from this one.",
        steps=(
            Distill(
                student="char_lstm", student_config={"width": 256, "layers": 1, "embedding": 64}, epochs=3.0, seeds=3
            ),
        ),
        task="text",
    ),
}
"""Recipes that the page and the command line offer, of each task the quickest first."""
