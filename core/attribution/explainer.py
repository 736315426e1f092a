"""Asks attribution methods why a checkpoint said what it said: one place that checks, seeds, locks and times."""

from __future__ import annotations

import dataclasses
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.attribution.baselines import DEFAULT_BASELINE, baseline_of, check_baseline, same_image
from core.attribution.method import AttributionRequest, Method, Progress, Unlocked, completeness_gap, no_progress
from core.checkpoints.store import RUNTIME_ONLY, Checkpoint
from core.common.errors import LabError
from core.inference.images import normalise
from core.models import clone_model

BATCH = 64
"""Images of up to 64x64 pixels that go through the network at once where only its answer is wanted."""
LEAST_BATCH = 8
"""Of larger images fewer: with 64 images of 160x160 at once, EfficientNet-Lite0 takes twice the time on a CPU."""
_DRAWING = threading.Lock()
"""Held while anything draws from the global random generators, which Captum uses and which all threads share."""
WAIT_S = 0.2
"""How often who waits for that tells that it still waits."""
warnings.filterwarnings("ignore", module="captum")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Attribution:
    """One map: why this class, for this image, by this method."""

    method: Method
    target: int
    """Index of the class whose logit it explains."""
    values: np.ndarray
    """(3, H, W) float32, as Captum gave them."""
    inputs: np.ndarray
    """(3, H, W) float32: the normalised image that they belong to."""
    baseline: str
    """Name of the baseline; said of every map, used by methods that compare with one."""
    seed: int
    milliseconds: float
    """Wall time of the method."""
    gap: float | None = None
    """Completeness gap: |sum of the values - what they should sum to|, as a share of that; of methods that have one."""

    @property
    def pixels(self) -> np.ndarray:
        """(H, W) float32, a value for each pixel: signed maps sum their channels, others take the largest."""
        if not self.method.channels:
            return self.values[0]
        return self.values.sum(0) if self.method.signed else self.values.max(0)

    @property
    def magnitude(self) -> np.ndarray:
        """(H, W) float32: how much each pixel matters, for or against: the sum of its channels' absolute values."""
        return np.abs(self.values).sum(0) if self.method.channels else np.abs(self.values[0])

    @property
    def blank(self) -> bool:
        """Whether it is zero everywhere: the method found nothing to say."""
        return not self.values.any()


