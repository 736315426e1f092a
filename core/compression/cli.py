"""`compress`: make smaller and faster checkpoints out of one, and show what each of them bought and what it cost."""

from __future__ import annotations

import argparse
import csv
import io
import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.common.errors import LabError
from core.common.output import note, print_json, print_table
from core.common.paths import write_atomic
from core.common.settings import fields_of
from core.compression.analysis import UNKNOWN, csv_rows, headline, rows, students_words, winner
from core.compression.cli_measure import row
from core.compression.kind import COMPRESS
from core.compression.recipe import ORIGINAL, PRESETS, CompressConfig, make, read_recipe
from core.compression.results import CompressionResult
from core.compression.shipped import load_shipped
from core.compression.steps import STEPS, Distill
from core.compression.store import read_compression
from core.jobs import LocalEngine
from core.jobs.foreground import describe, exit_code, follow, run_detached
from core.jobs.run import Run
from core.training.cli import add_flag

if TYPE_CHECKING:
    from core.checkpoints.store import CheckpointRef

EXAMPLE = "example"
"""Stands for the results that ship, where the id of a run is asked for."""
EXPORTS = (".csv", ".json")
MOST_RECIPE_BYTES = 100_000
NEW = ("checkpoint", "recipe", "name", "seed", "threads", "device")
"""Flags that only a new recipe takes."""
WORTH = ("Accuracy", "Change", "p", "Loss (nats)", "First guess right")
"""Columns of the second table; what a variant costs is in the first."""


