"""One procedure that measures all variants of a checkpoint beside their original. All of it is on the CPU.

Images: the network alone is timed, from normalised float32 to logits, in PyTorch and in ONNX Runtime, each in turn with the
original in the same runtime; accuracy is that of the ONNX file, which is what is deployed, on all test images, one view of
each (no test-time augmentation). Text: see core.compression.measuring.measure_text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from core.checkpoints.store import Card, Checkpoint
from core.common.devices import cores
from core.common.errors import LabError
from core.common.progress import Progress, no_progress
from core.common.values import wilson
from core.compression.measuring.comparable import check_comparable
from core.compression.measuring.counting import layers_of_images, zeros_of
from core.compression.measuring.latency import interleaved, peak_memory, torch_threads
from core.compression.measuring.measure_text import TextBench
from core.compression.measuring.notes import PLACES, about_int8, about_storage, about_zeros, busy, slower
from core.compression.measuring.significance import mcnemar, paired_interval
from core.compression.onnx.export import compare_export, export_onnx
from core.compression.recipe import ORIGINAL
from core.compression.results import SUBJECTS, Latency, Measurement
from core.data import Dataset, ImageDataset, TextDataset
from core.data.dataset import Split
from core.inference.evaluation import calibrate, held_out, measure_calibration
from core.inference.images import Answers, logits_of
from core.inference.onnx_network import OnnxNetwork, onnx_inputs
from core.models import clone_model

BATCH = 32
"""Test images that are answered at once."""
COMPARED = 200
"""Test images on which the ONNX file is compared with PyTorch."""


class Bench:
    """Measures checkpoints against an original, whose own answers and losses are computed once."""

    def __init__(
        self,
        original: Checkpoint,
        stored_bytes: int,
        dataset: Dataset | None,
        *,
        threads: int = 1,
        on_progress: Progress = no_progress,
    ) -> None:
        """stored_bytes: of the original's weights file. dataset: None where it is missing: the rest is measured.
        threads: for latencies. Raises LabError for an
        invalid number of threads.
        """
        if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= 256:
            raise LabError(f"threads={repr(threads)[:60]} is not valid: it must be a whole number from 1 to 256.")
        self.original, self.stored_bytes = _on_cpu(original), stored_bytes
        self.side: ImageBench | TextBench
        if original.card.task == "text":
            text = dataset if isinstance(dataset, TextDataset) else None
            self.side = TextBench(self.original, text, on_progress=on_progress)
        else:
            images = dataset if isinstance(dataset, ImageDataset) else None
            self.side = ImageBench(self.original, images, threads=threads, on_progress=on_progress)

    def measure_original(self) -> tuple[Measurement, np.ndarray | None]:
        """`measure` for the original itself."""
        return self.measure(self.original, self.stored_bytes, id=ORIGINAL, title="original")

    def measure(
        self, checkpoint: Checkpoint, stored_bytes: int, *, id: str, title: str, **about: Any
    ) -> tuple[Measurement, np.ndarray | None]:
        """All figures of a checkpoint, and its answers (N,) int16 to the test images (None: of text, or without images).

        stored_bytes: of its weights file. id: `original` for the original itself, which is compared with nothing. about: more
        fields of the Measurement. Raises LabError for a checkpoint that answers another question than the original.
        """
        check_comparable(self.original.card, checkpoint.card)
        is_original = id == ORIGINAL
        checkpoint = self.original if is_original else _on_cpu(checkpoint)
        figures, answers = self.side.measure(checkpoint, is_original)
        measured = Measurement(
            id=id,
            title=title,
            model=checkpoint.card.model,
            stored_bytes=stored_bytes,
            parameters=sum(parameter.numel() for parameter in checkpoint.model.parameters()),
            **about,
            **figures,
        )
        return measured, answers


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """A network in both runtimes."""

    model: nn.Module
    """A copy in eval mode, channels_last."""
    data: bytes
    """As an ONNX file; empty where it cannot be one."""
    network: OnnxNetwork | None
    notes: tuple[str, ...]


class ImageBench:
    """Measures image classifiers against an original."""

    def __init__(
        self,
        original: Checkpoint,
        dataset: ImageDataset | None,
        *,
        threads: int,
        on_progress: Progress,
    ) -> None:
        self.original, self.threads, self.on_progress = original, threads, on_progress
        self.dataset, self.missing = dataset, _missing(original.card, dataset)

    def measure(self, checkpoint: Checkpoint, is_original: bool) -> tuple[dict[str, Any], np.ndarray | None]:
        """Fields of a Measurement, and the answers. is_original: the checkpoint is the original."""
        card = checkpoint.card
        side = card.image_data.image_size
        first = self._first
        running = first if is_original else self._start(checkpoint)
        notes = [*running.notes, *about_storage(card, checkpoint.in_int8)]
        layers, macs = layers_of_images(checkpoint.model, side)
        zeros = zeros_of(checkpoint.model)
        latency_ms, losses = self._latencies(running, None if is_original else first, side)
        if running.network is not None and first.network is None:
            notes.append("The original cannot run in ONNX Runtime, so there is no speed to compare with there.")
        memory, error = None, None
        if running.data:
            self.on_progress(0.0, "peak memory")
            memory = peak_memory(running.data, (1, 3, side, side), threads=self.threads)
            if memory is None:
                notes.append("Peak memory could not be measured on this machine.")
            self.on_progress(0.0, "the ONNX file against PyTorch")
            try:
                compared = None if self.dataset is None or self.missing else self.dataset.test.images[:COMPARED]
                error = compare_export(checkpoint, running.data, compared)
            except LabError as problem:
                notes.append(str(problem))
        logits = None if is_original else self._test_logits(checkpoint, running)
        answers = self._original_answers if is_original else _answers(logits)
        if self.missing:
            notes.append(self.missing)
        notes += about_zeros(zeros) + losses + busy(latency_ms)
        figures: dict[str, Any] = {
            "size_bytes": len(running.data) or None,
            "macs": macs,
            "zeros": zeros,
            "latency_ms": latency_ms,
            "threads": self.threads,
            "memory_bytes": memory,
            "export_error": error,
            "layers": layers,
        }
        if answers is not None:
            figures |= self._accuracy(answers, None if is_original else self._original_answers)
            notes += about_int8(card, checkpoint.in_int8, figures.get("delta_points"))
        if logits is not None:
            figures |= self._calibration(checkpoint, running, logits)
        return figures | {"notes": tuple(notes)}, answers

    @cached_property
    def _first(self) -> _Running:
        """The original in both runtimes."""
        return self._start(self.original)

    @cached_property
    def _original_answers(self) -> np.ndarray | None:
        return _answers(self._test_logits(self.original, self._first))

    def _start(self, checkpoint: Checkpoint) -> _Running:
        self.on_progress(0.0, "export to ONNX")
        model = clone_model(checkpoint.model).to(memory_format=torch.channels_last)
        try:
            data = export_onnx(dataclasses.replace(checkpoint, features=None))  # the network alone
            return _Running(model, data, OnnxNetwork(data, threads=self.threads), ())
        except LabError as error:
            note = "Size, times and memory in ONNX Runtime were not measured, and accuracy is that of PyTorch"
            return _Running(model, b"", None, (f"{note}: {str(error)[:300]}",))

    def _latencies(self, running: _Running, first: _Running | None, side: int) -> tuple[dict[str, Latency], list[str]]:
        """By subject, and where it is slower, in sentences. first: what is timed in turn with it; None: nothing, it is the
        original itself."""
        both = [running] if first is None else [running, first]
        found, sentences = {}, []
        for subject in SUBJECTS:
            runtime, _, size = subject.partition("_b")
            if runtime == "onnx" and any(item.network is None for item in both):
                continue
            self.on_progress(0.0, f"time {PLACES[subject]}")
            batch = np.random.default_rng(0).standard_normal((int(size), 3, side, side), dtype=np.float32)
            with torch_threads(self.threads):
                times = interleaved([_call(item, runtime, batch) for item in both])
            p50, p95 = np.percentile(times[0], (50, 95))
            original_p50 = np.percentile(times[-1], 50)  # of the same times, the same figure to the last bit
            found[subject] = Latency(
                p50=float(p50), p95=float(p95), original_p50=float(original_p50), rounds=times.shape[1]
            )
            sentences += slower(PLACES[subject], times[0], times[-1])
        return found, sentences

    def _test_logits(self, checkpoint: Checkpoint, running: _Running) -> torch.Tensor | None:
        return None if self.dataset is None or self.missing else self._logits(checkpoint, running, self.dataset.test)

    def _logits(self, checkpoint: Checkpoint, running: _Running, split: Split) -> torch.Tensor:
        """(N, classes) of each image of a split, through the ONNX file where there is one."""
        images = split.images
        network = OnnxNetwork(running.data, threads=cores()) if running.data else None
        twin = dataclasses.replace(checkpoint, onnx=b"")
        parts = []
        for start in range(0, len(images), BATCH):
            self.on_progress(start / len(images), f"answer {len(images):,} images")
            part = images[start : start + BATCH]
            if network is not None:
                parts.append(torch.from_numpy(network.logits(onnx_inputs(checkpoint.card, part))))
            else:
                parts.append(logits_of(twin, part, "none"))
        return torch.cat(parts)

    def _calibration(self, checkpoint: Checkpoint, running: _Running, logits: torch.Tensor) -> dict[str, Any]:
        """Calibration of a variant, and what it is worth on test images that it was not set on. logits: of all of them."""
        assert self.dataset is not None
        test = self.dataset.test

        def answer(split: Split) -> Answers:
            return Answers(logits if split is test else self._logits(checkpoint, running, split))

        calibration = calibrate(checkpoint.card, self.dataset, answer)
        if calibration.energy_threshold is None:
            return {}
        rest = torch.from_numpy(held_out(calibration, len(logits)))
        _, ece, flagged = measure_calibration(
            Answers(logits[rest]), torch.from_numpy(self.dataset.test.labels)[rest], calibration
        )
        return {"calibration": calibration, "ece": ece, "flagged": flagged}

    def _accuracy(self, answers: np.ndarray, original: np.ndarray | None) -> dict[str, Any]:
        """Accuracy of the answers, and their difference from the original's."""
        assert self.dataset is not None
        labels, n = self.dataset.test.labels, len(answers)
        right = answers == labels
        classes = range(len(self.original.card.image_data.classes))
        found: dict[str, Any] = {
            "accuracy": float(right.mean()),
            "accuracy_interval": wilson(int(right.sum()), n),
            "images": n,
            "per_class": tuple(
                float(right[labels == index].mean()) if (labels == index).any() else 0.0 for index in classes
            ),
        }
        if original is not None:
            before = original == labels
            lost, gained = int((before & ~right).sum()), int((~before & right).sum())
            found |= {
                "delta_points": 100 * (gained - lost) / n,
                "delta_interval": paired_interval(lost, gained, n),
                "p_value": mcnemar(lost, gained),
                "disagreements": int((answers != original).sum()),
            }
        return found


