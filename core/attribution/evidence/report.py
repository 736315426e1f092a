"""All methods over many test images: what they score, beside maps that know nothing of the network. Reading one imports no
torch, making one does.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.attribution.baselines import DEFAULT_BASELINE, check_baseline
from core.attribution.evidence.measure import Task, run_parallel, run_serial
from core.attribution.evidence.scores import (
    FORMAT,
    ImageScores,
    Interval,
    MethodScores,
    Report,
    ReportConfig,
    build_report,
)
from core.attribution.method import Method, Progress, no_progress
from core.attribution.methods.registry import get_method, methods_for
from core.checkpoints.store import CheckpointRef, load_checkpoint, version_words
from core.common.errors import LabError
from core.common.results import ResultStore
from core.common.values import read_json
from core.data import ImageDataset

__all__ = ["REPORTS", "ImageScores", "Interval", "MethodScores", "Report", "ReportConfig", "make_report"]

REPORTS: ResultStore[Report, Any] = ResultStore(
    "report",
    Path(__file__).parent / "shipped",
    Report.from_dict,
    part_file="report.json",
    parse_part=Report.from_dict,
)
"""The reports that ship, each under its checkpoint's name. A part is the report of a run, in the run's folder."""
MOST_JOBS = 64


def make_report(
    reference: CheckpointRef,
    dataset: ImageDataset,
    *,
    images: int = 200,
    seed: int = 0,
    sensitivity_images: int = 20,
    baseline: str = DEFAULT_BASELINE,
    methods: Sequence[Method] | None = None,
    device: str = "cpu",
    jobs: int = 1,
    work: Path | None = None,
    on_progress: Progress = no_progress,
) -> Iterator[ImageScores | Report]:
    """The scores of one image after the other as they are done, then the report. The same seed gives the same values,
    milliseconds apart, whatever `jobs` is.

    images: how many are drawn from the test split. sensitivity_images: of the first so many max-sensitivity is measured.
    methods: None takes all that there are; those that the network refuses are told in the report. jobs: processes, each
    with one thread. work: a file to which every image's scores are added as one line of JSON, and from which they are
    taken when the same report is made again after an interruption. To stop, close the iterator, or raise in on_progress.

    Raises LabError for more images than there are, a dataset with other classes than the checkpoint's, a work file of
    another report, and where fewer than two images can be measured.
    """
    if not 2 <= images <= len(dataset.test):
        raise LabError(
            f"images={images} is not valid: {dataset.card.title} has {len(dataset.test):,} test images, and a report needs "
            "at least 2."
        )
    if not 1 <= jobs <= MOST_JOBS:
        raise LabError(f"jobs={jobs} is not valid: it must be a whole number from 1 to {MOST_JOBS}.")
    if dataset.card.classes != reference.card.image_data.classes:
        raise LabError(f"{dataset.card.title} no longer has the classes that {reference.name} was trained on.")
    check_baseline(baseline)
    from core.attribution.explainer import Explainer
    from core.common.devices import pick_device

    device = pick_device(device)
    with _one_thread():
        explainer = Explainer(load_checkpoint(reference, device))
        asked = [get_method(name) for name in methods_for(reference.card.model)] if methods is None else list(methods)
        refused = {method.name: sentence for method in asked if (sentence := explainer.refusal(method))}
        if len(refused) == len(asked):
            raise LabError(
                f"No chosen method can explain this network: choose others. {next(iter(refused.values()), '')}"
            )
        config = ReportConfig(
            checkpoint=reference.name,
            title=reference.card.title,
            fingerprint=explainer.card.fingerprint,
            dataset=dataset.card.name,
            classes=dataset.card.classes,
            requested=images,
            seed=seed,
            sensitivity_images=min(sensitivity_images, images),
            baseline=baseline,
            methods={method.name: method.settings() for method in asked if method.name not in refused},
            refused=refused,
            made=_made(device),
        )
        order = np.random.default_rng(seed).permutation(len(dataset.test))[:images].tolist()
        found = {item.index: item for item in (_resumed(work, config) if work else [])}
        on_progress(len(found) / images)
        tasks = [
            Task(
                index=index,
                pixels=dataset.test.images[index],
                label=int(dataset.test.labels[index]),
                sensitivity=place < config.sensitivity_images,
                other=order[_partner(place, images)],
                other_pixels=dataset.test.images[order[_partner(place, images)]],
            )
            for place, index in enumerate(order)
            if index not in found
        ]

        def within(share: float) -> None:
            on_progress((len(found) + share) / images)

        if jobs == 1 or len(tasks) < 2:
            running = run_serial(explainer, config, tasks, within)
        else:
            running = run_parallel(
                replace(reference, card=explainer.card), config, tasks, device, min(jobs, len(tasks)), within
            )
        try:
            for item in running:
                found[item.index] = item
                if work:
                    _append(work, asdict(item))
                yield item
                on_progress(len(found) / images)
        finally:
            running.close()
    seconds = sum(item.seconds for item in found.values())
    made = config.made | {"date": time.strftime("%Y-%m-%d"), "seconds": f"{seconds:.0f}"}
    yield build_report(replace(config, made=made), [found[index] for index in order])


def _partner(place: int, images: int) -> int:
    """Place of the image whose maps are another one's control: images go two by two."""
    return place ^ 1 if place ^ 1 < images else place - 1


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums depend on how many threads share them, and times do."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _made(device: str) -> dict[str, str]:
    from importlib.metadata import version

    from core.common.devices import hardware

    tools = {name: version(name) for name in ("captum", "scikit-image", "scikit-learn")}
    return {
        "hardware": hardware(device),
        "versions": version_words(tools),
    }


def _resumed(path: Path, config: ReportConfig) -> list[ImageScores]:
    """The images in a work file, which is begun where there is none; what a crash left of a last line is cut off.

    Raises LabError for a file of another report, which stays as it is, and for one that cannot be used.
    """
    head = json.dumps({"format": FORMAT, "config": asdict(config)}).encode() + b"\n"
    found: list[ImageScores] = []
    try:
        if not path.exists():
            path.write_bytes(head)
            return []
        if not path.is_file():
            raise LabError(f"{path} is not a file: give another as the work file.")
        with path.open("rb") as file:
            if file.readline(len(head)) != head:
                raise LabError(
                    f"{path} is not the work file of this report, but of one with other settings, another machine, or of "
                    "something else: give another, or delete it to start anew."
                )
            kept = len(head)
            for line in file:
                item = _read_line(line, config)
                if item is None:
                    break
                found.append(item)
                kept += len(line)
        os.truncate(path, kept)
    except OSError as error:
        raise LabError(
            f"The work file {path} cannot be used ({error.strerror or error}): give one in a folder that you own."
        ) from error
    return found


def _read_line(line: bytes, config: ReportConfig) -> ImageScores | None:
    """None for one that is damaged or cut off."""
    try:
        return ImageScores.from_dict(read_json(line), config) if line.endswith(b"\n") else None
    except (TypeError, ValueError, AttributeError):
        return None


def _append(path: Path, values: dict[str, Any]) -> None:
    try:
        with path.open("a") as file:
            file.write(json.dumps(values) + "\n")
    except OSError as error:
        raise LabError(f"The work file {path} cannot be written ({error.strerror or error}): free the disk.") from error
