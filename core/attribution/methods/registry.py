"""All attribution methods by name. Imports no torch: pages list them before it is there."""

from __future__ import annotations

import dataclasses
from typing import Any

from core.attribution.method import Method
from core.attribution.methods.activations import GradCam, GuidedGradCam
from core.attribution.methods.attention import AttentionRollout, GradientRollout
from core.attribution.methods.baseline_methods import DeepLift, GradientShap, IntegratedGradients
from core.attribution.methods.gradients import GuidedBackprop, InputXGradient, Saliency, SmoothGrad
from core.attribution.methods.lrp import LRP
from core.attribution.methods.perturbations import FeatureAblation, KernelShap, Lime, Occlusion
from core.common.errors import LabError
from core.models import MODELS

METHODS: dict[str, type[Method]] = {
    kind.name: kind
    for kind in (
        Saliency,
        InputXGradient,
        DeepLift,
        GuidedBackprop,
        GradCam,
        GuidedGradCam,
        AttentionRollout,
        GradientRollout,
        LRP,
        IntegratedGradients,
        SmoothGrad,
        GradientShap,
        Occlusion,
        FeatureAblation,
        KernelShap,
        Lime,
    )
}
"""Quick ones first."""
ATTENTION = tuple(name for name, kind in METHODS.items() if kind.family == "attention")
"""Quick too, but only of a vision Transformer."""
QUICK = tuple(name for name, kind in METHODS.items() if kind.quick and name not in ATTENTION)
SLOW = tuple(name for name, kind in METHODS.items() if not kind.quick)


def quick_methods(model: str) -> tuple[str, ...]:
    """Quick methods for a network of that architecture."""
    return (*QUICK, *ATTENTION) if MODELS[model].attention else QUICK


def methods_for(model: str) -> tuple[str, ...]:
    """All methods for a network of that architecture."""
    return (*quick_methods(model), *SLOW)


def get_method(name: str, settings: dict[str, Any] | None = None) -> Method:
    """A method with its settings. Raises LabError for an unknown name, setting or value."""
    if name not in METHODS:
        raise LabError(f"There is no attribution method {str(name)[:60]!r}: choose one of {', '.join(METHODS)}.")
    kind = METHODS[name]
    known = [field.name for field in dataclasses.fields(kind)]
    unknown = sorted(set(settings or {}) - set(known))
    if unknown:
        raise LabError(
            f"{kind.title} has no setting named {', '.join(unknown)[:100]}: it knows {', '.join(known) or 'none'}."
        )
    return kind(**(settings or {}))
