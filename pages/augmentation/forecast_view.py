"""Augmentation / Forecast: what a pipeline is expected to bring, the study that scores it, and all forecasts so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.augmentation.figures import outcomes
from core.augmentation.forecast import ForecastModel
from core.augmentation.store import Scored, load_model, mean_errors, scored, start_study, study_of
from core.common.errors import LabError
from core.common.progress import Progress
from core.common.values import signed
from core.data import dataset_title
from core.models import MODELS
from core.regularization.cost import before_start, cost
from core.training.augmentation import Pipeline, parse_pipeline
from pages.augmentation.builder import pipeline_form
from pages.augmentation.help import ADDED_LOSS, AFFINITY
from pages.shared.dataset_fetch import dataset_or_offer
from pages.shared.elements import download, show_figure, show_table
from pages.shared.registry import page_link
from pages.shared.resources import dark, engine, start_new, store
from pages.shared.run_controls import open_run
from pages.shared.tables import csv_bytes
from pages.shared.tasks import background
from pages.shared.text import duration, escape_markdown, show_error
from pages.shared.url import linked
from pages.shared.url_values import one_of
from pages.shared.warmup import until_ready

if TYPE_CHECKING:
    from core.augmentation.results import Effect

SEEDS, OFFERED_SEEDS, USUAL_SEEDS = "augment-seeds", (1, 2, 3, 5), 2


def forecast_view() -> None:
    answer, controls = st.columns([3, 2], gap="large")
    try:
        model = load_model()
    except LabError as error:
        show_error(error)
        return
    with controls:
        pipeline = pipeline_form()
        linked("seeds", SEEDS, one_of(OFFERED_SEEDS, "number of seeds"), USUAL_SEEDS)
        seeds = st.segmented_control(
            "Seeds of the study", OFFERED_SEEDS, key=SEEDS, required=True, persist_state="session"
        )
    with answer:
        if pipeline is None:
            st.info("Add a step to forecast its gain.")
        elif dataset_or_offer(model.dataset, "measure the pipeline", "forecast"):
            until_ready()
            effect = _effect(pipeline)
            if effect is not None:
                _expected(model, effect, int(seeds or USUAL_SEEDS))
        _record(model)


def _effect(pipeline: Pipeline) -> Effect | None:
    """What the pipeline does to the network without augmentation; None while it is measured."""
    spec = pipeline.spec

    def work(report: Progress) -> Effect:
        from core.augmentation.store import forecast_meter

        report(0.0, "reading the dataset")
        return forecast_meter().measure(spec, report=report)

    return background(f"augment-effect-{spec}", "augment-measure", work, label="Measure the pipeline")


def _expected(model: ForecastModel, effect: Effect, seeds: int) -> None:
    expected = model.regression.predict(effect.affinity, effect.added_loss)
    st.markdown(f"## {model.headline(expected)}")
    st.markdown(
        f"{escape_markdown(effect.words)}, for {MODELS[model.model].title} with {model.train_size:,} images of "
        f"{escape_markdown(dataset_title(model.dataset))}. The mean gain of {len(model.arms)} trained pipelines is "
        f"{signed(model.control)} points."
    )
    st.caption(
        f"Affinity {signed(effect.affinity)} points, added loss {signed(effect.added_loss, 2)} nats, on the network that was "
        "trained without augmentation.",
        help=f"**Affinity**: {AFFINITY} **Added loss**: {ADDED_LOSS}",
    )
    try:
        study = study_of(effect.pipeline, seeds)
    except LabError as error:
        show_error(error)
        return
    known = cost(study, *before_start(study, engine().slots))
    took = f" About {duration(known.seconds)} on this machine." if known.seconds else ""
    if st.button("Start the study", key="augment-study", type="primary", icon=":material/play_arrow:"):
        try:
            run = start_new(lambda: start_study(store(), effect, seeds))
        except LabError as error:
            show_error(error)
            return
        open_run(run)
    st.caption(f"It trains with and without the pipeline, {study.runs} runs.{took} Then the outcome stands below.")


def _record(model: ForecastModel) -> None:
    """Forecasts against outcomes."""
    found = scored(store())
    st.markdown("#### Forecast against outcome")
    errors = mean_errors(found)
    if errors:
        mine, control, count = errors
        noun = "Your forecast was" if count == 1 else f"Your {count} forecasts were"
        st.markdown(
            f"**{noun} off by {mine:.1f} points on average**; always saying the mean gain is off by {control:.1f}."
        )
    st.markdown(model.trust)
    show_figure(
        outcomes(model.left_out, found, dark=dark()),
        key="augment-outcomes",
        alt="Measured against forecast gain: "
        + "; ".join(f"{item.pipeline} {signed(item.forecast)} and {signed(item.gain)}" for item in model.left_out),
    )
    if found:
        _table(found)
    with st.container(horizontal=True, gap="small"):
        rows = ({"pipeline": arm.pipeline, "gain": arm.gain, "affinity": arm.affinity} for arm in model.arms)
        download("Trained pipelines (CSV)", csv_bytes(rows), "trained-pipelines.csv", key="augment-arms-csv")


def _table(found: list[Scored]) -> None:
    rows = found[::-1]
    show_table(
        {
            "Pipeline": [escape_markdown(parse_pipeline(item.forecast.pipeline).words) for item in rows],
            "Forecast": [signed(item.forecast.expected) for item in rows],
            "Measured": [_measured(item) for item in rows],
            "Off by": [
                "–" if item.measured is None else f"{abs(item.measured - item.forecast.expected):.1f}" for item in rows
            ],
        },
        key="augment-forecasts",
    )
    for item in rows:
        if item.measured is None and item.status != "deleted":
            page_link(
                "regularization",
                f"The study of {escape_markdown(parse_pipeline(item.forecast.pipeline).words)} is {item.status}",
                view="Studies",
                study=item.forecast.run_id,
            )


def _measured(item: Scored) -> str:
    if item.measured is None:
        return "study deleted" if item.status == "deleted" else item.status
    return signed(item.measured) + ("" if item.half_width is None else f" ± {item.half_width:.1f}")
