"""A checkpoint under one setting, ready to be called: PyTorch as it is or compiled, ONNX Runtime, or a training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.checkpoints.store import read_card
from core.hardware.setups import WARM_STEPS, Setup
from core.inference.onnx_network import OnnxNetwork, onnx_inputs


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """What a process is told of its cell."""

    setup: Setup
    checkpoint: str
    """Its folder."""
    sample: str
    """A file with `images` (N, H, W, 3) uint8 and `labels` (N,)."""
    train: str = ""
    """The same with training images, for a cell that trains."""
    onnx: str = ""
    """A file that ONNX Runtime loads, for a cell of it."""
    recipe: dict[str, Any] | None = None
    """The configuration of a training, as plain values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """Everything is read; nothing is built or compiled yet."""

    start: Callable[[], None]
    """Builds, compiles and makes the first call."""
    call: Callable[[], None]
    """One batch, waited for."""
    logits: Callable[[], np.ndarray]
    """(N, classes) float32 of the sample."""
    calls_for_logits: int
    """How many calls that takes, about."""


def load(spec: Spec) -> Loaded:
    """Read the checkpoint and its inputs. Raises LabError."""
    if spec.setup.runtime == "onnx":
        return _in_onnx_runtime(spec)
    return _in_training(spec) if spec.setup.work == "training" else _in_pytorch(spec)


def import_libraries(setup: Setup) -> None:
    """What belongs to no cell's memory or start."""
    if setup.runtime == "onnx":
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401

        return
    import torch  # noqa: F401

    import core.inference.images
    import core.training.trainer  # noqa: F401


def chunks(images: np.ndarray, size: int) -> list[np.ndarray]:
    """Batches of one size, the last filled with images of its beginning: a compiled network takes no other."""
    missing = -len(images) % size
    filled = np.concatenate([images, np.resize(images, (missing, *images.shape[1:]))]) if missing else images
    return [filled[start : start + size] for start in range(0, len(filled), size)]


def _sample(spec: Spec) -> np.ndarray:
    with np.load(spec.sample, allow_pickle=False) as file:
        return np.asarray(file["images"])


def _in_onnx_runtime(spec: Spec) -> Loaded:
    card, data = read_card(Path(spec.checkpoint)), Path(spec.onnx).read_bytes()
    images = _sample(spec)
    batches = [onnx_inputs(card, part) for part in chunks(images, spec.setup.batch_size)]
    networks: list[OnnxNetwork] = []

    def start() -> None:
        networks.append(OnnxNetwork(data, threads=spec.setup.threads))
        call()

    def call() -> None:
        networks[0].logits(batches[0])

    def logits() -> np.ndarray:
        return np.concatenate([networks[0].logits(batch) for batch in batches])[: len(images)]

    return Loaded(start=start, call=call, logits=logits, calls_for_logits=len(batches))


def _in_pytorch(spec: Spec) -> Loaded:
    import torch
    from torch import Tensor

    from core.checkpoints.store import load_checkpoint
    from core.inference.images import normalise

    setup, checkpoint = spec.setup, load_checkpoint(spec.checkpoint)
    dtype = getattr(torch, setup.precision)
    layout = torch.channels_last if setup.memory_format == "channels_last" else torch.contiguous_format
    images = _sample(spec)
    batches = [
        normalise(torch.from_numpy(part), checkpoint.card).to(setup.device, dtype).contiguous(memory_format=layout)
        for part in chunks(images, setup.batch_size)
    ]
    networks: list[Callable[[Tensor], Tensor]] = []

    def start() -> None:
        model = checkpoint.model.to(setup.device, dtype, memory_format=layout)  # type: ignore[call-overload]
        networks.append(torch.compile(model) if setup.runtime == "compile" else model)
        call()

    @torch.inference_mode()
    def call() -> None:
        networks[0](batches[0])
        synchronise(setup.device)

    @torch.inference_mode()
    def logits() -> np.ndarray:
        found = [networks[0](batch).float().cpu() for batch in batches]
        return np.asarray(torch.cat(found)[: len(images)])

    return Loaded(start=start, call=call, logits=logits, calls_for_logits=len(batches))


def _in_training(spec: Spec) -> Loaded:
    import torch

    from core.data.dataset import ImageDataset, Split
    from core.inference.images import normalise
    from core.training.config import TrainConfig
    from core.training.session import TrainSession
    from core.training.trainer import train_step

    setup, card = spec.setup, read_card(Path(spec.checkpoint))
    with np.load(spec.train, allow_pickle=False) as file:
        split = Split(images=file["images"], labels=file["labels"])
    images = _sample(spec)
    dataset = ImageDataset(card=card.image_data, train=split, validation=split, test=split)
    config = TrainConfig.from_dict(spec.recipe)
    sessions: list[TrainSession] = []
    steps: list[Any] = []

    def start() -> None:
        sessions.append(TrainSession.start(config, dataset, setup.device))
        steps.append(sessions[0].batches())
        call()

    def call() -> None:
        train_step(sessions[0], *next(steps[0]))
        synchronise(setup.device)

    def logits() -> np.ndarray:
        session = sessions[0]
        while session.counters.step < WARM_STEPS:
            call()
        session.model.eval()
        found = []
        for part in chunks(images, setup.batch_size):
            inputs = normalise(torch.from_numpy(part), card).to(setup.device)
            with torch.no_grad(), session.amp:
                found.append(session.model(inputs).float().cpu())
        return np.asarray(torch.cat(found)[: len(images)])

    calls = WARM_STEPS + -(-len(images) // setup.batch_size)
    return Loaded(start=start, call=call, logits=logits, calls_for_logits=calls)


def synchronise(device: str) -> None:
    """Wait for a GPU: its calls return before they are done."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()
