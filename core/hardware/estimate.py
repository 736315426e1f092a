"""How long a grid will take, said before it starts. Without torch."""

from __future__ import annotations

from core.common.errors import LabError
from core.hardware.config import HardwareConfig
from core.hardware.setups import WARM_STEPS, Setup
from core.training.config import TrainConfig
from core.training.estimate import guessed_speed

START_S = {"eager": 3.0, "compile": 15.0, "onnx": 1.0}
"""Importing, loading and the first call, on two idle cores of a server of 2025."""
ROUND_S = 0.5
ROOFLINE_S = 20.0
UNKNOWN_SPEED = 300.0
"""Training images per second of a network that nothing is known of."""


def grid_seconds(config: HardwareConfig) -> float:
    """All cells, their references and the roofline."""
    cells = sum(cell_seconds(setup, config) for setup in config.setups)
    return cells + (ROOFLINE_S if config.roofline else 0)


def cell_seconds(setup: Setup, config: HardwareConfig) -> float:
    """Of one cell on the processor; a GPU is quicker."""
    try:
        speed = guessed_speed(TrainConfig(model=config.model), "cpu") or UNKNOWN_SPEED
    except LabError:
        speed = UNKNOWN_SPEED
    step_s = setup.batch_size / speed / (1 if setup.work == "training" else 3)
    answers_s = config.images / speed / 3
    rounds_s = config.rounds * max(ROUND_S, step_s)
    return START_S[setup.runtime] + rounds_s + answers_s + WARM_STEPS * step_s * (setup.work == "training")
