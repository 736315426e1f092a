"""`study`: compare regularization techniques; show, extend and export what such a comparison found."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

from cyclopts import App, Parameter

from core.common.commands import Detach, Json, RunId, RunName, command_line, takes_settings
from core.common.errors import LabError
from core.common.output import check_output, note, print_json, print_table
from core.common.values import duration, plural
from core.data.cli import load_with_bar
from core.jobs import LocalEngine, open_engine
from core.jobs.foreground import check_idle, note_state, run_for_result
from core.jobs.run import Run
from core.regularization.analysis import ArmResult, headline, split_of, summary, worth_images
from core.regularization.arms import OR
from core.regularization.cost import before_start, cost
from core.regularization.kind import STUDY
from core.regularization.results import StudyResult
from core.regularization.store import STUDIES, extend_study, read_study
from core.regularization.study import StudyConfig
from core.regularization.techniques import IMAGE_MODELS, TECHNIQUES, plain_number
from core.training.cli import whole_name

ADDED = ("arms", "train_sizes", "seeds")
"""What can be added to a study; all else stays as it was begun."""
ResultId = Annotated[
    str,
    Parameter(help=f"A run, as listed by: python -m core runs; or what ships: {', '.join(STUDIES.shipped_names())}."),
]

study = App(name="study", help="Compare regularization techniques, with seeds and intervals.")


@study.command
@takes_settings(StudyConfig)
def start(
    *, name: RunName = None, detach: Detach = False, as_json: Json = False, settings: dict[str, Any] | None = None
) -> int:
    """Train arms with several seeds and compare them.

    Trains arms (techniques, alone or together) at some training-set sizes with several seeds, all for as many steps, and says
    which of them help, by how much, and whether that is more than chance. An arm is written as dropout, dropout=0.3,
    dropout=0.1/0.3/0.5 or dropout=tune (the best strength on validation), or augment+l2=0.1 (together). Techniques: python -m
    core study techniques. With --extra-dataset, arms may be synthetic=N, synthetic_only=N and more_real=N too.
    """
    config = StudyConfig(**plain_settings(settings))
    config = config.replace(dataset=_images_dataset(config.dataset))
    if config.extra_dataset:
        config = config.replace(extra_dataset=_images_dataset(config.extra_dataset))
    engine = open_engine()
    check_sizes(config)
    announce(config, engine, 0)
    return _run(engine, engine.store.create(config, name, kind=STUDY.name), detach, as_json)


@study.command
@takes_settings(StudyConfig, ADDED, defaults=False)
def resume(
    study_id: RunId, /, *, detach: Detach = False, as_json: Json = False, settings: dict[str, Any] | None = None
) -> int:
    """Go on with a study that stopped, or add arms, training-set sizes and seeds to it."""
    engine = open_engine()
    run = engine.state(study_id)
    result = read_study(engine.store, study_id)
    check_idle(run, "study show")
    config = result.config.extended(**plain_settings(settings))
    if config != result.config:
        check_sizes(config)
        extend_study(engine.store, study_id, config)
        result = read_study(engine.store, study_id)
    elif run.status == "finished":
        raise LabError(f"The study {study_id} has finished: add --arms, --train-sizes or --seeds, or start a new one.")
    announce(config, engine, result.done)
    return _run(engine, study_id, detach, as_json)


@study.command
def show(study_id: ResultId, /, *, as_json: Json = False) -> None:
    """Print what there is of a study, finished or not, without any training."""
    result, run = _find(study_id)
    _print(result, run, study_id, as_json)
    if run is not None:
        note_state(run, "study")


@study.command(name="export")
def export_study(study_id: ResultId, file: str, /) -> None:
    """Write a study with all its figures to a JSON file."""
    path = check_output("FILE", file)
    path.write_text(json.dumps(_find(study_id)[0].to_dict(), separators=(",", ":")) + "\n")
    note(f"Exported to {path}.")


@study.command
def techniques(*, as_json: Json = False) -> None:
    """Print the techniques with their strengths and papers."""
    fields = ("name", "title", "unit", "default", "grid", "low", "high", "whole", "models", "how", "paper", "url")
    if as_json:
        print_json([{name: getattr(kind, name) for name in fields} for kind in TECHNIQUES.values()])
        return
    for kind in TECHNIQUES.values():
        strength = "on or off"
        if kind.unit:
            grid = OR.join(map(plain_number, kind.grid))
            strength = f"{kind.unit} {kind.default:g}, from {kind.low:g} to {kind.high:g}, tune: {grid}"
        only = "" if kind.models == IMAGE_MODELS else f" Only with {' or '.join(kind.models)}."
        print(f"{kind.name} ({kind.title}): {strength}\n  {kind.how}{only}\n  {kind.paper}, {kind.url}")


def plain_settings(settings: dict[str, Any] | None) -> dict[str, Any]:
    found = dict(settings or {})
    return found | ({"model_config": dict(found["model_config"])} if "model_config" in found else {})


def _find(study_id: str) -> tuple[StudyResult, Run | None]:
    """A study, and its run; None for one that ships."""
    if study_id in STUDIES.shipped_names():
        return STUDIES.load_shipped(study_id), None
    engine = open_engine()
    run = engine.state(study_id)
    return with_provenance(read_study(engine.store, run.id), run), run


def _run(engine: LocalEngine, study_id: str, detach: bool, as_json: bool) -> int:
    def show(run: Run) -> None:
        _print(with_provenance(read_study(engine.store, study_id), run), run, study_id, as_json)

    return run_for_result(engine, study_id, "study", show, detach=detach, as_json=as_json)


def _print(result: StudyResult, run: Run | None, study_id: str, as_json: bool) -> None:
    rows = summary(result)
    if as_json:
        print_json(_plain(result, run, study_id, rows))
    else:
        _print_plain(result, study_id, rows)


def _images_dataset(name: str) -> str:
    """The name that a run has for a dataset. Raises LabError for one that is not there, or holds no images."""
    from core.data import dataset_task, dataset_title

    name = whole_name(name)
    if dataset_task(name) != "images":
        raise LabError(
            f"{dataset_title(name)} holds text and a study needs images: choose cifar10, or folder:PATH, as --dataset."
        )
    return name


def check_sizes(config: StudyConfig) -> None:
    """Raises LabError for a training-set size above the dataset, if that is here; else the worker will tell."""
    from core.data import dataset_sizes, dataset_status

    if dataset_status(config.dataset).ready:
        extra = dataset_sizes(config.extra_dataset).get("train") if config.extra_dataset else None
        config.check_data(len(load_with_bar(config.dataset, "images").train), extra)


def announce(config: StudyConfig, engine: LocalEngine, done: int) -> None:
    """Print the expected cost before the start."""
    device, at_once = before_start(config, engine.slots)
    found = cost(config, device, at_once, done)
    parts = [f"{plural(found.runs, 'run')} of {config.steps:,} steps"]
    if found.seconds is None:
        parts.append("time unknown until it was measured here")
    else:
        known = "from an earlier study here" if found.measured else "a first guess"
        parts.append(f"about {duration(found.seconds)} ({known})")
    note(" · ".join([*parts, f"{found.size_bytes / 1e6:.1f} MB of checkpoints"]))
    if config.seeds == 1:
        note("With one seed there will be no verdict: it cannot separate an effect from chance. Give --seeds 3.")


def with_provenance(result: StudyResult, run: Run) -> StudyResult:
    """The study with its command and hours, where they are not known yet."""
    known = {"command": command_of(result.config), "hours": f"{run.seconds / 3600:.3g}"}
    return dataclasses.replace(result, made=known | result.made)


def command_of(config: StudyConfig) -> str:
    """The command that makes this study again."""
    always = ("arms", "train_sizes", "seeds", "model", "dataset", "steps", "batch_size", "evaluations")
    flags = {name: getattr(config, name) for name in always} | {"lr": plain_number(config.lr) if config.lr else None}
    device = None if config.device == "auto" else config.device
    return command_line(
        "study",
        "start",
        **flags,
        extra_dataset=config.extra_dataset,
        device=device,
        model_config=config.model_settings,
    )


def _plain(result: StudyResult, run: Run | None, study_id: str, rows: list[ArmResult]) -> dict[str, Any]:
    """A study for `--json`."""
    left_out = ("curve", "test_per_class")
    return {
        "study_id": study_id,
        "name": result.name,
        "status": run.status if run else "finished",
        "message": run.message if run else "",
        "runs": len(result.members),
        "runs_done": result.done,
        "split": split_of(result),
        "headline": headline(result, rows),
        "arms": [
            dataclasses.asdict(row) | {"worth_images": worth_images(rows, row.arm, row.train_size)} for row in rows
        ],
        "members": [
            {key: value for key, value in dataclasses.asdict(item).items() if key not in left_out}
            for item in result.members
        ],
        "config": result.config.to_dict(),
        "sizes": result.sizes,
        "made": result.made,
    }


def _print_plain(result: StudyResult, study_id: str, rows: list[ArmResult]) -> None:
    config = result.config
    print(
        f"{study_id}: {result.name or 'study'}, {config.model} on {config.dataset}, {result.done} of {len(result.members)} "
        f"runs over, {config.steps:,} steps of {config.batch_size} images each"
    )
    if not rows:
        note("No run has finished yet.")
        return
    print_table(
        [
            {
                "images": f"{row.train_size:,}",
                "arm": row.title,
                "strength": row.strength or "-",
                "accuracy": _percent(row.mean) + ("" if row.half_width is None else f" ± {100 * row.half_width:.1f}"),
                "gap": "-" if row.gap is None else f"{100 * row.gap:.1f}",
                "seeds": row.seeds,
                "verdict": row.verdict.words,
            }
            for row in rows
        ],
        ["images", "arm", "strength", "accuracy", "gap", "seeds", "verdict"],
    )
    where = (
        "on the test images, which were looked at once, at the end"
        if rows[0].split == "test"
        else "on validation, because not all runs that count have been measured on the test images"
    )
    print(f"Accuracy {where}: mean and its 95% interval. Gap: training accuracy minus that, in points.")
    diverged = sum(item.status == "failed" for item in result.members)
    if diverged:
        print(f"Runs that failed, most likely because their loss diverged: {diverged}.")
    print(headline(result, rows))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
