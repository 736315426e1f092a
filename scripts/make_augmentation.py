"""Ship what finished runs measured of augmentation.

python -m scripts.make_augmentation map RUN_ID       # of `augment start`: the map of a checkpoint
python -m scripts.make_augmentation forecast RUN_ID  # of `study start`, with arms of one pipeline each and one size

The study that ships was made with the command in `docs/results.md`.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from core.augmentation.effect import EffectMeter
from core.augmentation.forecast import Arm, ForecastModel, choose, leave_out
from core.augmentation.results import MAPS, read_map
from core.augmentation.store import MEASURED_IMAGES, MEASURED_TRAIN_IMAGES, MODELS_SHIPPED
from core.checkpoints.store import find_checkpoint, load_checkpoint, save_checkpoint
from core.common.output import note
from core.common.paths import ensure_folder, write_atomic
from core.data import load_images, subset
from core.data.dataset import ImageDataset
from core.jobs import RunStore
from core.regularization.arms import BASELINE, parse_arm
from core.regularization.results import StudyResult
from core.regularization.store import read_study
from core.regularization.techniques import Pipeline

NETWORK = "network"
"""Folder of the network without augmentation, beside the forecast."""


def ship_map(run_id: str) -> None:
    store = RunStore()
    found = read_map(store.folder(run_id), store.config(run_id))
    assert len(found.transforms) == len(found.config.transforms), "the run is not finished"
    _write(ensure_folder(MAPS.shipped) / f"{found.config.checkpoint}.json", found.to_dict())


def ship_forecast(study_id: str) -> None:
    store = RunStore()
    study = read_study(store, study_id)
    (size,) = study.config.train_sizes
    baseline = min(study.finished_runs(BASELINE, size), key=lambda item: item.seed)
    folder = ensure_folder(MODELS_SHIPPED.shipped) / NETWORK
    shutil.rmtree(folder, ignore_errors=True)
    checkpoint = load_checkpoint(find_checkpoint(baseline.checkpoint))
    save_checkpoint(ensure_folder(folder), checkpoint.model, checkpoint.card)
    began = time.monotonic()
    arms = measure_arms(study, folder, size, baseline.seed)
    note(f"{len(arms)} pipelines measured in {time.monotonic() - began:.0f} s")
    model = ForecastModel(
        model=study.config.model,
        dataset=study.config.dataset,
        train_size=size,
        steps=study.config.steps,
        batch_size=study.config.batch_size,
        network=NETWORK,
        arms=tuple(arms),
        regression=choose(arms),
        left_out=leave_out(arms),
        made=study.made | {"runs": f"{study.done} of {len(study.members)}", "gains on": _split(study)},
    )
    _write(MODELS_SHIPPED.shipped / f"{study.config.model}.json", model.to_dict())
    note(f"{model.regression.terms}, penalty {model.regression.penalty:g}. {model.trust}")


def measure_arms(study: StudyResult, network: Path, size: int, seed: int) -> list[Arm]:
    """The arms of one pipeline each, with what they brought and what the network says of them before."""
    data: ImageDataset = load_images(study.config.dataset)
    own = ImageDataset(card=data.card, train=subset(data.train, size, seed), validation=data.validation, test=data.test)
    meter = EffectMeter(
        load_checkpoint(find_checkpoint(str(network))),
        own,
        images=MEASURED_IMAGES,
        train_images=MEASURED_TRAIN_IMAGES,
    )
    split = f"{_split(study)}_accuracy"
    found = []
    base = {item.seed: getattr(item, split) for item in study.finished_runs(BASELINE, size)}
    for spec in study.config.arms:
        technique = next(iter(parse_arm(spec).variants[0].techniques), None)
        if not isinstance(technique, Pipeline):
            continue
        gains = [
            100 * (getattr(item, split) - before)
            for item in study.finished_runs(parse_arm(spec).variants[0].spec, size)
            if getattr(item, split) is not None and (before := base.get(item.seed)) is not None
        ]
        if not gains:
            note(f"{spec} is left out: it has no finished run")
            continue
        found.append(_arm(meter, technique.steps, gains))
    return found


def _arm(meter: EffectMeter, steps: str, gains: list[float]) -> Arm:
    effect = meter.measure(steps)
    return Arm(
        pipeline=steps,
        affinity=effect.affinity,
        added_loss=effect.added_loss,
        gain=statistics.fmean(gains),
        seeds=len(gains),
    )


def _split(study: StudyResult) -> str:
    """Before its end a study has no test figures. Validation chose nothing here: each arm has one strength."""
    return "test" if study.done == len(study.members) else "val"


def _write(path: Path, values: dict[str, Any]) -> None:
    write_atomic(path, json.dumps(values, separators=(",", ":")) + "\n")
    note(f"{path.name}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    verb, run = sys.argv[1:]
    {"map": ship_map, "forecast": ship_forecast}[verb](run)
