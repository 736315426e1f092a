"""How long a report takes, out of the time of one pass through the network. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from core.attribution.evidence.curves import CONTROL_MAPS, CURVE_PASSES
from core.attribution.evidence.road import SHARES
from core.attribution.method import Method

INFIDELITY_SAMPLES = 100
SENSITIVITY_SAMPLES = 5
IMAGES_A_PROCESS = 4
"""Fewer do not pay for starting a process."""
PIXEL_S = 70e-6
"""Seconds a pixel and map that ranking and filling in take beside the network: a core of 2020 or later."""


def report_seconds(
    methods: Sequence[Method],
    side: int,
    images: int,
    sensitivity_images: int,
    *,
    forward_s: float,
    backward_s: float,
    processes: int = 1,
) -> float:
    """What scoring takes. side: of an image, pixels. forward_s, backward_s: of a pass of one image on one thread."""
    maps_s = 0.0
    for method in methods:
        forward, backward = method.passes(side)
        maps_s += forward * forward_s + backward * backward_s
    curves = CONTROL_MAPS + sum(3 if method.is_contribution else 2 for method in methods)
    scored = CONTROL_MAPS + len(methods)
    passes = CURVE_PASSES * curves + 2 * len(SHARES) * scored + INFIDELITY_SAMPLES
    image_s = maps_s + passes * forward_s + PIXEL_S * side**2 * scored
    sensitivity_s = SENSITIVITY_SAMPLES * maps_s * min(images, sensitivity_images)
    return (images * image_s + sensitivity_s) / min(processes, images)
