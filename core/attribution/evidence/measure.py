"""Measures one image after the other for a report: alone, or on several processes that share the images."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.attribution.evidence.controls import CONTROLS, control_maps, mean_random
from core.attribution.evidence.cost import INFIDELITY_SAMPLES, SENSITIVITY_SAMPLES
from core.attribution.evidence.curves import control_curves, curves
from core.attribution.evidence.scores import ImageScores, ReportConfig, rounded
from core.attribution.method import Progress, no_progress
from core.attribution.methods.registry import get_method
from core.checkpoints.store import CheckpointRef, load_checkpoint
from core.common.errors import LabError

if TYPE_CHECKING:
    from core.attribution.evidence.stability import CoveredSquares
    from core.attribution.explainer import Attribution, Explainer

LOOK_EVERY_S = 0.5
KEPT = 2
"""Images whose maps a Measurer keeps."""


def image_seed(seed: int, index: int) -> int:
    """The random seed of one image's methods and controls: with seed 0, its place in the test split."""
    return seed * 1_000_003 + index


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One image to be measured."""

    index: int
    pixels: np.ndarray
    """(H, W, 3) uint8."""
    label: int
    sensitivity: bool
    """Whether max-sensitivity is measured, too."""
    other: int
    """Place of another image, whose maps are this one's control."""
    other_pixels: np.ndarray
    """(H, W, 3) uint8."""


class Measurer:
    """Measures images with one network, and keeps the maps of the last ones, which are the controls of others."""

    def __init__(self, explainer: Explainer, config: ReportConfig) -> None:
        self.explainer, self.config = explainer, config
        self._maps: dict[int, tuple[int, dict[str, Attribution | LabError]]] = {}

    def warm_up(self, pixels: np.ndarray) -> None:
        """Every method once: the first call of each imports and allocates, and its time is nobody's."""
        self._made(-1, pixels, no_progress)
        self._maps.clear()

    def measure(self, task: Task, on_progress: Progress = no_progress) -> ImageScores:
        """All methods and controls on one image. Where it cannot be measured, `problem` says why."""
        started = time.perf_counter()
        values, problem = {}, ""
        target, maps = self._made(task.index, task.pixels, lambda share: on_progress(share / 3))
        try:
            values = self._measured(task, target, maps, on_progress)
        except LabError as error:
            problem = str(error)
        return ImageScores(
            index=task.index,
            label=task.label,
            target=target,
            values=values,
            problem=problem,
            seconds=rounded(time.perf_counter() - started),
        )

    def _made(
        self, index: int, pixels: np.ndarray, on_progress: Progress
    ) -> tuple[int, dict[str, Attribution | LabError]]:
        """The class predicted for an image, and its maps for that class, each the map or why there is none."""
        if index not in self._maps:
            found: dict[str, Attribution | LabError] = {}
            target = int(self.explainer.logits(self.explainer.inputs(pixels)).argmax())
            seed = image_seed(self.config.seed, max(index, 0))
            for name, settings in self.config.methods.items():
                method = get_method(name, settings)
                try:
                    found[name] = self.explainer.attribute(
                        method, pixels, target, baseline=self.config.baseline, seed=seed
                    )
                except LabError as error:
                    found[name] = error
                on_progress(len(found) / len(self.config.methods))
            self._maps = dict([*self._maps.items(), (index, (target, found))][-KEPT:])
        return self._maps[index]

    def _measured(
        self, task: Task, target: int, maps: dict[str, Attribution | LabError], on_progress: Progress
    ) -> dict[str, dict[str, float]]:
        from core.attribution.evidence.stability import cover_squares

        covered = cover_squares(
            self.explainer,
            task.pixels,
            target,
            baseline=self.config.baseline,
            samples=INFIDELITY_SAMPLES,
            seed=image_seed(self.config.seed, task.index),
        )
        values = self._of_controls(task, target, covered)
        _, others = self._made(task.other, task.other_pixels, lambda share: on_progress((1 + share) / 3))
        for place, (name, found) in enumerate(maps.items()):
            if isinstance(found, LabError):
                raise found
            values[name] = self._of_map(task, found, others[name], covered)
            on_progress((2 + (place + 1) / len(maps)) / 3)
        return {
            name: {figure: rounded(value) for figure, value in figures.items() if not math.isnan(value)}
            for name, figures in values.items()
        }

    def _of_map(
        self, task: Task, found: Attribution, other: Attribution | LabError, covered: CoveredSquares
    ) -> dict[str, float]:
        """Each of FIGURES that it has; NaN where it cannot be known."""
        from core.attribution.evidence.road import road
        from core.attribution.evidence.stability import infidelity, max_sensitivity

        explainer, config, pixels, target = self.explainer, self.config, task.pixels, found.target
        values = {
            "milliseconds": found.milliseconds,
            "gap": math.nan if found.gap is None else found.gap,
            "infidelity": infidelity(found, covered),
        }
        if task.sensitivity:
            values["sensitivity"] = max_sensitivity(
                explainer,
                found.method,
                pixels,
                target,
                baseline=config.baseline,
                seed=found.seed,
                samples=SENSITIVITY_SAMPLES,
            )
        maps = {} if found.blank else {"own": found.magnitude}
        if found.method.is_contribution and not found.blank:
            maps["for_against"] = found.pixels
        if not isinstance(other, LabError) and not other.blank:
            maps["other"] = other.magnitude
        measured = curves(explainer, pixels, target, maps, removal=config.removal, seed=found.seed)
        own = measured.pop("own", None)
        values |= {name: item.score for name, item in measured.items()}
        if own:
            values |= {"insertion": own.insertion.area, "deletion": own.deletion.area}
            values["road"] = road(explainer, pixels, target, {"own": found.magnitude}, found.seed)["own"]
        return values

    def _of_controls(self, task: Task, target: int, covered: CoveredSquares) -> dict[str, dict[str, float]]:
        from core.attribution.evidence.road import road
        from core.attribution.evidence.stability import control_infidelity

        pixels, seed = task.pixels, image_seed(self.config.seed, task.index)
        areas = control_curves(self.explainer, pixels, target, removal=self.config.removal, seed=seed)
        errors = control_infidelity(pixels, covered, seed=seed)
        filled = mean_random(road(self.explainer, pixels, target, control_maps(pixels, seed), seed))
        return {
            name: {
                "insertion": areas[name].insertion.area,
                "deletion": areas[name].deletion.area,
                "infidelity": errors[name],
                "road": filled[name],
            }
            for name in CONTROLS
        }


