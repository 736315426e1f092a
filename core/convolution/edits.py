"""A trained network with some of it changed by hand, what that does to its accuracy, and how it is kept."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from core.checkpoints.child import child_checkpoint
from core.checkpoints.store import Checkpoint, load_checkpoint, save_checkpoint
from core.common.errors import LabError
from core.common.progress import Progress
from core.common.values import wilson
from core.compression.measuring.significance import mcnemar, paired_interval
from core.convolution.arithmetic import parse_kernel
from core.convolution.config import Edit, EditConfig
from core.convolution.kind import EDIT
from core.data.dataset import Split
from core.inference.evaluation import split_answers
from core.inference.images import logits_of
from core.jobs.instant import record_finished
from core.jobs.job import Job, Outcome
from core.models import clone_model
from core.models.pooling import replace_pooling
from core.models.receptive_field import spans

TEST_IMAGES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two networks on the same test images."""

    images: int
    before: float
    after: float
    """Accuracy, 0..1."""
    lost: int
    gained: int
    """Images that only the first, only the second got right."""
    p_value: float
    """McNemar's exact test."""
    interval_points: tuple[float, float]
    """95% interval of after - before, percentage points."""
    seconds: float


def apply_edits(checkpoint: Checkpoint, edits: tuple[Edit, ...]) -> Checkpoint:
    """The changed network as a checkpoint with this one as its parent. Raises LabError for a layer or channel that there is
    not, and a kernel of another size.

    A batch norm after a convolution would turn a channel of zeros into a constant: of a channel that is zero its scale and
    shift are zero too.
    """
    model = clone_model(checkpoint.model)
    for edit in edits:
        modules = dict(model.named_modules())
        layer = modules.get(edit.layer)
        if edit.what == "pooling":
            if not isinstance(layer, nn.MaxPool2d):
                raise LabError(f"{edit.layer[:60]!r} is no max pooling of this network: choose one that is listed.")
            model.set_submodule(edit.layer, replace_pooling(layer, edit.pooling))
            continue
        if not isinstance(layer, nn.Conv2d):
            raise LabError(f"{edit.layer[:60]!r} is no convolution of this network: choose one that is listed.")
        outputs, inputs, *size = layer.weight.shape
        if edit.channel >= outputs or edit.input >= inputs:
            raise LabError(
                f"{edit.layer} has {outputs} output and {inputs} input channels, from 0 on, not {edit.channel}, {edit.input}."
            )
        if edit.what == "zero":
            norm = _norm_after(model, edit.layer, checkpoint.card.image_data.image_size)
            for module in (layer, norm):
                for tensor in (module.weight, module.bias) if module is not None else ():
                    if tensor is not None:
                        tensor[edit.channel] = 0
            continue
        kernel = parse_kernel(edit.kernel)
        if list(kernel.shape) != size:
            raise LabError(f"The kernels of {edit.layer} are {size[0]}×{size[1]}: give as many numbers.")
        layer.weight[edit.channel, edit.input] = torch.from_numpy(kernel).to(layer.weight)
    words = "; ".join(edit.words for edit in edits)
    notes = f"{checkpoint.card.notes} Changed by hand: {words}.".strip()
    return child_checkpoint(checkpoint, model, notes=notes)


@torch.inference_mode()
def probabilities(checkpoint: Checkpoint, pixels: np.ndarray, temperature: float) -> np.ndarray:
    """(classes,) of one view of an image (H, W, 3) uint8, in float32 also for an int8 checkpoint."""
    logits = logits_of(dataclasses.replace(checkpoint, onnx=b""), pixels[None].copy(), "none")
    return torch.softmax(logits[0] / temperature, 0).numpy()


def compare(before: np.ndarray, after: np.ndarray, labels: np.ndarray, seconds: float = 0.0) -> Comparison:
    """before, after: (N, classes) logits of the same images; labels: (N,)."""
    first, second = (logits.argmax(1) == labels for logits in (before, after))
    lost, gained, n = int((first & ~second).sum()), int((second & ~first).sum()), len(labels)
    return Comparison(
        images=n,
        before=float(first.mean()),
        after=float(second.mean()),
        lost=lost,
        gained=gained,
        p_value=mcnemar(lost, gained),
        interval_points=paired_interval(lost, gained, n),
        seconds=seconds,
    )


def first_test_logits(checkpoint: Checkpoint, split: Split, on_progress: Progress) -> tuple[np.ndarray, float]:
    """(N, classes) logits of the first 1,000 test images, one view of each, in float32 also for an int8 checkpoint (its float
    twin, which is what can be changed); and the seconds that took."""
    started = time.perf_counter()
    part = Split(images=split.images[:TEST_IMAGES], labels=split.labels[:TEST_IMAGES])
    float32 = dataclasses.replace(checkpoint, onnx=b"")
    logits = split_answers(float32, part, "none", lambda share: on_progress(share, "answering test images")).logits
    return logits.numpy(), time.perf_counter() - started


def save_edited(
    config: EditConfig, name: str | None = None, measured: Comparison | None = None, *, user: str = ""
) -> str:
    """Keep the changed checkpoint as a finished run, which lists and pages find under its id; returns that. It takes
    milliseconds, so it waits in no queue. Raises LabError."""
    message = f"Changed by hand: {config.words}."
    return record_finished(config, EDIT.name, name, message, partial(_write, config, measured=measured), user=user)


def run_edit(config: EditConfig, job: Job) -> Outcome:
    """The same in a worker, for a run that was interrupted before it was saved."""
    _write(config, job.folder, job.name)
    return Outcome(status="finished", message=f"Changed by hand: {config.words}.")


def _write(config: EditConfig, folder: Path, title: str, measured: Comparison | None = None) -> None:
    made = apply_edits(load_checkpoint(config.checkpoint), config.edits)
    figures = {}
    if measured is not None:
        figures = {
            "test_accuracy": measured.after,
            "test_images": measured.images,
            "test_interval": list(wilson(round(measured.after * measured.images), measured.images)),
            "p_value": measured.p_value,
        }
    save_checkpoint(folder / "best", made.model, dataclasses.replace(made.card, title=title, metrics=figures))


def _norm_after(model: nn.Module, layer: str, side: int) -> nn.BatchNorm2d | None:
    """The batch norm that the output of a convolution goes to before any other convolution; None where there is none."""
    modules = dict(model.named_modules())
    order = list(spans(model, side))
    for name in order[order.index(layer) + 1 :]:
        if isinstance(modules[name], nn.Conv2d):
            return None
        if isinstance(found := modules[name], nn.BatchNorm2d):
            return found
    return None
