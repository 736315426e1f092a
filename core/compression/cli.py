"""`compress`: make smaller and faster checkpoints out of one, and show what each of them bought and what it cost."""

from __future__ import annotations

import csv
import io
import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from core.common.commands import CheckpointName, Detach, Json, RunId, RunName, command_line, takes_settings
from core.common.errors import LabError
from core.common.output import check_output, note, print_json, print_table
from core.common.paths import write_atomic
from core.common.values import plural
from core.compression.analysis import UNKNOWN, csv_rows, headline, rows, students_words, winner
from core.compression.cli_measure import row
from core.compression.kind import COMPRESS
from core.compression.recipe import ORIGINAL, PRESETS, CompressConfig, make, read_recipe
from core.compression.results import CompressionResult
from core.compression.steps import STEPS
from core.compression.store import COMPRESSIONS, read_compression
from core.data.cli import how_to_get
from core.jobs import LocalEngine, open_engine
from core.jobs.foreground import check_idle, note_state, run_for_result
from core.jobs.run import Run

if TYPE_CHECKING:
    from core.checkpoints.store import CheckpointRef

EXAMPLE = "example"
"""Stands for the results that ship, where the id of a run is asked for."""
MOST_RECIPE_BYTES = 100_000
WORTH = ("Accuracy", "Change", "p", "Loss (nats)", "First guess right")
"""Columns of the second table; what a variant costs is in the first."""
ResultId = Annotated[str, Parameter(help=f"A run, as listed by: python -m core compress list; {EXAMPLE}: what ships.")]

compress = App(
    name="compress",
    help="Make smaller and faster checkpoints out of one, and measure them.\n\nA recipe is one run of the queue. Every step "
    "of it makes a new checkpoint, RUN_ID/VARIANT, that is measured against the original: bytes, multiply-adds, latency, memory, "
    "accuracy. The original is only read.",
)


@compress.command
@takes_settings(CompressConfig, ("seed", "threads", "device"))
def start(
    *,
    checkpoint: CheckpointName,
    recipe: str,
    name: RunName = None,
    detach: Detach = False,
    as_json: Json = False,
    settings: dict[str, Any] | None = None,
) -> int:
    """Apply a recipe to a checkpoint.

    Args:
        recipe: The name of a preset; or a list of steps as JSON, as in '[{"step": "prune_channels", "amount": 0.3}, {"step":
            "fine_tune"}, {"step": "int8"}]'; or @FILE with such a list. All of them: python -m core compress presets.
    """
    config = _config(checkpoint, recipe, settings or {})
    engine = open_engine()
    run_id = engine.store.create(config, name, kind=COMPRESS.name)
    note(f"{plural(len(config.variants()), 'variant')} of {config.checkpoint}: {config.variants()[-1].title}")
    return _run(engine, run_id, detach, as_json)


@compress.command
def resume(run_id: RunId, /, *, detach: Detach = False, as_json: Json = False) -> int:
    """Go on with a recipe that stopped."""
    engine = open_engine()
    run = engine.state(run_id)
    read_compression(engine.store, run_id)
    check_idle(run, "compress show")
    if run.status == "finished":
        raise LabError(f"The recipe {run_id} has finished: python -m core compress show {run_id}, or start a new one.")
    return _run(engine, run_id, detach, as_json)


@compress.command
def show(run_id: ResultId, /, *, as_json: Json = False) -> None:
    """Print what is measured of a recipe so far, finished or not.

    With --json one row a checkpoint, the original first.
    """
    result = _find(run_id)
    _print(result, run_id, as_json)
    if run_id != EXAMPLE:
        note_state(open_engine().state(run_id), "compress")


@compress.command(name="export")
def export_results(run_id: ResultId, file: str, /) -> None:
    """Write what was measured to a .csv or a .json file."""
    path = check_output("FILE", file, (".csv", ".json"))
    write_atomic(path, _exported(_find(run_id), path.suffix.lower()), mode=0o666)
    note(f"Exported to {path}.")


