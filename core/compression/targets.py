"""What a checkpoint leaves the lab as: one file for each target, read back and compared before it is handed over."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.checkpoints.store import RUNTIME_ONLY, TASKS
from core.common.errors import LabError
from core.common.progress import Progress, no_progress
from core.inference.onnx_network import OPSET, OPSETS
from core.models import MODELS

if TYPE_CHECKING:
    import numpy as np

    from core.checkpoints.store import Card, Checkpoint
    from core.data.dataset import ImageDataset


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A kind of file."""

    title: str
    suffix: str
    about: str
    """One sentence for people: what it is for."""
    tasks: tuple[str, ...] = ("images", "text")


TARGETS = {
    "onnx": Target(
        title="ONNX",
        suffix=".onnx",
        about="Runs in ONNX Runtime, with a script that answers as this app does.",
    ),
    "web": Target(
        title="Web page",
        suffix=".zip",
        about="Classifies images in the browser; any static file server can host it. The first one downloads 33 MB.",
        tasks=("images",),
    ),
    "pt2": Target(
        title="torch.export",
        suffix=".pt2",
        about="Runs in PyTorch without this project's code. PyTorch unpickles parts of such files: load only those you trust.",
    ),
    "safetensors": Target(
        title="Weights",
        suffix=".safetensors",
        about="The weights in float32, named as in PyTorch, with the card in its metadata. Networks takes the file back.",
        tasks=tuple(TASKS),
    ),
    "card": Target(
        title="Model card",
        suffix=".md",
        about="What the checkpoint is, how it was made, and every figure that was measured, as Markdown.",
        tasks=tuple(TASKS),
    ),
}
COMPUTING = ("onnx", "web")
"""Targets whose precision and opset can be chosen."""
WEIGHTS = "all weights"
PRECISIONS = ("float32", "float16", "int8")
CALIBRATION_IMAGES = 1000
"""For the temperature and the threshold of a network that is put in int8 here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportRequest:
    """What somebody wants."""

    target: str = "onnx"
    """A key of TARGETS."""
    precision: str | None = None
    """One of PRECISIONS, of an ONNX file or a web page. None: int8 of an int8 checkpoint of images, float32 of any other."""
    opset: int = OPSET
    """One of core.inference.onnx_network.OPSETS."""

    def check(self, card: Card) -> None:
        """Raises LabError where the checkpoint cannot leave as that."""
        target = TARGETS.get(self.target)
        if target is None:
            raise LabError(f"There is no target {self.target[:40]!r}: choose one of {', '.join(TARGETS)}.")
        if self.target not in offered_targets(card):
            raise LabError(
                f"{card.title[:100]} cannot be exported as {self.target}: choose {', '.join(offered_targets(card))}."
            )
        if self.target not in COMPUTING:
            if self.precision is not None or self.opset != OPSET:
                raise LabError(f"{target.title} has no choice of precision or opset: leave both out, or choose onnx.")
            return
        if self.precision not in (None, *offered_precisions(card)):
            raise LabError(_refused(card, str(self.precision)))
        if self.opset not in OPSETS:
            raise LabError(f"There is no opset {self.opset} here: choose one from {OPSETS[0]} to {OPSETS[-1]}.")
        if self.opset != OPSET and self.precision_of(card) == "int8":
            raise LabError(f"Files in int8 have opset {OPSET}: leave the opset out, or choose another precision.")

    def precision_of(self, card: Card) -> str:
        return self.precision or offered_precisions(card)[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedFile:
    """A file that was read back."""

    data: bytes
    difference: float | None
    """The largest one between a logit of the file and of the checkpoint; None of a file that computes nothing."""
    compared: str
    """What they were compared on, in words."""
    script: str = ""
    """Runs the file, with what its first lines name and without this project."""
    script_name: str = ""
    notes: tuple[str, ...] = ()
    """What a person should know, in sentences."""


def offered_targets(card: Card) -> tuple[str, ...]:
    """Keys of TARGETS. A program of PyTorch has no int8, and fixes the length of a recurrent network; a network that is not
    converted to PyTorch has neither a program nor weights."""
    missing = set()
    if card.has_one_file or (card.model in MODELS and MODELS[card.model].recurrent):
        missing.add("pt2")
    if card.model == RUNTIME_ONLY:
        missing.add("safetensors")
    return tuple(name for name, target in TARGETS.items() if card.task in target.tasks and name not in missing)


def offered_precisions(card: Card) -> tuple[str, ...]:
    """Of an ONNX file of the checkpoint, the usual one first."""
    if card.has_one_file:
        return ("int8",) if card.in_int8 else ("float32", "int8")
    return PRECISIONS if card.task == "images" else PRECISIONS[:2]


def _refused(card: Card, precision: str) -> str:
    if precision not in PRECISIONS:
        return f"There is no precision {precision[:40]!r}: choose one of {', '.join(PRECISIONS)}."
    if card.in_int8:
        return f"This checkpoint computes in int8: export its original for {precision}."
    if card.has_one_file:
        return f"{card.title[:100]} leaves as the file that it came as: choose float32 or int8."
    return "Language models cannot be exported in int8: choose float32 or float16."


def export_file(
    checkpoint: Checkpoint,
    request: ExportRequest,
    file_name: str,
    dataset: ImageDataset | None = None,
    report: Progress = no_progress,
    most: int = CALIBRATION_IMAGES,
) -> ExportedFile:
    """Make a file, read it back and compare it. Raises LabError where that is not possible, or the two differ.

    file_name: what the file will be called, for its script. dataset: that of an image classifier, where it is
    here. most: test images to compare on.
    """
    request.check(checkpoint.card)
    if dataset is not None:
        here, card = dataset.card, checkpoint.card.image_data
        if (here.classes, here.image_size) != (card.classes, card.image_size):  # its folder holds another one by now
            dataset = None
    images = dataset.test.images[:most] if dataset is not None and len(dataset.test) else None
    if request.target == "card":
        from core.checkpoints.model_card import model_card

        return ExportedFile(data=model_card(checkpoint.card).encode(), difference=None, compared="")
    if request.target == "safetensors":
        return _weights(checkpoint)
    if request.target == "pt2":
        return _program(checkpoint, file_name, images, report)
    return _onnx(checkpoint, request, file_name, dataset, images, report)


def _onnx(
    checkpoint: Checkpoint,
    request: ExportRequest,
    file_name: str,
    dataset: ImageDataset | None,
    images: np.ndarray | None,
    report: Progress,
) -> ExportedFile:
    from core.compression.onnx.export import SCRIPTS, compare_export, export_onnx, most_compared, script
    from core.compression.onnx.half import check_loads

    precision = request.precision_of(checkpoint.card)
    notes: tuple[str, ...] = ()
    if precision == "int8" and not checkpoint.in_int8:
        original = checkpoint
        checkpoint = _in_int8(original, dataset, report)
        notes = (_agreement(original, checkpoint, images),)
    elif checkpoint.card.task == "text" and checkpoint.card.storage == "int8":
        notes = ("This file computes in float32: for language models the 8 bits are for storage and for this project.",)
    report(0.5, "exporting")
    data = export_onnx(checkpoint, half=precision == "float16", opset=request.opset)
    if precision == "float16":
        check_loads(data)
    report(0.8, "comparing with PyTorch")
    if images is not None:
        images = images[: most_compared(checkpoint.card)]
    difference = compare_export(checkpoint, data, images)
    web = request.target == "web"
    if web:
        from core.compression.web.bundle import web_page

        data = web_page(checkpoint, data, report)
    return ExportedFile(
        data=data,
        difference=difference,
        compared=_compared(checkpoint.card, images),
        script="" if web else script(checkpoint.card, file_name),
        script_name="" if web else SCRIPTS[checkpoint.card.task],
        notes=notes,
    )


def _program(checkpoint: Checkpoint, file_name: str, images: np.ndarray | None, report: Progress) -> ExportedFile:
    from core.compression.onnx.export import SCRIPTS, compare_network, most_compared
    from core.compression.program import Program, export_program, program_script

    report(0.2, "exporting")
    data = export_program(checkpoint)
    report(0.7, "reading it back")
    images = None if images is None else images[: most_compared(checkpoint.card)]
    return ExportedFile(
        data=data,
        difference=compare_network(checkpoint, Program(data), images),
        compared=_compared(checkpoint.card, images),
        script=program_script(checkpoint.card, file_name),
        script_name=SCRIPTS[checkpoint.card.task],
    )


def _compared(card: Card, images: np.ndarray | None) -> str:
    from core.compression.onnx.export import RANDOM_IMAGES

    if images is not None:
        return f"{len(images):,} test images"
    return "random characters" if card.task == "text" else f"{RANDOM_IMAGES} random images"


def _in_int8(checkpoint: Checkpoint, dataset: ImageDataset | None, report: Progress) -> Checkpoint:
    """The checkpoint in int8, with its own temperature and threshold."""
    from core.compression.methods.int8 import to_int8
    from core.compression.steps import FEWEST_CALIBRATION_IMAGES, Int8
    from core.data import subset
    from core.inference.evaluation import calibrate, split_answers

    if dataset is None:
        raise LabError(
            f"int8 needs training images, and {checkpoint.card.dataset.title[:100]} is not here: fetch it, or choose float16."
        )
    report(0.0, "measuring the ranges of activations")
    step = Int8(images=max(FEWEST_CALIBRATION_IMAGES, min(Int8().images, len(dataset.train))))
    made = to_int8(checkpoint, subset(dataset.train, step.images, 0).images, step)
    report(0.2, "calibrating")
    fewer = dataclasses.replace(
        dataset,
        validation=subset(dataset.validation, CALIBRATION_IMAGES, 0) if len(dataset.validation) else dataset.validation,
    )
    calibration = calibrate(made.card, fewer, lambda split: split_answers(made, split))
    return dataclasses.replace(made, card=dataclasses.replace(made.card, calibration=calibration))


def _agreement(original: Checkpoint, made: Checkpoint, images: np.ndarray | None) -> str:
    from core.inference.images import logits_of

    if images is None:
        return "Agreement with the original was not measured: there are no test images here."
    same = logits_of(original, images, "none").argmax(1) == logits_of(made, images, "none").argmax(1)
    return f"On {len(images):,} test images it names the same class as its original {float(same.float().mean()):.1%} of the time."


def _weights(checkpoint: Checkpoint) -> ExportedFile:
    import torch
    from safetensors.torch import load

    from core.compression.onnx.export import weights_file

    data = weights_file(checkpoint)
    found = load(data)
    for name, value in checkpoint.model.state_dict().items():
        if not torch.equal(found[name], value.to(found[name].dtype)):
            raise LabError(f"{name} did not come back as it was written: nothing was written, report this.")
    return ExportedFile(data=data, difference=0.0, compared=WEIGHTS)
