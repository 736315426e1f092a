"""Two more measures of a map: does it foretell what covering does, and does it hold still when the image hardly changes?

Source of both: Yeh et al., arXiv:1901.09392.
"""

from __future__ import annotations

import dataclasses
import math
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.attribution.baselines import DEFAULT_BASELINE, baseline_of, same_image
from core.attribution.evidence.controls import control_maps, mean_random
from core.attribution.explainer import BATCH, Attribution, Explainer, seeded
from core.attribution.method import AttributionRequest, Method, Progress, no_progress
from core.common.errors import LabError


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CoveredSquares:
    """What covering random squares does to the logit of a class: the same for all maps of an image, class and baseline."""

    inside: Tensor
    """(N, H * W) bool: True within a square."""
    change: Tensor
    """(3, H, W) float64: by how much a pixel falls where it is covered."""
    falls: Tensor
    """(N,) float64: by how much the logit falls."""
    significant: bool
    """Whether any fall is more than rounding error."""


def cover_squares(
    explainer: Explainer, pixels: np.ndarray, target: int, *, baseline: str, samples: int = 100, seed: int = 0
) -> CoveredSquares:
    """Cover `samples` squares, one after the other. pixels: (H, W, 3) uint8. Raises LabError for an image that is the same as
    its baselines."""
    inputs = explainer.inputs(pixels)
    base = _cover(explainer, baseline, seed, pixels, inputs)
    inside = torch.from_numpy(squares(explainer.side, samples, seed))
    parts = [torch.where(part[:, None].to(inputs.device), base, inputs) for part in inside.split(BATCH)]
    whole, *covered = (explainer.logits(part)[:, target].cpu().double() for part in (inputs, *parts))
    falls = whole - torch.cat(covered)
    return CoveredSquares(
        inside=inside.flatten(1),
        change=(inputs - base)[0].cpu().double(),
        falls=falls,
        significant=float(falls.abs().max()) > 1e-6 * max(1.0, abs(float(whole))),
    )


def infidelity(attribution: Attribution, covered: CoveredSquares) -> float:
    """How badly the map foretells the fall of the logit when a random square is covered: 0 exactly, 1 no better than zeros.

    Mean squared error over the squares, the map scaled at its best (but never turned over), as a share of the mean
    squared fall. A square is filled with a baseline (where that is the image itself: the mean colour, else a blur), and the
    map foretells the sum of its values in there; one of slopes (`is_gradient`), of its values times the change of the
    pixels. So a map of slopes without sign can hardly do well, and Input × Gradient, whose own baseline is the
    mean colour, is at home on that one alone. nan where no square moves the logit.

    covered: squares of the image and the class that the map is of.
    """
    values = torch.from_numpy(attribution.values).double()
    return _share_unexplained(values * covered.change if attribution.method.is_gradient else values, covered)


def control_infidelity(pixels: np.ndarray, covered: CoveredSquares, *, seed: int = 0) -> dict[str, float]:
    """Of each of CONTROLS its infidelity, for which it is taken for values that sum to the answer; the random one is the mean
    of several. pixels: (H, W, 3) uint8, of which the squares were covered."""
    maps = control_maps(pixels, seed)
    return mean_random(
        {name: _share_unexplained(torch.from_numpy(values).double()[None], covered) for name, values in maps.items()}
    )


def _share_unexplained(values: Tensor, covered: CoveredSquares) -> float:
    """values: (C, H, W) float64, of which those in a square sum to what its cover takes away."""
    if not covered.significant:
        return math.nan
    flat, falls = values.sum(0).flatten(), covered.falls
    foretold = torch.stack([flat[inside].sum() for inside in covered.inside])
    agreement = float(foretold @ falls)
    if agreement <= 0:  # at its best scale it would be turned over: rises where it foretells falls
        return 1.0
    error = falls - foretold * agreement / float(foretold @ foretold)
    return float(np.clip(float(error @ error / (falls @ falls)), 0, 1))


def squares(side: int, count: int, seed: int) -> np.ndarray:
    """Random squares, 2 to side // 2 pixels wide, anywhere in the image: (count, side, side) bool, True within."""
    random = np.random.default_rng([seed, 3])
    found = np.zeros((count, side, side), dtype=bool)
    for square in found:
        width = random.integers(2, side // 2 + 1)
        top, left = random.integers(0, side - width + 1, 2)
        square[top : top + width, left : left + width] = True
    return found


def max_sensitivity(
    explainer: Explainer,
    method: Method,
    pixels: np.ndarray,
    target: int,
    *,
    baseline: str = DEFAULT_BASELINE,
    radius: float = 0.02,
    samples: int = 10,
    seed: int = 0,
    on_progress: Progress = no_progress,
) -> float:
    """How far the map of almost the same image is from the map, at worst: Frobenius norm of the difference over that of
    the map, at least 0 (1: as far as a map of zeros).

    The images differ by at most `radius` in each value, in the network's units (a channel's standard deviation is 1),
    at random. Random methods draw the same numbers each time, so that only the image differs; baselines and superpixels
    made from the image follow it. nan for a blank map, of whose norm nothing is a share. Costs `samples` + 1 maps.

    pixels: (H, W, 3) uint8. Raises LabError as `Explainer.attribute` does.
    """
    from captum.metrics import sensitivity_max

    done = 0

    def within(share: float) -> None:
        on_progress((done + share) / (samples + 1))

    def finished() -> None:
        nonlocal done
        done += 1
        within(0.0)

    attribution = explainer.attribute(method, pixels, target, baseline=baseline, seed=seed, on_progress=within)
    finished()
    if attribution.blank:
        return math.nan
    of_image = torch.from_numpy(attribution.values)[None]
    model = explainer.copy()

    def one(inputs: Tensor) -> Tensor:
        base = baseline_of(baseline, inputs, explainer.card, seed)
        inputs = inputs.clone().requires_grad_()
        question = AttributionRequest(inputs=inputs, target=target, baseline=base, seed=seed, on_progress=within)
        with seeded(seed, within) if method.random else nullcontext(nullcontext) as unlocked, torch.enable_grad():
            found = method.attribute(model, dataclasses.replace(question, unlocked=unlocked))
        finished()
        return found.detach().float().cpu().contiguous()

    def explain(asked: Tensor | tuple[Tensor]) -> Tensor | tuple[Tensor]:
        if isinstance(asked, tuple):  # how Captum asks for the image itself, and wants to be answered
            return (of_image,)
        return torch.cat([one(inputs) for inputs in asked.split(1)])

    generator = torch.Generator().manual_seed(seed)

    def perturb(copies: Tensor, radius: float) -> Tensor:
        return copies + torch.empty(copies.shape).uniform_(-radius, radius, generator=generator).to(copies.device)

    inputs = explainer.inputs(pixels)
    found = float(sensitivity_max(explain, inputs, perturb, perturb_radius=radius, n_perturb_samples=samples))
    if not math.isfinite(found):
        raise LabError(f"{method.title} overflows on this network: choose another method.")
    return found


def _cover(explainer: Explainer, baseline: str, seed: int, pixels: np.ndarray, inputs: Tensor) -> Tensor:
    for name in (baseline, "mean", "blur"):
        base = explainer.baseline(name, pixels, seed)
        if not same_image(base, inputs):
            return base
    raise LabError(
        "The image is the same as its baselines: covering a part of it changes nothing, so no map can be measured on it. "
        "Choose another image."
    )