def add(subcommands: Any) -> None:
    parser = subcommands.add_parser(
        "compress",
        help="make smaller and faster checkpoints out of one, and measure them",
        description="Apply a recipe to a checkpoint, as one run of the queue. Every step makes a new checkpoint, RUN_ID/VARIANT, "
        "that is measured against the original: bytes, multiply-adds, latency, memory, accuracy. The original is only read.",
        epilog='A recipe is the name of a preset, a list of steps as JSON, as in \'[{"step": "prune_channels", "amount": 0.3}, '
        '{"step": "fine_tune"}, {"step": "int8"}]\', or @FILE with such a list. All of them: python -m core compress --presets',
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--checkpoint", metavar="NAME", help="what to compress, as listed by: python -m core checkpoints")
    what.add_argument("--resume", metavar="RUN_ID", help="go on with a recipe that stopped")
    what.add_argument("--show", metavar="RUN_ID", help="print what is measured of a recipe so far, finished or not; "
                      f"{EXAMPLE}: the one that ships")  # fmt: skip
    what.add_argument("--list", action="store_true", help="list the recipes that were run here")
    what.add_argument("--presets", action="store_true", help="print the presets, and the steps with their settings")
    parser.add_argument("--recipe", metavar="PRESET|JSON|@FILE", help="what to do with it")
    parser.add_argument("--name", help="name of the run, for people")
    for name in ("seed", "threads", "device"):
        info = fields_of(CompressConfig)[name]
        add_flag(parser, name, info, f" (default: {info.default})")
    parser.add_argument("--detach", action="store_true", help="queue the run and return at once")
    parser.add_argument("--export", metavar="FILE", help="write what was measured to a .csv or a .json file")
    parser.add_argument("--json", action="store_true", help="print as JSON: one row a checkpoint, the original first")
    parser.set_defaults(command=compress)


def compress(options: argparse.Namespace) -> int:
    given = [name for name in NEW if getattr(options, name) is not None]
    looking = options.presets or options.list
    if looking and (given or options.detach or options.export):
        raise LabError(
            f"{'--presets' if options.presets else '--list'} takes no flag but --json: leave the others out."
        )
    if options.presets:
        return _presets(options.json)
    if options.list:
        return _list(options.json)
    if options.export is not None:
        _check_file(options.export, options.detach)
    if options.show is not None:
        if given or options.detach:
            raise LabError("--show prints what there is: leave all flags but --json and --export out.")
        return _show(options)
    if options.resume is not None:
        if given:
            raise LabError(f"A recipe stays as it was begun: leave --{', --'.join(given)} out, or start a new one.")
        engine, run_id = LocalEngine(), options.resume
        _check_resumable(engine, run_id)
    else:
        config = _config(options)
        engine = LocalEngine()
        run_id = engine.store.create(config, options.name, kind=COMPRESS.name)
        note(f"{_variants(len(config.variants()))} of {config.checkpoint}: {config.variants()[-1].title}")
    return _start(engine, run_id, options)


def _config(options: argparse.Namespace) -> CompressConfig:
    """What was asked for. Raises LabError for all that can be told before there is a run."""
    from core.checkpoints.store import find_checkpoint

    if options.checkpoint is None or options.recipe is None:
        missing = "--checkpoint NAME" if options.checkpoint is None else "--recipe PRESET"
        raise LabError(f"{missing} is missing: python -m core compress --checkpoint fast_resnet --recipe int8")
    reference = find_checkpoint(options.checkpoint)
    recipe, steps = read_recipe(_recipe_text(options.recipe), reference.card.task)
    settings = {name: getattr(options, name) for name in ("seed", "threads", "device")}
    settings = {name: value for name, value in settings.items() if value is not None}
    config = make(_whole_name(reference), reference.card, steps, recipe, **settings)
    config.base()  # the trainings that it leads to check the device
    for step in steps:
        if isinstance(step, Distill) and step.student_config:
            from core.models import full_config

            full_config(step.student, step.student_config)
    _check_data(config, reference)
    return config


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
    from core.data import DATASETS, dataset_status, dataset_title

    name = config.dataset
    try:
        status = dataset_status(name)
        if status.ready:
            return
        problem = f"{dataset_title(name)} is not on this machine."
    except LabError as error:
        problem = str(error)
    fetch = f"fetch it with python -m core data {name} --fetch" if name in DATASETS else "put it back where it was"
    if config.needs_data:
        raise LabError(
            f"{problem} The recipe needs it, because {reference.card.title[:100]} was trained on it: {fetch}."
        )
    note(f"{problem} Without it accuracy is not measured: {fetch}.")


def _check_file(name: str, detach: bool) -> None:
    """Raises LabError for what can be told of --export before the work begins."""
    if detach:
        raise LabError("--export waits for the end of a recipe: leave --detach out, or export it later with --show.")
    path = Path(name).expanduser()
    if path.suffix.lower() not in EXPORTS:
        raise LabError(f"--export {name[:200]} is not valid: the file's name must end in {' or '.join(EXPORTS)}.")
    if path.is_dir() or not path.parent.is_dir():
        raise LabError(f"--export {name[:200]} is not a file that can be written: give one in a folder that is there.")


def _check_resumable(engine: LocalEngine, run_id: str) -> None:
    """Raises LabError for a run that is no recipe, or cannot go on."""
    run = engine.state(run_id)
    read_compression(engine.store, run_id)
    if run.active:
        raise LabError(f"The recipe {run_id} is {run.status} already: see python -m core compress --show {run_id}")
    if run.status == "finished":
        raise LabError(f"The recipe {run_id} has finished: look at it with --show, or start a new one.")


def _start(engine: LocalEngine, run_id: str, options: argparse.Namespace) -> int:
    if options.detach:
        return run_detached(engine, run_id, as_json=options.json)
    run, interrupted = follow(engine, run_id)
    note(run.message)
    result = read_compression(engine.store, run_id)
    _print(result, run, run_id, options)
    best = winner(result)
    if run.resumable:
        note(f"Go on with it: python -m core compress --resume {run_id}")
    elif run.status == "finished" and best is not None and not options.json:
        verb = "generate --prompt TEXT" if run.task == "text" else "classify IMAGE"
        note(f"Show it again: python -m core compress --show {run_id}")
        note(f"Use a variant: python -m core {verb} --checkpoint {run_id}/{best.id}")
    return exit_code(run, interrupted)


def _show(options: argparse.Namespace) -> int:
    if options.show == EXAMPLE:
        _print(load_shipped(), None, EXAMPLE, options)
        return 0
    engine = LocalEngine()
    run = engine.state(options.show)
    _print(read_compression(engine.store, run.id), run, run.id, options)
    if run.active:
        note(f"It is {run.status}: {describe(run)[1]}")
    elif run.resumable:
        note(f"{run.message} python -m core compress --resume {run.id}".strip())
    elif run.status != "finished":
        note(run.message)
    return 0


def _print(result: CompressionResult, run: Run | None, run_id: str, options: argparse.Namespace) -> None:
    """A recipe on stdout, and in a file if that was asked for. run: None for the one that ships."""
    if options.json:
        print_json(_plain(result, run_id))
    else:
        _print_plain(result, run_id)
    if options.export is None:
        return
    if options.show is None and run is not None and run.status != "finished":
        note("It is not at its end, so nothing was exported.")
        return
    path = Path(options.export).expanduser()
    write_atomic(path, _exported(result, path.suffix.lower()))
    note(f"Exported to {path}.")


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
    print(f"{run_id}: {result.name}, {len(result.variants)} of {_variants(result.planned)} of {config.checkpoint}")
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
    said: dict[str, list[str]] = {}
    for item in result.measured:
        for sentence in item.notes:
            said.setdefault(sentence, []).append(item.id)
    for sentence, names in said.items():
        print(f"{', '.join(names)}: {sentence}")
    for sentence in (students_words(result), headline(result)):
        if sentence:
            print(sentence)


def _print_legend(result: CompressionResult) -> None:
    threads = result.config.threads
    parts = [f"Times: median (95th percentile), ms a batch, {threads} {'thread' if threads == 1 else 'threads'}."]
    if any(item.accuracy_interval for item in result.measured):
        parts.append("Intervals: 95%.")
    if any(item.p_value is not None for item in result.measured):
        parts.append("p: McNemar's test against the original.")
    print(" ".join(parts))


def _variants(count: int) -> str:
    return f"{count} {'variant' if count == 1 else 'variants'}"


def _list(as_json: bool) -> int:
    engine = LocalEngine()
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
        return 0
    print_table(found, ["run", "name", "checkpoint", "status", "variants", "recipe"])
    if not found:
        note("Nothing was compressed yet. Start: python -m core compress --checkpoint fast_resnet --recipe int8")
    return 0


def _presets(as_json: bool) -> int:
    presets = [
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
        print_json({"presets": presets, "steps": steps})
        return 0
    for preset in presets:
        print(f"{preset['name']} ({preset['title']}, {preset['task']}): {preset['about']}")
        print(f"  {json.dumps(preset['steps'])}")
    print("\nSteps of a recipe, with their settings:")
    for step in steps:
        known = ", ".join(f"{key}={json.dumps(value)}" for key, value in step["settings"].items())
        only = "" if len(step["tasks"]) > 1 else f" For {step['tasks'][0]} only."
        print(f"{step['name']} ({step['title']}): {known or 'no settings'}\n  {step['about']}{only}")
    return 0