class Explainer:
    """A checkpoint that can be asked. Works on a copy of the network, one question at a time; threads may share it."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.card = checkpoint.card
        self._model = self.copy()
        self._lock = threading.Lock()
        self._refusals: dict[str, str | None] = {}

    @property
    def side(self) -> int:
        return self.card.image_data.image_size

    def copy(self) -> Any:
        """A copy of the network, which may be hooked. With weights in channels_last, as images are, answers take 0.6 of the time
        on a CPU and gradients 0.85 of it."""
        return clone_model(self.checkpoint.model).to(memory_format=torch.channels_last)

    def refusal(self, method: Method) -> str | None:
        """Why this network cannot be explained by that method, in one sentence; None where it can."""
        key = repr(method)
        if key not in self._refusals:  # the network stays the same, and following it takes milliseconds
            # The original is never hooked, while another thread may be hooking the copy.
            self._refusals[key] = self._without_gradients(method) or method.refusal(self.checkpoint.model)
        return self._refusals[key]

    def _without_gradients(self, method: Method) -> str | None:
        """Why a network that only answers is not explained by methods which do more than ask it."""
        if self.card.model != RUNTIME_ONLY or method.family == "perturbation":
            return None
        return (
            f"{method.title} needs gradients or layers, and this network runs only in ONNX Runtime: choose Occlusion, Feature "
            "Ablation, LIME or KernelSHAP."
        )

    def inputs(self, pixels: np.ndarray) -> Tensor:
        """The network's input (1, 3, H, W) of one image (H, W, 3) uint8. Raises LabError for any other size."""
        side = self.side
        if pixels.dtype != np.uint8 or pixels.shape != (side, side, 3):
            raise LabError(f"{self.card.title[:100]} takes one image of {side}x{side} pixels: resize it first.")
        device = next(self._model.parameters()).device
        return normalise(torch.from_numpy(pixels[None].copy()).to(device), self.card)

    def attribute(
        self,
        method: Method,
        pixels: np.ndarray,
        target: int,
        *,
        baseline: str = DEFAULT_BASELINE,
        seed: int = 0,
        on_progress: Progress = no_progress,
    ) -> Attribution:
        """Why class `target`, for pixels (H, W, 3) uint8? The same question gives the same map.

        Of an int8 checkpoint it is the float twin that is asked. Raises LabError for pixels of another size, a class or
        baseline that there is not, a network that the method does not support, and a baseline that is the image itself.
        """
        check_baseline(baseline)
        classes = self.card.image_data.classes
        if not 0 <= target < len(classes):
            raise LabError(f"There is no class {target}: choose one from 0 to {len(classes) - 1}.")
        inputs = self.inputs(pixels)
        refusal = self.refusal(method)
        if refusal:
            raise LabError(refusal)
        base = baseline_of(baseline, inputs, self.card, seed)
        if method.uses_baseline and same_image(base, inputs):
            raise LabError(
                f"The image is the same as its baseline ({baseline}), so {method.title} has no difference to explain: "
                "choose another baseline."
            )
        question = AttributionRequest(
            inputs=inputs.clone().requires_grad_(), target=target, baseline=base, seed=seed, on_progress=on_progress
        )
        found, milliseconds = self._drawn(method, question) if method.random else self._found(method, question)
        values = np.ascontiguousarray(found.detach()[0].cpu().numpy(), dtype=np.float32)
        if not np.isfinite(values).all():
            raise LabError(f"{method.title} overflows on this network: choose another method.")
        return Attribution(
            method=method,
            target=target,
            values=values,
            inputs=np.ascontiguousarray(inputs[0].cpu().numpy(), dtype=np.float32),
            baseline=baseline,
            seed=seed,
            milliseconds=milliseconds,
            gap=self._gap(method, values, inputs, base, target),
        )

    def _found(self, method: Method, question: AttributionRequest) -> tuple[Tensor, float]:
        """The map, and the ms it took."""
        with self._lock, torch.enable_grad():
            started = time.perf_counter()
            try:
                found = method.attribute(self._model, question)
            except BaseException:
                self._model = self.copy()  # hooks may be left in this one
                raise
            return found, (time.perf_counter() - started) * 1000

    def _drawn(self, method: Method, question: AttributionRequest) -> tuple[Tensor, float]:
        """The map of a method that draws random numbers, and the ms it took. It works on another copy of the network, so that
        nobody waits for the shared copy while this method waits for the random generators."""
        model = self.copy()
        with seeded(question.seed, question.on_progress) as unlocked, torch.enable_grad():
            started = time.perf_counter()
            found = method.attribute(model, dataclasses.replace(question, unlocked=unlocked))
            return found, (time.perf_counter() - started) * 1000

    def baseline(self, name: str, pixels: np.ndarray, seed: int = 0) -> Tensor:
        """(1, 3, H, W), normalised. Raises LabError for an unknown name."""
        return baseline_of(name, self.inputs(pixels), self.card, seed)

    @torch.no_grad()
    def logits(self, inputs: Tensor) -> Tensor:
        """(N, classes) float32 of normalised images (N, 3, H, W), one view of each, some at a time."""
        size = max(LEAST_BATCH, min(BATCH, BATCH * 64**2 // self.side**2))
        with self._lock:
            return torch.cat([self._model(part).float() for part in inputs.split(size)])

    def probabilities(self, inputs: Tensor) -> Tensor:
        """(N, classes), calibrated, of normalised images (N, 3, H, W), one view of each."""
        return torch.softmax(self.logits(inputs) / self.card.calibration.temperature, 1)

    def _gap(self, method: Method, values: np.ndarray, inputs: Tensor, base: Tensor, target: int) -> float | None:
        if not method.sums_to:
            return None
        logit, of_base = self.logits(torch.cat([inputs, base]))[:, target].tolist()
        wanted = logit - of_base if method.sums_to == "rise" else logit
        return completeness_gap(float(values.sum(dtype=np.float64)), wanted)


@contextmanager
def seeded(seed: int, on_progress: Progress = no_progress) -> Iterator[Unlocked]:
    """The global generators seeded, and put back after. Gives what lets others draw meanwhile, for the time in which the
    network computes. on_progress: called while others draw, and may end the waiting."""
    while not _DRAWING.acquire(timeout=WAIT_S):
        on_progress(0.0)
    before = _generators()
    try:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        yield _unlocked
    finally:
        _put_back(before)
        _DRAWING.release()


@contextmanager
def _unlocked() -> Iterator[None]:
    mine = _generators()
    _DRAWING.release()
    try:
        yield
    finally:
        _DRAWING.acquire()
        _put_back(mine)


def _generators() -> tuple[Tensor, Any]:
    return torch.random.get_rng_state(), np.random.get_state()


def _put_back(state: tuple[Tensor, Any]) -> None:
    torch.random.set_rng_state(state[0])
    np.random.set_state(state[1])