@compress.command(name="list")
def list_runs(*, as_json: Json = False) -> None:
    """List the recipes that were run here."""
    engine = open_engine()
    engine.tick()
    found = [
        {
            "run": run.id,
            "name": run.name,
            "checkpoint": run.config.checkpoint,
            "status": run.status,
            "variants": f"{run.parts_done} of {run.parts}",
            "recipe": run.config.variants()[-1].title,
        }
        for run in engine.store.list()
        if isinstance(run.config, CompressConfig)
    ]
    if as_json:
        print_json(found)
        return
    print_table(found, ["run", "name", "checkpoint", "status", "variants", "recipe"])
    if not found:
        note("Nothing was compressed yet: python -m core compress start --checkpoint fast_resnet --recipe int8")


@compress.command
def presets(*, as_json: Json = False) -> None:
    """Print the presets, and the steps with their settings."""
    found = [
        {"name": name, "title": preset.title, "about": preset.about, "task": preset.task}
        | {"steps": [step.to_dict() for step in preset.steps]}
        for name, preset in PRESETS.items()
    ]
    steps: list[dict[str, Any]] = [
        {"name": name, "title": kind.title, "about": kind.about, "tasks": list(kind.tasks)}
        | {"settings": {key: value for key, value in kind().to_dict().items() if key != "step"}}
        for name, kind in STEPS.items()
    ]
    if as_json:
        print_json({"presets": found, "steps": steps})
        return
    for preset in found:
        print(f"{preset['name']} ({preset['title']}, {preset['task']}): {preset['about']}")
        print(f"  {json.dumps(preset['steps'])}")
    print("\nSteps of a recipe, with their settings:")
    for step in steps:
        known = ", ".join(f"{key}={json.dumps(value)}" for key, value in step["settings"].items())
        only = "" if len(step["tasks"]) > 1 else f" For {step['tasks'][0]} only."
        print(f"{step['name']} ({step['title']}): {known or 'no settings'}\n  {step['about']}{only}")


def _config(checkpoint: str, recipe: str, settings: dict[str, Any]) -> CompressConfig:
    """What was asked for. Raises LabError for all that can be told before there is a run."""
    from core.checkpoints.store import find_checkpoint

    reference = find_checkpoint(checkpoint)
    name, steps = read_recipe(_recipe_text(recipe), reference.card.task)
    config = make(_whole_name(reference), reference.card, steps, name, **settings)
    config.base()  # the trainings that it leads to check the device
    _check_data(config, reference)
    return config


def command_of(config: CompressConfig) -> str:
    """The command that makes such a result."""
    usual = {name: CompressConfig.model_fields[name].default for name in ("seed", "threads", "device")}
    changed = {name: value for name in usual if (value := getattr(config, name)) != usual[name]}
    steps = json.dumps([dict(step) for step in config.steps])
    return command_line("compress", "start", checkpoint=config.checkpoint, recipe=steps, **changed)


def _find(run_id: str) -> CompressionResult:
    if run_id == EXAMPLE:
        return COMPRESSIONS.load_shipped("images")
    engine = open_engine()
    return read_compression(engine.store, engine.state(run_id).id)


def _recipe_text(given: str) -> str:
    if not given.startswith("@"):
        return given
    path = Path(given[1:]).expanduser()
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe waits for its other end, and a device may never end
            raise LabError(f"The recipe {str(path)[:200]} is not a file: check the path after the @.")
        with path.open("rb") as file:
            data = file.read(MOST_RECIPE_BYTES + 1)
        if len(data) > MOST_RECIPE_BYTES:
            raise LabError(f"The file {str(path)[:200]} is too large for a recipe: give a list of steps as JSON.")
        return data.decode()
    except (OSError, ValueError) as error:
        if isinstance(error, LabError):
            raise
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "it holds no text"
        raise LabError(
            f"The recipe {str(path)[:200]} cannot be read ({reason}): check the path after the @."
        ) from error


