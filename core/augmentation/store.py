"""The forecast that ships, and the forecasts of this machine: each with the study that says what came of it."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.augmentation.forecast import ForecastModel
from core.augmentation.results import Effect
from core.common.errors import LabError
from core.common.paths import ensure_folder, lab_home, write_atomic
from core.common.results import DAMAGED, ResultStore
from core.common.values import finite, read_json
from core.jobs.store import RunStore
from core.regularization.analysis import summary
from core.regularization.arms import BASELINE, parse_arm
from core.regularization.kind import STUDY
from core.regularization.store import read_study
from core.regularization.study import StudyConfig
from core.training.augmentation import parse_pipeline

if TYPE_CHECKING:
    from core.augmentation.effect import EffectMeter

MODELS_SHIPPED: ResultStore[ForecastModel, Any] = ResultStore(
    "forecast", Path(__file__).parent / "shipped" / "forecasts", ForecastModel.from_dict
)
EVALUATIONS = 4
"""Of a study that is to score a forecast."""
MEASURED_IMAGES, MEASURED_TRAIN_IMAGES = 2000, 500
"""Images on which affinity and added loss of a pipeline are measured for a forecast."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What was expected of a pipeline before it was trained."""

    run_id: str
    """Of its study."""
    pipeline: str
    train_size: int
    affinity: float
    added_loss: float
    expected: float
    """Gain, percentage points."""
    typical_error: float
    """Mean absolute error of such forecasts, percentage points."""
    control: float
    """What always saying the mean gain expects, percentage points."""
    date: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """A forecast and what came of it."""

    forecast: Forecast
    measured: float | None
    """Gain, percentage points; None while there is none."""
    half_width: float | None
    """Half of its 95% interval over seeds; None for one seed."""
    status: str
    """Of the study; `deleted` where it is gone."""


def load_model() -> ForecastModel:
    """The forecast that ships. Raises LabError."""
    return MODELS_SHIPPED.load_shipped("simple_cnn")


@lru_cache(maxsize=1)
def forecast_meter() -> EffectMeter:
    """What measures a pipeline for the forecast: the network without augmentation, on its own training images. Slow the first
    time; raises LabError where the dataset is not here."""
    from core.augmentation.effect import EffectMeter
    from core.checkpoints.store import find_checkpoint, load_checkpoint
    from core.data import load_images, subset

    model = load_model()
    reference = find_checkpoint(str(MODELS_SHIPPED.shipped / model.network))
    data = load_images(model.dataset)
    data = dataclasses.replace(data, train=subset(data.train, model.train_size, reference.card.recipe.get("seed", 0)))
    checkpoint = load_checkpoint(reference)
    return EffectMeter(checkpoint, data, images=MEASURED_IMAGES, train_images=MEASURED_TRAIN_IMAGES)


def study_of(pipeline: str, seeds: int, device: str = "auto") -> StudyConfig:
    """The study that says what a pipeline brings, in the protocol of the forecast's arms. Raises LabError."""
    model = load_model()
    return StudyConfig(
        model=model.model,
        dataset=model.dataset,
        arms=(f"pipeline={parse_pipeline(pipeline).spec}",),
        train_sizes=(model.train_size,),
        seeds=seeds,
        steps=model.steps,
        batch_size=model.batch_size,
        evaluations=min(EVALUATIONS, model.steps),
        device=device,
    )


def start_study(store: RunStore, effect: Effect, seeds: int, device: str = "auto") -> str:
    """Make the study of a pipeline and keep what was expected of it; returns the id of the run, which waits to be submitted.

    effect: of the pipeline, as `forecast_meter` measures it.
    """
    model = load_model()
    config = study_of(effect.pipeline, seeds, device)
    run_id = store.create(config, f"Forecast: {effect.words}"[:80], kind=STUDY.name)
    forecast = Forecast(
        run_id=run_id,
        pipeline=effect.pipeline,
        train_size=model.train_size,
        affinity=effect.affinity,
        added_loss=effect.added_loss,
        expected=model.regression.predict(effect.affinity, effect.added_loss),
        typical_error=model.error,
        control=model.control,
        date=time.strftime("%Y-%m-%d", time.gmtime()),
    )
    write_atomic(ensure_folder(forecasts_folder()) / f"{run_id}.json", json.dumps(dataclasses.asdict(forecast)) + "\n")
    return run_id


def forecasts_folder() -> Path:
    return lab_home() / "forecasts"


def read_forecasts() -> list[Forecast]:
    """Those of this machine, oldest first; a file that cannot be read is left out."""
    found = []
    for path in sorted(forecasts_folder().glob("*.json")):
        try:
            item = Forecast(**read_json(path.read_bytes()))
            parse_pipeline(item.pipeline)
        except DAMAGED:
            continue
        if all(map(finite, (item.expected, item.control, item.typical_error, item.affinity, item.added_loss))):
            found.append(item)
    return found


def scored(store: RunStore) -> list[Scored]:
    """Every forecast of this machine with what came of it, oldest first."""
    return [_score(store, forecast) for forecast in read_forecasts()]


def _score(store: RunStore, forecast: Forecast) -> Scored:
    def without(status: str) -> Scored:
        return Scored(forecast=forecast, measured=None, half_width=None, status=status)

    try:
        run = store.get(forecast.run_id)
        if run.status != "finished":
            return without(run.status)
        rows = summary(read_study(store, forecast.run_id))
    except LabError:
        return without("deleted")
    wanted = parse_arm(f"pipeline={forecast.pipeline}").spec
    arm = next((row for row in rows if row.arm == wanted and row.train_size == forecast.train_size), None)
    base = next((row for row in rows if row.arm == BASELINE and row.train_size == forecast.train_size), None)
    if arm is None or base is None or arm.mean is None or base.mean is None:
        return without("failed")
    effect = arm.verdict.effect if arm.verdict.effect is not None else arm.mean - base.mean
    half = arm.verdict.half_width
    return Scored(
        forecast=forecast,
        measured=100 * effect,
        half_width=None if half is None else 100 * half,
        status=run.status,
    )


def mean_errors(found: list[Scored]) -> tuple[float, float, int] | None:
    """Mean absolute errors in points of the forecasts and of the control, and how many have an outcome; None for none."""
    over = [item for item in found if item.measured is not None]
    if not over:
        return None
    missed = [
        sum(abs(said(item.forecast) - (item.measured or 0.0)) for item in over) / len(over)
        for said in (lambda forecast: forecast.expected, lambda forecast: forecast.control)
    ]
    return missed[0], missed[1], len(over)
