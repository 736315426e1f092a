"""What starting from ImageNet weights brings over random weights: test accuracies by training images, with seeds.

The comparison that ships was made by `python -m scripts.measure_starts`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.common.errors import LabError
from core.common.results import ResultStore, check_format
from core.common.values import finite
from core.regularization.verdict import Verdict, verdicts

SHIPPED = Path(__file__).parent / "shipped" / "starts.json"
FORMAT = 1
BASELINE = "simple_cnn"
"""The arm that the others are compared with."""
LEARNED = "efficientnet_lite0"
"""The arm that starts from ImageNet's weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StartRun:
    """One training, measured once on the test images."""

    arm: str
    train_size: int
    seed: int
    """Runs of one seed and size saw the same training images."""
    test_accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Starts:
    arms: dict[str, str]
    """Name -> title, the baseline first."""
    runs: tuple[StartRun, ...]
    classes: int
    test_images: int
    made: dict[str, str]
    """`command`, `hardware`, `versions`, `date`."""

    @property
    def train_sizes(self) -> tuple[int, ...]:
        return tuple(sorted({run.train_size for run in self.runs}))

    def accuracies(self, arm: str, train_size: int) -> dict[int, float]:
        """Seed -> test accuracy, 0..1."""
        return {run.seed: run.test_accuracy for run in self.runs if (run.arm, run.train_size) == (arm, train_size)}

    def verdicts(self) -> dict[int, dict[str, Verdict]]:
        """Size -> arm -> its difference to the baseline over seeds; all intervals hold at once."""
        tables = {size: {arm: self.accuracies(arm, size) for arm in self.arms} for size in self.train_sizes}
        return verdicts(tables, BASELINE)

    def to_json(self) -> str:
        runs = [asdict(run) for run in self.runs]
        return json.dumps({"format": FORMAT} | asdict(self) | {"runs": runs}, indent=1) + "\n"

    @classmethod
    def from_dict(cls, values: Any) -> Starts:
        """Rebuild from JSON. Raises LabError, and what DAMAGED names."""
        values = check_format(values, FORMAT, "comparison")
        runs = tuple(StartRun(**run) for run in values["runs"])
        arms = {str(name): str(title) for name, title in values["arms"].items()}
        if any(run.arm not in arms or not finite(run.test_accuracy) or not 0 <= run.test_accuracy <= 1 for run in runs):
            raise ValueError("a run of no arm, or with an accuracy that cannot be")
        return cls(
            arms=arms,
            runs=runs,
            classes=int(values["classes"]),
            test_images=int(values["test_images"]),
            made={str(key): str(value) for key, value in values["made"].items()},
        )


STARTS: ResultStore[Starts, None] = ResultStore("comparison of starts", SHIPPED.parent, Starts.from_dict)


def shipped_starts() -> Starts | None:
    """The comparison that ships; None where its file is missing or damaged."""
    try:
        return STARTS.load_shipped(SHIPPED.stem)
    except LabError:
        return None