def _whole_name(reference: CheckpointRef) -> str:
    """With the whole path of a folder, because the worker has another working directory."""
    return str(reference.folder.absolute()) if reference.origin == "folder" else reference.name


def _check_data(config: CompressConfig, reference: CheckpointRef) -> None:
    """Raises LabError where a step needs data that are not on this machine; says so where only the measuring does."""
    from core.data import dataset_status, dataset_title

    name = config.dataset
    try:
        status = dataset_status(name)
        if status.ready:
            return
        problem = f"{dataset_title(name)} is not on this machine."
    except LabError as error:
        problem = str(error)
    fetch = how_to_get(name)
    if config.needs_data:
        raise LabError(
            f"{problem} The recipe needs it, because {reference.card.title[:100]} was trained on it: {fetch}."
        )
    note(f"{problem} Without it accuracy is not measured: {fetch}.")


def _run(engine: LocalEngine, run_id: str, detach: bool, as_json: bool) -> int:
    def show(run: Run) -> None:
        result = read_compression(engine.store, run_id)
        _print(result, run_id, as_json)
        best = winner(result)
        if run.status == "finished" and best is not None and not as_json:
            verb = "generate --prompt TEXT" if run.task == "text" else "classify IMAGE"
            note(f"Use a variant: python -m core {verb} --checkpoint {run_id}/{best.id}")

    return run_for_result(engine, run_id, "compress", show, detach=detach, as_json=as_json)


def _print(result: CompressionResult, run_id: str, as_json: bool) -> None:
    if as_json:
        print_json(_plain(result, run_id))
    else:
        _print_plain(result, run_id)


def _plain(result: CompressionResult, run_id: str) -> list[dict[str, Any]]:
    """Rows for `--json`."""
    about = ("id", "title", "number", "seed", "control", "model")
    return [
        row(item, result.config.checkpoint if item.id == ORIGINAL else f"{run_id}/{item.id}")
        | {name: getattr(item, name) for name in about}
        for item in result.measured
    ]


def _exported(result: CompressionResult, ending: str) -> str:
    if ending == ".json":
        return json.dumps(result.to_dict(), separators=(",", ":")) + "\n"
    text, found = io.StringIO(), csv_rows(result)
    writer = csv.DictWriter(text, list(found[0]) if found else ["id"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()


def _print_plain(result: CompressionResult, run_id: str) -> None:
    config = result.config
    print(
        f"{run_id}: {result.name}, {len(result.variants)} of {plural(result.planned, 'variant')} of {config.checkpoint}"
    )
    if not result.measured:
        note("Nothing is measured yet.")
        return
    lines = [
        {"variant": item.id} | {key: value for key, value in line.items() if value != UNKNOWN}
        for item, line in zip(result.measured, rows(result), strict=True)
    ]
    columns = [key for key in rows(result)[0] if key != "Variant" and any(key in line for line in lines)]
    for in_second in (False, True):
        shown = [key for key in columns if (key in WORTH) == in_second]
        if shown:
            print_table(lines, ["variant", *shown])
            print()
    _print_legend(result)
    ids_by_note: dict[str, list[str]] = {}
    for item in result.measured:
        for sentence in item.notes:
            ids_by_note.setdefault(sentence, []).append(item.id)
    for sentence, names in ids_by_note.items():
        print(f"{', '.join(names)}: {sentence}")
    for sentence in (students_words(result), headline(result)):
        if sentence:
            print(sentence)


def _print_legend(result: CompressionResult) -> None:
    parts = [f"Times: median (95th percentile), ms a batch, {plural(result.config.threads, 'thread')}."]
    if any(item.accuracy_interval for item in result.measured):
        parts.append("Intervals: 95%.")
    if any(item.p_value is not None for item in result.measured):
        parts.append("p: McNemar's test against the original.")
    print(" ".join(parts))
