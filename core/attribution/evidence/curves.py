"""Did the network really use those pixels? Insertion and deletion curves, beside maps that know nothing of the network.

Source of the curves: Petsiuk, Das & Saenko (RISE), arXiv:1806.07421.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.attribution.baselines import DEFAULT_BASELINE, same_image
from core.attribution.evidence.controls import CONTROLS, control_maps
from core.common.errors import LabError

if TYPE_CHECKING:
    from core.attribution.explainer import Explainer

STEPS = 32
"""Pixels go in so many equal portions."""
DELETED, INSERTED = DEFAULT_BASELINE, "blur"
"""Baselines that pixels are replaced by, and that they are put onto: as in RISE, a flat colour and a blurred copy."""


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
    """Pixels put onto the blurred image: high is good."""
    deletion: Curve
    """Pixels replaced by the mean colour: low is good."""

    @property
    def score(self) -> float:
        """Area of insertion less that of deletion, -1..1: above 0, the map's first pixels carry the answer."""
        return self.insertion.area - self.deletion.area


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """How a map compares with the controls on this image."""

    score: float
    controls: dict[str, float]
    """Name in CONTROLS -> its score on the same image and class."""

    @property
    def not_beaten(self) -> tuple[str, ...]:
        """Controls that do at least as well."""
        return tuple(name for name in CONTROLS if self.controls[name] >= self.score)

    @property
    def label(self) -> str:
        """`better than the controls`, or `no better than edges` and the like."""
        names = {"random": "chance", "edges": "edges", "blob": "a centre blob"}
        worst = next((name for name in ("random", "edges", "blob") if name in self.not_beaten), None)
        return f"no better than {names[worst]}" if worst else "better than the controls"


def ranks(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """(H, W) int64: the place of each pixel in the order in which a map (H, W) has them go, from 0: the highest value first,
    equal ones by lot."""
    lots = np.random.default_rng([seed, 2]).random(values.size)
    order = np.lexsort((lots, -np.nan_to_num(values.ravel().astype(np.float64))))
    found = np.empty(values.size, dtype=np.int64)
    found[order] = np.arange(values.size)
    return found.reshape(values.shape)


def curves(
    explainer: Explainer,
    pixels: np.ndarray,
    target: int,
    maps: dict[str, np.ndarray],
    *,
    deleted: str = DELETED,
    inserted: str = INSERTED,
    steps: int = STEPS,
    seed: int = 0,
) -> dict[str, Faithfulness]:
    """Curves of each map (H, W), where a higher value goes first and equal ones by lot.

    pixels: (H, W, 3) uint8. deleted, inserted: baselines. Raises LabError where a baseline is the image itself: then
    nothing changes, whatever goes.
    """
    import torch

    inputs = explainer.inputs(pixels)
    bases = explainer.baseline(deleted, pixels, seed), explainer.baseline(inserted, pixels, seed)
    for name, base in zip((deleted, inserted), bases, strict=True):
        if same_image(base, inputs):
            raise LabError(
                f"The image is the same as its baseline ({name}): taking pixels away changes nothing, so no map can be "
                "measured on it. Choose another baseline or image."
            )
    count = inputs.shape[-2] * inputs.shape[-1]
    ends = np.linspace(0, count, steps + 1).round().astype(int)
    found = {}
    for name, values in maps.items():
        rank = ranks(values, seed)
        gone = torch.from_numpy(rank < ends[:, None, None])[:, None].to(inputs.device)  # (S+1, 1, H, W)
        both = torch.cat([torch.where(gone, bases[0], inputs), torch.where(gone, inputs, bases[1])])
        deletion, insertion = explainer.probabilities(both)[:, target].cpu().numpy().astype(np.float64).reshape(2, -1)
        shares = ends / count
        found[name] = Faithfulness(
            insertion=Curve(shares=shares, probabilities=insertion),
            deletion=Curve(shares=shares, probabilities=deletion),
        )
    return found


def control_curves(
    explainer: Explainer,
    pixels: np.ndarray,
    target: int,
    *,
    deleted: str = DELETED,
    inserted: str = INSERTED,
    seed: int = 0,
) -> dict[str, Faithfulness]:
    """Curves of each of CONTROLS; the random one is the mean of several. Raises LabError as `curves` does."""
    maps = control_maps(pixels, seed)
    found = curves(explainer, pixels, target, maps, deleted=deleted, inserted=inserted, seed=seed)
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
