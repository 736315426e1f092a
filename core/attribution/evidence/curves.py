"""Did the network really use those pixels? Insertion and deletion curves, beside maps that know nothing of the network.

Source of the curves: Petsiuk, Das & Saenko (RISE), arXiv:1806.07421. Both go to the same baselines, so that their difference
is the symmetric relevance gain of Blücher, Vielhaben & Strodthoff, arXiv:2401.06654: zero for a random order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.attribution.baselines import same_image
from core.attribution.evidence.controls import OTHER, RANDOM_MAPS, control_maps
from core.attribution.method import Progress, no_progress
from core.common.errors import LabError

if TYPE_CHECKING:
    from torch import Tensor

    from core.attribution.explainer import Explainer

STEPS = 16
"""Pixels go in so many equal portions."""
REMOVAL = ("mean", "blur")
"""Baselines that pixels are replaced by; the curves are the mean over them."""
SIGMA = 1.0
"""Standard deviation of the Gaussian that smooths a map before its pixels are ranked, pixels of an image 32 wide. Single
pixels go in a checkered order, on which insertion and deletion contradict each other (docs/results.md)."""


CURVE_PASSES = 2 * len(REMOVAL) * (STEPS + 1)
"""Forward passes that the curves of one map take."""
CONTROL_MAPS = RANDOM_MAPS + 2
"""Maps whose curves `control_curves` takes."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curve:
    """Probability of the class as pixels go, the most important first."""

    shares: np.ndarray
    """(S + 1,) share of the pixels that went, 0..1."""
    probabilities: np.ndarray
    """(S + 1,) calibrated, 0..1."""

    @property
    def area(self) -> float:
        """Under the curve, 0..1."""
        return float(np.trapezoid(self.probabilities, self.shares))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Faithfulness:
    """Curves of one map."""

    insertion: Curve
    """Pixels put onto the baselines: high is good."""
    deletion: Curve
    """Pixels replaced by the baselines: low is good."""

    @property
    def score(self) -> float:
        """Area of insertion less that of deletion, -1..1. 0 is expected of a random order; above 0, the map's first pixels carry
        the answer."""
        return self.insertion.area - self.deletion.area


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """How a map compares with the controls on this image."""

    score: float
    controls: dict[str, float]
    """Name in CONTROLS, or OTHER -> its score on the same image and class."""

    @property
    def not_beaten(self) -> tuple[str, ...]:
        """Controls that do at least as well, the humblest first."""
        return tuple(name for name in NO_BETTER if self.controls.get(name, -2.0) >= self.score)

    @property
    def label(self) -> str:
        """`better than the controls`, or `no better than edges` and the like."""
        return f"no better than {NO_BETTER[self.not_beaten[0]]}" if self.not_beaten else "better than the controls"


NO_BETTER = {
    "random": "chance",
    OTHER: "its map of another image",
    "edges": "edges",
    "blob": "a centre blob",
}
"""Control -> what a map is called that does not beat it; the humblest first."""


def smoothed(values: np.ndarray) -> np.ndarray:
    """A map (H, W) as it is ranked: float64, blurred by SIGMA; what is no number counts as zero."""
    from scipy.ndimage import gaussian_filter

    found = gaussian_filter(np.nan_to_num(values.astype(np.float64)), SIGMA * values.shape[-1] / 32, mode="reflect")
    # Rounding errors of an even area are no order.
    return found.round(6 - int(np.floor(np.log10(np.abs(found).max() or 1.0))))


def ranks(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """(H, W) int64: each pixel's place in the order of a map (H, W), from 0: the highest smoothed value first, equal ones at
    random."""
    ties = np.random.default_rng([seed, 2]).random(values.size)
    order = np.lexsort((ties, -smoothed(values).ravel()))
    places = np.empty(values.size, dtype=np.int64)
    places[order] = np.arange(values.size)
    return places.reshape(values.shape)


def curves(
    explainer: Explainer,
    pixels: np.ndarray,
    target: int,
    maps: dict[str, np.ndarray],
    *,
    removal: tuple[str, ...] = REMOVAL,
    steps: int = STEPS,
    seed: int = 0,
    on_progress: Progress = no_progress,
) -> dict[str, Faithfulness]:
    """Curves of each map (H, W), where a higher value goes first. For an attribution that is its `magnitude`.

    pixels: (H, W, 3) uint8. removal: baselines. Raises LabError where a baseline is the image itself: then nothing changes,
    whatever goes.
    """
    import torch

    inputs = explainer.inputs(pixels)
    bases = removal_baselines(explainer, pixels, removal, seed)
    count = inputs.shape[-2] * inputs.shape[-1]
    ends = np.linspace(0, count, steps + 1).round().astype(int)
    found = {}
    for name, values in maps.items():
        gone = torch.from_numpy(ranks(values, seed) < ends[:, None, None])[:, None].to(inputs.device)  # (S+1, 1, H, W)
        both = [part for base in bases for part in (torch.where(gone, base, inputs), torch.where(gone, inputs, base))]
        answers = explainer.probabilities(torch.cat(both))[:, target].cpu().numpy().astype(np.float64)
        deletion, insertion = answers.reshape(len(bases), 2, -1).mean(0)
        found[name] = Faithfulness(
            insertion=Curve(shares=ends / count, probabilities=insertion),
            deletion=Curve(shares=ends / count, probabilities=deletion),
        )
        on_progress(len(found) / len(maps))
    return found


def removal_baselines(explainer: Explainer, pixels: np.ndarray, removal: tuple[str, ...], seed: int) -> list[Tensor]:
    """(1, 3, H, W) each. Raises LabError where one is the image itself."""
    inputs = explainer.inputs(pixels)
    bases = [explainer.baseline(name, pixels, seed) for name in removal]
    for name, base in zip(removal, bases, strict=True):
        if same_image(base, inputs):
            raise LabError(
                f"The image is the same as its baseline ({name}): taking pixels away changes nothing, so no map can be "
                "measured on it. Choose another image."
            )
    return bases


def control_curves(
    explainer: Explainer,
    pixels: np.ndarray,
    target: int,
    *,
    removal: tuple[str, ...] = REMOVAL,
    seed: int = 0,
    on_progress: Progress = no_progress,
) -> dict[str, Faithfulness]:
    """Curves of each of CONTROLS; the random one is the mean of several. Raises LabError as `curves` does."""
    maps = control_maps(pixels, seed)
    found = curves(explainer, pixels, target, maps, removal=removal, seed=seed, on_progress=on_progress)
    randoms = [found.pop(name) for name in list(found) if name.startswith("random-")]
    return {"random": _mean(randoms), "edges": found["edges"], "blob": found["blob"]}


def verdict(found: Faithfulness, controls: dict[str, Faithfulness]) -> Verdict:
    """How a map's score compares with those of the controls, on the same image and class."""
    return Verdict(score=found.score, controls={name: control.score for name, control in controls.items()})


def _mean(several: list[Faithfulness]) -> Faithfulness:
    def mean(kind: str) -> Curve:
        parts = [getattr(item, kind) for item in several]
        return Curve(shares=parts[0].shares, probabilities=np.mean([part.probabilities for part in parts], axis=0))

    return Faithfulness(insertion=mean("insertion"), deletion=mean("deletion"))
