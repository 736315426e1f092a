"""Attribution maps of one image: what each method takes, what measuring a map takes, and what our wrapper adds to Captum."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from core.benchmark import Figure, figure, ratio

PART = "explain"
AIMS = {"gradient": 100, "reference": 100, "activation": 100, "relevance": 100}
"""ms, by family; IG and occlusion have their own."""
OWN_AIMS = {"integrated_gradients": 500, "occlusion": 1500}
CURVES_MS = 500
WRAPPED: dict[str, dict[str, Any]] = {"saliency": {}, "deeplift": {}, "integrated_gradients": {"max_gap": 1}}
"""Methods, each with the settings for which ours and Captum's are the same question."""
REPEATS = 11
"""Calls of a round, of which the median counts: the wrapper is compared to within 5%."""


def measure(rounds: int) -> Iterator[Figure]:
    """With `fast_resnet`, on this process's one thread, everything warm."""
    from core.attribution.evidence.curves import curves
    from core.attribution.explainer import Explainer
    from core.attribution.methods.registry import METHODS, get_method
    from core.checkpoints.store import load_checkpoint

    checkpoint = load_checkpoint("fast_resnet")
    explainer = Explainer(checkpoint)
    side = explainer.side
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    for name, kind in METHODS.items():
        method = kind()
        times = [explainer.attribute(method, pixels, 0).milliseconds for _ in range(rounds + 1)]
        aim = OWN_AIMS.get(name) or AIMS.get(kind.family)
        yield figure(PART, f"{kind.title}, fast_resnet", times[1:], "ms", f"aim: at most {aim}" if aim else "")
    values = explainer.attribute(METHODS["saliency"](), pixels, 0).magnitude
    times = [_ms(lambda: curves(explainer, pixels, 0, {"map": values})) for _ in range(rounds + 1)]
    yield figure(PART, "insertion and deletion curves of a map", times[1:], "ms", f"aim: at most {CURVES_MS}")
    for name in WRAPPED:
        method = get_method(name, WRAPPED[name])
        direct = _direct(name, copy.deepcopy(checkpoint.model), explainer, pixels)
        ours: list[float] = []
        captum: list[float] = []
        wrapped = partial(explainer.attribute, method, pixels, 0)
        direct()
        for _ in range(rounds):
            pairs = [(_ms(wrapped), _ms(direct)) for _ in range(REPEATS)]
            ours.append(float(np.median([pair[0] for pair in pairs])))
            captum.append(float(np.median([pair[1] for pair in pairs])))
        note = "aim: at most 1.05" + ("; both measure the completeness gap" if method.sums_to else "")
        yield ratio(PART, f"{method.title}: our wrapper / Captum called directly", ours, captum, note)


def _direct(name: str, model: object, explainer: object, pixels: np.ndarray) -> Callable[[], object]:
    """The same question to Captum itself, from the normalised image on."""
    from captum.attr import DeepLift, IntegratedGradients, Saliency

    from core.attribution.explainer import Explainer

    assert isinstance(explainer, Explainer)
    inputs, base = explainer.inputs(pixels), explainer.baseline("mean", pixels)
    if name == "saliency":
        return lambda: Saliency(model).attribute(inputs.clone().requires_grad_(), target=0)
    if name == "deeplift":
        return lambda: DeepLift(model).attribute(
            inputs.clone().requires_grad_(), base, target=0, return_convergence_delta=True
        )
    return lambda: IntegratedGradients(model).attribute(
        inputs.clone().requires_grad_(),
        base,
        target=0,
        n_steps=50,
        internal_batch_size=25,
        return_convergence_delta=True,
    )


def _ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000