def _answers(logits: torch.Tensor | None) -> np.ndarray | None:
    """(N,) int16: the likeliest class of each image."""
    return None if logits is None else logits.argmax(1).numpy().astype(np.int16)


def _call(running: _Running, runtime: str, batch: np.ndarray) -> Callable[[], Any]:
    if runtime == "onnx":
        assert running.network is not None
        network = running.network
        return lambda: network.logits(batch)
    inputs = torch.from_numpy(batch).to(memory_format=torch.channels_last)

    def call() -> None:
        with torch.inference_mode():
            running.model(inputs)

    return call


def _missing(card: Card, dataset: ImageDataset | None) -> str:
    """Why there are no test images to answer, in a sentence; empty where there are."""
    end = "so accuracy was not measured."
    if dataset is None:
        return f"{card.dataset.title[:100]} is not on this machine, {end}"
    if dataset.card.classes != card.image_data.classes:
        return f"{dataset.card.title} no longer has the classes that this was trained on, {end}"
    if not len(dataset.test):
        return f"{dataset.card.title} has no test images, {end}"
    side = card.image_data.image_size
    if dataset.test.images.shape[1:] != (side, side, 3):
        return f"The images of {dataset.card.title} are not of {side}x{side} pixels, {end}"
    return ""


def _on_cpu(checkpoint: Checkpoint) -> Checkpoint:
    if all(parameter.device.type == "cpu" for parameter in checkpoint.model.parameters()):
        return checkpoint
    return dataclasses.replace(checkpoint, model=clone_model(checkpoint.model).cpu())
