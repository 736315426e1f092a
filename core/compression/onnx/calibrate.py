"""Ranges of activations, measured on pictures in ONNX Runtime. ONNX Runtime's own calibration is not used: for percentiles and
entropies it keeps every activation of every picture at once (2.3 GB for 512 pictures here), and it prints.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from core.common.errors import LabError
from core.compression.onnx.runtime import OnnxNetwork
from core.compression.onnx.tracing import IMAGES

BATCH = 32
BINS = 2048
PERCENTILE = 99.99
LEVELS = 128
"""Steps that an activation's magnitude is given when entropies are compared (255 where it is never negative)."""

Ranges = dict[str, tuple[float, float]]
"""Value -> lowest and highest number, zero among them."""


def ranges(model: onnx.ModelProto, values: list[str], inputs: np.ndarray, method: str) -> Ranges:
    """Ranges of `values` while the network answers `inputs` (N, 3, H, W) float32.

    method: `minmax` takes all that was seen; `percentile` leaves out the largest 0.01% of magnitudes; `entropy` cuts where the
    rounded distribution tells least apart from the true one (Kullback-Leibler divergence; Migacz, NVIDIA, GTC 2017). Raises
    LabError for activations that are no finite numbers.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {IMAGES, *(output.name for output in watched.graph.output)}
    shown = [name for name in values if name not in known]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in shown)
    network = OnnxNetwork(watched.SerializeToString())

    def seen() -> Iterator[dict[str, np.ndarray]]:
        names = [output.name for output in network.session.get_outputs()]
        for start in range(0, len(inputs), BATCH):
            batch = inputs[start : start + BATCH]
            found = dict(zip(names, network.run(batch), strict=True)) | {IMAGES: batch}
            yield {name: found[name] for name in values}

    limits = dict.fromkeys(values, (0.0, 0.0))
    for found in seen():
        for name, array in found.items():
            low, high = limits[name]
            limits[name] = min(low, float(array.min())), max(high, float(array.max()))
            if not np.isfinite([array.min(), array.max()]).all():
                raise LabError("Activations of the network are no finite numbers: it cannot be in int8.")
    if method == "minmax":
        return limits
    counts = {name: np.zeros(BINS, np.int64) for name in values}
    for found in seen():
        for name, array in found.items():
            counts[name] += np.histogram(np.abs(array), BINS, (0.0, max(*map(abs, limits[name]), 1e-12)))[0]
    cut = _percentile if method == "percentile" else _entropy
    chosen: Ranges = {}
    for name, (low, high) in limits.items():
        most = max(-low, high) * cut(counts[name], low < 0)
        chosen[name] = max(low, -most), min(high, most)
    return chosen


def _percentile(counts: np.ndarray, signed: bool) -> float:
    """Share of the largest magnitude below which PERCENTILE of them are. counts: (BINS,)."""
    wanted = PERCENTILE / 100 * counts.sum()
    return float(np.searchsorted(np.cumsum(counts), wanted) + 1) / BINS


def _entropy(counts: np.ndarray, signed: bool) -> float:
    """Share of the largest magnitude to cut at, so that the rounded histogram differs least from the true one."""
    counts = counts.astype(np.float64)
    counts[0] = counts[1]  # ReLU's zeros are exact however the rest is rounded
    levels = LEVELS if signed else 255
    best, least = BINS, np.inf
    for kept in range(levels, BINS + 1, 8):
        true = counts[:kept].copy()
        true[-1] += counts[kept:].sum()
        edges = np.linspace(0, kept, levels + 1).astype(np.int64)[:-1]
        filled = counts[:kept] > 0
        totals, spread = np.add.reduceat(counts[:kept], edges), np.add.reduceat(filled.astype(np.float64), edges)
        level = np.repeat(np.arange(levels), np.diff(np.append(edges, kept)))
        rounded = np.where(filled, (totals / np.maximum(spread, 1))[level], 0.0)
        if not true.sum() or not rounded.sum():
            continue
        p, q = true / true.sum(), rounded / rounded.sum()
        told = p > 0
        # What is cut off falls where the rounded one may have nothing: that is infinitely far, as good as.
        distance = float((p[told] * np.log(p[told] / np.maximum(q[told], 1e-9))).sum())
        if distance < least:
            best, least = kept, distance
    return best / BINS
