"""Heats: a few cells and their reference, measured in turn, each in a separate process.

A heat holds as many processes as memory allows. The reference runs in every heat, so cells of different heats are compared by
their ratio to it. A heat that is done is kept, so a stopped grid goes on with the next.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from core.checkpoints.store import Checkpoint
from core.common.child import Child, ChildFailed, TookTooLong
from core.common.errors import LabError
from core.hardware.config import HardwareConfig
from core.hardware.expect import SLOW_LIMIT_S, is_slow, times
from core.hardware.machine import Machine
from core.hardware.networks import Spec
from core.hardware.results import MOST_REASON, ROOFLINE, Roofline, Row
from core.hardware.setups import Setup

MOST_CELLS = 5
"""Of a heat, beside the reference."""
CELL_BYTES = 1_000_000_000
"""What a process was seen to need at most, with room."""
MODULE = "core.hardware.child"
LOAD_LIMIT_S, ACCURACY_S = 180.0, 60.0
"""Seconds to import and read, and for all answers to the sample."""

Poll = Callable[[], None]
Says = Callable[[str], None]


def heats(setups: Sequence[Setup], config: HardwareConfig, size: int) -> list[tuple[Setup, tuple[Setup, ...]]]:
    """References with their cells, so many at most. A group of which the reference alone is missing is a heat too."""
    found = []
    for group in dict.fromkeys(setup.group for setup in setups):
        members = [setup for setup in setups if setup.group == group]
        reference = config.reference(members[0])
        others = [setup for setup in members if setup != reference]
        for start in range(0, max(1, len(others)), size):
            found.append((reference, tuple(others[start : start + size])))
    return found


def time_limit(setup: Setup, config: HardwareConfig, machine: Machine) -> float:
    """Seconds to the first answer. Compiling takes what it takes; a cell that is expected to be slow gets little beyond that."""
    capped = is_slow(setup, machine) and setup.runtime != "compile"
    return min(SLOW_LIMIT_S, float(config.limit_s)) if capped else float(config.limit_s)


def heat_size() -> int:
    """Cells beside the reference, as far as memory goes."""
    import psutil

    room = int(psutil.virtual_memory().available * 0.8 // CELL_BYTES)
    return max(1, min(MOST_CELLS, room - 1))


class Heat:
    """Measures one heat."""

    def __init__(
        self,
        config: HardwareConfig,
        machine: Machine,
        folder: Path,
        spec: Callable[[Setup], Spec],
        poll: Poll,
        says: Says = lambda words: None,
    ) -> None:
        """folder: holds the sample, and gets the logits. spec: raises LabError for a cell that cannot be made. poll: may
        raise, to stop. says: is told what goes on."""
        self.config, self.machine, self.folder, self.spec = config, machine, folder, spec
        self.poll, self.says = poll, says
        self.children: dict[Setup, Child] = {}
        self.reasons: dict[Setup, str] = {}
        self.found: dict[Setup, dict[str, Any]] = {}
        self.latencies: dict[Setup, list[float]] = {}

    def run(self, reference: Setup, cells: Sequence[Setup]) -> tuple[Row, ...]:
        """A row for each, the reference first. Whatever poll raises passes, with all processes ended."""
        order = (reference, *cells)
        try:
            for setup in order:
                self.says(f"starting {setup.words}")
                self._try(setup, self._start)
            for number in range(self.config.rounds):
                self.says(f"round {number + 1} of {self.config.rounds}")
                for setup in order if number % 2 == 0 else order[::-1]:
                    if setup not in self.reasons:
                        self._try(setup, self._round)
            for setup in order:
                if setup not in self.reasons:
                    self._try(setup, self._finish)
        finally:
            for child in self.children.values():
                child.close()
        base = None if reference in self.reasons else reference
        return tuple(self._row(setup, base) for setup in order)

    def _try(self, setup: Setup, step: Callable[[Setup], None]) -> None:
        """A cell that fails leaves its reason; the others go on."""
        try:
            step(setup)
        except (ChildFailed, LabError) as error:
            self.reasons[setup] = f"{str(error).rstrip('.')}."[:MOST_REASON]
            if setup in self.children:
                self.children.pop(setup).close()

    def _start(self, setup: Setup) -> None:
        spec = self.spec(setup)
        child = self.children[setup] = Child(MODULE, setup.threads, keep_memory=setup.work == "training")
        values = dataclasses.asdict(spec) | {"what": "cell"}
        child.ask(json.dumps(values), LOAD_LIMIT_S, self.poll)
        limit_s = time_limit(setup, self.config, self.machine)
        try:
            self.found[setup] = child.ask("start", limit_s, self.poll)
            budget_s = min(ACCURACY_S, limit_s)
            answer = child.ask(f"logits {budget_s:g} {self._logits_file(setup)}", 3 * limit_s, self.poll)
        except TookTooLong as error:
            raise ChildFailed(self._given_up(setup, limit_s)) from error
        self.found[setup] |= answer
        self.found[setup]["rounds"] = []
        self.latencies[setup] = []

    def _given_up(self, setup: Setup, limit_s: float) -> str:
        base = self.config.reference(setup)
        usual = None if setup == base else self.found.get(base, {}).get("start_s")
        more = f", where the default takes {times(usual)} s" if usual else ""
        return f"Given up: no answer to {setup.batch_size} images within {limit_s:g} s{more}"

    def _round(self, setup: Setup) -> None:
        found = self.found[setup]
        answer = self.children[setup].ask("round", float(self.config.limit_s), self.poll)
        found["rounds"].append(median(answer["ms"]))
        self.latencies[setup] += answer["ms"]
        found.setdefault("joules", []).append(answer["joules"])

    def _finish(self, setup: Setup) -> None:
        self.found[setup] |= self.children[setup].ask("memory", LOAD_LIMIT_S, self.poll)

    def _logits_file(self, setup: Setup) -> Path:
        return self.folder / f"logits-{setup.id}.npy"

    def _row(self, setup: Setup, reference: Setup | None) -> Row:
        if setup in self.reasons:
            return Row(setup=setup, reason=self.reasons[setup])
        found = self.found[setup]
        joules = [value for value in found["joules"] if value is not None]
        p50, p95 = np.percentile(self.latencies[setup], (50, 95))
        return Row(
            setup=setup,
            round_ms=tuple(found["rounds"]),
            reference_ms=tuple(self.found[reference]["rounds"]) if reference else (),
            p50_ms=float(p50),
            p95_ms=float(p95),
            memory_bytes=found["bytes"],
            start_s=found["start_s"],
            image_joules=median(joules) if joules else None,
            **self._answers(setup, reference),
        )

    def _answers(self, setup: Setup, reference: Setup | None) -> dict[str, Any]:
        """Counts of right answers, and how they differ from the reference's. NaN and infinity count as wrong."""
        if not self.found[setup]["written"]:
            return {}
        with np.load(self.folder / "sample.npz", allow_pickle=False) as file:
            labels = file["labels"]
        logits, right = self._right(setup, labels)
        counts = {"right": int(right.sum()), "images": len(labels)}
        if reference is None or not self.found[reference]["written"]:
            return counts
        base, theirs = self._right(reference, labels)
        difference = float(np.abs(np.nan_to_num(logits, posinf=0, neginf=0) - base).max())
        lost, gained = int((theirs & ~right).sum()), int((right & ~theirs).sum())
        return counts | {"lost": lost, "gained": gained, "logit_difference": difference}

    def _right(self, setup: Setup, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits (N, classes), and which answers are right (N,)."""
        logits = np.load(self._logits_file(setup), allow_pickle=False)
        return logits, (logits.argmax(1) == labels) & np.isfinite(logits).all(1)


def run_roofline(folder: Path, threads: int, batch_size: int, poll: Poll) -> Roofline:
    """Roofline of the checkpoint in `folder`, measured in a separate process. Raises LabError where that fails."""
    child = Child(MODULE, threads)
    try:
        spec = {"what": ROOFLINE, "checkpoint": str(folder), "threads": threads, "batch_size": batch_size}
        return Roofline.from_dict(child.ask(json.dumps(spec), LOAD_LIMIT_S, poll))
    except ChildFailed as error:
        raise LabError(f"The roofline cannot be measured: {error}.") from error
    finally:
        child.close()


def onnx_files(checkpoint: Checkpoint, images: np.ndarray, folder: Path) -> dict[str, str | LabError]:
    """Precision -> a file for ONNX Runtime in `folder`, or what keeps it from being made.

    images: (N, H, W, 3) uint8, training images that set the ranges of int8, as a recipe of Compression would. An int8 checkpoint
    has its file already.
    """
    from core.compression.methods.int8 import to_int8
    from core.compression.onnx.export import export_onnx
    from core.compression.steps import Int8

    makers: dict[str, Callable[[], bytes]] = {
        "float32": lambda: export_onnx(dataclasses.replace(checkpoint, onnx=b"", features=None)),
        "int8": lambda: (checkpoint if checkpoint.in_int8 else to_int8(checkpoint, images, Int8())).onnx,
    }
    found: dict[str, str | LabError] = {}
    for precision, make in makers.items():
        try:
            (folder / f"{precision}.onnx").write_bytes(make())
            found[precision] = str(folder / f"{precision}.onnx")
        except LabError as error:
            found[precision] = error
    return found
