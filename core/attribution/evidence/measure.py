"""Measures one image after the other for a report: alone, or on several processes that share the images."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.attribution.evidence.controls import CONTROLS, RANDOM_MAPS, control_maps
from core.attribution.evidence.curves import control_curves, curves
from core.attribution.evidence.scores import ImageScores, ReportConfig, rounded
from core.attribution.method import Method, Progress, no_progress
from core.attribution.methods.registry import get_method
from core.checkpoints.store import CheckpointRef, load_checkpoint
from core.common.errors import LabError

if TYPE_CHECKING:
    from core.attribution.explainer import Explainer

INFIDELITY_SAMPLES = 100
SENSITIVITY_SAMPLES = 5


def image_seed(seed: int, index: int) -> int:
    """What the methods and controls of one image draw their lots from: with seed 0, its place in the test split."""
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


def measure(explainer: Explainer, config: ReportConfig, task: Task, on_progress: Progress = no_progress) -> ImageScores:
    """All methods and controls on one image. Where it cannot be measured, `problem` says why."""
    started = time.perf_counter()
    target = int(explainer.logits(explainer.inputs(task.pixels)).argmax())
    values, problem = {}, ""
    try:
        values = _measured(explainer, config, task, target, on_progress)
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


def _measured(
    explainer: Explainer, config: ReportConfig, task: Task, target: int, on_progress: Progress
) -> dict[str, dict[str, float]]:
    values = _of_controls(explainer, config, task, target)
    for place, (name, settings) in enumerate(config.methods.items()):
        values[name] = _of_method(explainer, config, task, target, get_method(name, settings))
        on_progress((place + 1) / len(config.methods))
    return {
        name: {figure: rounded(value) for figure, value in found.items() if not math.isnan(value)}
        for name, found in values.items()
    }


def _of_method(explainer: Explainer, config: ReportConfig, task: Task, target: int, method: Method) -> dict[str, float]:
    """Each of FIGURES, NaN where it has none."""
    from core.attribution.evidence.stability import infidelity, max_sensitivity

    pixels, seed = task.pixels, image_seed(config.seed, task.index)
    asked: dict[str, Any] = {"baseline": config.baseline, "seed": seed}
    made = explainer.attribute(method, pixels, target, **asked)
    bases: dict[str, Any] = {"deleted": config.deleted, "inserted": config.inserted, "seed": seed}
    found = curves(explainer, pixels, target, {"map": made.pixels}, **bases)["map"]
    sensitivity = math.nan
    if task.sensitivity:
        sensitivity = max_sensitivity(explainer, method, pixels, target, samples=SENSITIVITY_SAMPLES, **asked)
    return {
        "insertion": found.insertion.area,
        "deletion": found.deletion.area,
        "infidelity": infidelity(explainer, made, pixels, samples=INFIDELITY_SAMPLES, seed=seed),
        "gap": math.nan if made.gap is None else made.gap,
        "sensitivity": sensitivity,
        "milliseconds": made.milliseconds,
    }


def _of_controls(explainer: Explainer, config: ReportConfig, task: Task, target: int) -> dict[str, dict[str, float]]:
    """Of each control its areas and its infidelity, for which it is taken for values that sum to the answer."""
    from core.attribution.evidence.stability import infidelity
    from core.attribution.explainer import Attribution

    pixels, seed = task.pixels, image_seed(config.seed, task.index)
    inputs = explainer.inputs(pixels)[0].cpu().numpy()

    def of_map(values: np.ndarray) -> float:
        as_map = Attribution(
            method=get_method("occlusion"),
            target=target,
            values=np.repeat(values[None], 3, axis=0),
            inputs=inputs,
            baseline=config.baseline,
            seed=seed,
            milliseconds=0.0,
        )
        return infidelity(explainer, as_map, pixels, samples=INFIDELITY_SAMPLES, seed=seed)

    areas = control_curves(explainer, pixels, target, deleted=config.deleted, inserted=config.inserted, seed=seed)
    errors = {name: of_map(values) for name, values in control_maps(pixels, seed).items()}
    errors["random"] = float(np.mean([errors[f"random-{number}"] for number in range(RANDOM_MAPS)]))
    return {
        name: {
            "insertion": areas[name].insertion.area,
            "deletion": areas[name].deletion.area,
            "infidelity": errors[name],
        }
        for name in CONTROLS
    }


def _warm(explainer: Explainer, config: ReportConfig, pixels: np.ndarray) -> None:
    """Every method once: the first call of each imports and allocates, and its time is nobody's."""
    for name, settings in config.methods.items():
        try:
            explainer.attribute(get_method(name, settings), pixels, 0, baseline=config.baseline)
        except LabError:  # an image that cannot be explained, as will be told when its turn comes
            continue


def run_serial(
    explainer: Explainer, config: ReportConfig, tasks: list[Task], on_progress: Progress
) -> Generator[ImageScores]:
    if tasks:
        _warm(explainer, config, tasks[0].pixels)
    for task in tasks:
        yield measure(explainer, config, task, on_progress)


def run_parallel(
    reference: CheckpointRef, config: ReportConfig, tasks: list[Task], device: str, jobs: int
) -> Generator[ImageScores]:
    """The same on several processes, in the order in which images are done."""
    pool = ProcessPoolExecutor(
        max_workers=jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(reference, config, device),
    )
    try:
        for future in as_completed([pool.submit(_work, task) for task in tasks]):
            yield future.result()
    except BrokenProcessPool as error:
        raise LabError(
            "A process that measured images was ended from outside, perhaps for want of memory: take fewer --jobs."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_AT_WORK: dict[str, Any] = {}
"""Of a process of `shared`: what it was told, and the Explainer once there is one."""


def _begin(reference: CheckpointRef, config: ReportConfig, device: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asked tells when it is over
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _AT_WORK.update(reference=reference, config=config, device=device)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(task: Task) -> ImageScores:
    config: ReportConfig = _AT_WORK["config"]
    if "explainer" not in _AT_WORK:
        import torch

        from core.attribution.explainer import Explainer

        torch.set_num_threads(1)
        explainer = Explainer(load_checkpoint(_AT_WORK["reference"], _AT_WORK["device"]))
        if explainer.card.fingerprint != config.fingerprint:
            raise LabError(f"{config.checkpoint} changed while its report was made: start anew.")
        _warm(explainer, config, task.pixels)
        _AT_WORK["explainer"] = explainer
    return measure(_AT_WORK["explainer"], config, task)