def run_serial(
    explainer: Explainer, config: ReportConfig, tasks: list[Task], on_progress: Progress
) -> Generator[ImageScores]:
    measurer = Measurer(explainer, config)
    if tasks:
        measurer.warm_up(tasks[0].pixels)
    for task in tasks:
        yield measurer.measure(task, on_progress)


def run_parallel(
    reference: CheckpointRef, config: ReportConfig, tasks: list[Task], device: str, jobs: int, on_progress: Progress
) -> Generator[ImageScores]:
    """The same on several processes, in the order in which images are done. on_progress: called twice a second, with 0."""
    before = multiprocessing.active_children()
    pool = ProcessPoolExecutor(
        max_workers=jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(reference, config, device),
    )
    try:
        # Two by two, because the two share their maps.
        waiting = {pool.submit(_work, tasks[place : place + 2]) for place in range(0, len(tasks), 2)}
        while waiting:
            done, waiting = wait(waiting, LOOK_EVERY_S, FIRST_COMPLETED)
            on_progress(0.0)
            for future in done:
                yield from future.result()
    except BrokenProcessPool as error:
        raise LabError(
            "A process that measured images was ended from outside, perhaps for want of memory: take fewer --jobs."
        ) from error
    except BaseException:  # stopped: what is in hand may take minutes, and nobody waits for it
        for process in multiprocessing.active_children():
            if process not in before:
                process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


_WORKER: dict[str, Any] = {}
"""Of a process of `run_parallel`: what it works on, and its Measurer once there is one."""


def _begin(reference: CheckpointRef, config: ReportConfig, device: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asked tells when it is over
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _WORKER.update(reference=reference, config=config, device=device)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(tasks: list[Task]) -> list[ImageScores]:
    if "measurer" not in _WORKER:
        import torch

        from core.attribution.explainer import Explainer

        config: ReportConfig = _WORKER["config"]
        torch.set_num_threads(1)
        explainer = Explainer(load_checkpoint(_WORKER["reference"], _WORKER["device"]))
        if explainer.card.fingerprint != config.fingerprint:
            raise LabError(f"{config.checkpoint} changed while its report was made: start anew.")
        _WORKER["measurer"] = Measurer(explainer, config)
        _WORKER["measurer"].warm_up(tasks[0].pixels)
    return [_WORKER["measurer"].measure(task) for task in tasks]
