"""Measuring in tests: two rounds of everything that is timed, each network exported once, no process to measure memory in."""

from __future__ import annotations

import functools
import gc
import hashlib

import pytest

from core.checkpoints.store import Checkpoint
from core.common.errors import LabError
from core.compression.measuring import latency, measure, measure_text
from core.compression.onnx.export import export_onnx

MEMORY = 1_500_000
ROW_FIELDS = (
    *("name", "size_bytes", "stored_bytes", "parameters", "macs", "latency_ms"),
    *("accuracy", "accuracy_interval", "delta_points", "p_value"),
)
"""What scripts find in a row of `measure --json` and `compress --json`."""
_exported: dict[str, bytes] = {}


def quicken(monkeypatch: pytest.MonkeyPatch, *, onnx: bool = True) -> None:
    """For one test. Peak memory is always MEMORY. onnx: measure networks as ONNX files, too, which costs most of the time."""
    gc.freeze()  # a measurement collects garbage first: not through all that was imported since
    short = functools.partial(latency.interleaved, budget_s=0.0, fewest=2, most=2)
    monkeypatch.setattr(measure, "interleaved", short)
    monkeypatch.setattr(measure_text, "interleaved", short)
    monkeypatch.setattr(measure, "export_onnx", _export if onnx else _refuse)
    monkeypatch.setattr(measure, "peak_memory", lambda *arguments, **named: MEMORY)


def _refuse(checkpoint: Checkpoint) -> bytes:
    raise LabError("This test exports nothing.")


def _export(checkpoint: Checkpoint) -> bytes:
    weights = [value.numpy().tobytes() for value in checkpoint.model.state_dict().values()]
    key = hashlib.sha256(b"".join([checkpoint.card.fingerprint.encode(), *weights])).hexdigest()
    if key not in _exported:
        _exported[key] = export_onnx(checkpoint)
    return _exported[key]
