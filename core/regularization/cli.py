"""`study`: compare regularization techniques; show, extend and export what such a comparison found."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

from core.common.errors import LabError
from core.common.output import duration, note, print_json, print_table
from core.common.settings import field_help, fields_of
from core.data.cli import load_with_bar
from core.jobs import LocalEngine
from core.jobs.foreground import describe, exit_code, follow, run_detached
from core.jobs.run import Run
from core.regularization.analysis import ArmResult, headline, split_of, summary, worth
from core.regularization.arms import OR
from core.regularization.cost import before_start, cost
from core.regularization.kind import STUDY
from core.regularization.results import StudyResult
from core.regularization.shipped import load_shipped, shipped_names
from core.regularization.store import extend_study, read_study
from core.regularization.study import StudyConfig
from core.regularization.techniques import IMAGE_MODELS, TECHNIQUES, plain_number
from core.training.cli import add_flag, read_settings, whole_name

LISTS = {
    "arms": ("--arms", "ARM,ARM"),
    "train_sizes": ("--train-size", "N,N"),
    "model_config": ("--model-config", "KEY=VALUE"),
}
"""Flags that may be given several times, and what they look like."""
ADDED = ("arms", "train_sizes", "seeds")
"""What can be added to a study; all else stays as it was begun."""


def add(subcommands: Any) -> None:
    parser = subcommands.add_parser(
        "study",
        help="compare regularization techniques, with seeds and intervals",
        description="Train arms (techniques, alone or together) at some training-set sizes with several seeds, all for as "
        "many steps, and say which of them help, by how much, and whether that is more than luck. An arm is written as "
        "dropout, dropout=0.3, dropout=0.1/0.3/0.5 or dropout=tune (the best strength on validation), or "
        "augment+l2=0.1 (together).",
        epilog=f"Techniques: {', '.join(TECHNIQUES)}. What they do: python -m core study --list",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--resume", metavar="STUDY_ID", help="go on with a study that stopped; --arms, --train-size and "
                      "--seeds are added to it")  # fmt: skip
    what.add_argument("--show", metavar="STUDY_ID", help="print what there is of a study, finished or not, without any "
                      f"training; {' or '.join(shipped_names()) or 'example'}: one that ships")  # fmt: skip
    what.add_argument("--list", action="store_true", help="print the techniques with their strengths and papers")
    parser.add_argument("--name", help="name of the study, for people")
    parser.add_argument("--detach", action="store_true", help="queue the study and return at once")
    parser.add_argument("--export", metavar="FILE", help="write the study with all its figures to a JSON file")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    settings = parser.add_argument_group("settings")
    for name, info in fields_of(StudyConfig).items():
        if name in LISTS:
            flag, shape = LISTS[name]
            usual = "" if name == "model_config" else f" (default: {_usual(info.default)})"
            text = f"{field_help(info).replace('%', '%%')} May be given several times.{usual}"
            settings.add_argument(flag, dest=name, action="append", metavar=shape, help=text)
        else:
            add_flag(settings, name, info, f" (default: {_usual(info.default)})")
    parser.set_defaults(command=study)


def study(options: argparse.Namespace) -> int:
    given = _settings(options)
    if options.list:
        return _list(options.json)
    if options.export is not None:
        _check_file(options.export, options.detach)
    if options.show is not None:
        if given or options.name or options.detach:
            raise LabError("--show prints what there is: leave all flags but --json and --export out.")
        return _show(options)
    engine = LocalEngine()
    if options.resume is None:
        config = StudyConfig(**given)
        config = config.replace(dataset=_pictures(config.dataset))
        _check_sizes(config)
        _announce(config, engine, 0)
        study_id = engine.store.create(config, options.name, kind=STUDY.name)
    else:
        study_id = options.resume
        _resume(engine, study_id, given, options)
    return _start(engine, study_id, options)


def _resume(engine: LocalEngine, study_id: str, given: dict[str, Any], options: argparse.Namespace) -> None:
    """Add to a study what there is to add. Raises LabError where it cannot go on."""
    other = [name for name in given if name not in ADDED] + (["name"] if options.name else [])
    if other:
        flags = ", ".join(LISTS[name][0] if name in LISTS else "--" + name.replace("_", "-") for name in other)
        raise LabError(f"A study stays as it was begun: leave {flags} out, or start a new one.")
    run = engine.state(study_id)
    result = read_study(engine.store, study_id)
    if run.active:
        raise LabError(f"The study {study_id} is {run.status} already: see python -m core study --show {study_id}")
    config = result.config.extended(**given)
    if config != result.config:
        _check_sizes(config)
        extend_study(engine.store, study_id, config)
        result = read_study(engine.store, study_id)
    elif run.status == "finished":
        raise LabError(
            f"The study {study_id} has finished: add to it with --arms, --train-size or --seeds, or look at it with --show."
        )
    _announce(config, engine, result.done)


def _start(engine: LocalEngine, study_id: str, options: argparse.Namespace) -> int:
    if options.detach:
        return run_detached(engine, study_id, as_json=options.json)
    run, interrupted = follow(engine, study_id)
    note(run.message)
    _print(_made(read_study(engine.store, study_id), run), run, study_id, options)
    if run.status != "finished":
        note(f"Go on with it: python -m core study --resume {study_id}")
    elif not options.json:
        note(f"Show it again: python -m core study --show {study_id}")
    return exit_code(run, interrupted)


def _show(options: argparse.Namespace) -> int:
    if options.show in shipped_names():
        _print(load_shipped(options.show), None, options.show, options)
        return 0
    engine = LocalEngine()
    run = engine.state(options.show)
    _print(_made(read_study(engine.store, run.id), run), run, run.id, options)
    if run.active:
        note(f"It is {run.status}: {describe(run)[1]}")
    elif run.status != "finished":
        note(f"{run.message} python -m core study --resume {run.id}".strip())
    return 0


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of a StudyConfig that were given as flags."""
    given = {name: getattr(options, name) for name in fields_of(StudyConfig)}
    found = {name: value for name, value in given.items() if value is not None}
    if "arms" in found:
        found["arms"] = tuple(_pieces(found["arms"]))
    if "train_sizes" in found:
        found["train_sizes"] = tuple(_whole(text) for text in _pieces(found["train_sizes"]))
    if "model_config" in found:
        found["model_config"] = read_settings(found["model_config"])
    return found


def _pieces(texts: list[str]) -> list[str]:
    return [piece.strip() for text in texts for piece in text.split(",") if piece.strip()]


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise LabError(f"--train-size {text[:40]!r} is not valid: give whole numbers, as in 500,2000.") from None


def _pictures(name: str) -> str:
    """The name that a run has for a dataset. Raises LabError for one that is not there, or holds no pictures."""
    from core.data import dataset_task, dataset_title

    name = whole_name(name)
    if dataset_task(name) != "images":
        raise LabError(
            f"{dataset_title(name)} holds text and a study needs pictures: choose cifar10, or folder:PATH, as --dataset."
        )
    return name


def _check_sizes(config: StudyConfig) -> None:
    """Raises LabError for a training-set size above the dataset, if that is here; else the worker will tell."""
    from core.data import dataset_status

    if dataset_status(config.dataset).ready:
        config.check_data(len(load_with_bar(config.dataset, "images").train))


def _check_file(name: str, detach: bool) -> None:
    """Raises LabError for what can be told of --export before hours of training."""
    if detach:
        raise LabError("--export waits for the end of a study: leave --detach out, or export it later with --show.")
    path = Path(name).expanduser()
    if path.is_dir() or not path.parent.is_dir():
        raise LabError(f"--export {name[:200]} is not a file that can be written: give one in a folder that is there.")


def _announce(config: StudyConfig, engine: LocalEngine, done: int) -> None:
    """Say what it will cost, before it starts."""
    device, at_once = before_start(config, engine.slots)
    found = cost(config, device, at_once, done)
    parts = [f"{found.runs} {'run' if found.runs == 1 else 'runs'} of {config.steps:,} steps"]
    if found.seconds is None:
        parts.append("time unknown until it was measured here")
    else:
        known = "from an earlier study here" if found.measured else "a first guess"
        parts.append(f"about {duration(found.seconds)} ({known})")
    note(" · ".join([*parts, f"{found.size_bytes / 1e6:.1f} MB of checkpoints"]))
    if config.seeds == 1:
        note("With one seed there will be no verdict: luck and effect cannot be told apart. Give --seeds 3.")


def _made(result: StudyResult, run: Run) -> StudyResult:
    """With how it was made, where that is not known yet."""
    known = {"command": command_of(result.config), "hours": f"{run.seconds / 3600:.3g}"}
    return dataclasses.replace(result, made=known | result.made)


def command_of(config: StudyConfig) -> str:
    """The command that makes this study again."""
    words = ["python", "-m", "core", "study", "--arms", ",".join(config.arms)]
    words += ["--train-size", ",".join(map(str, config.train_sizes))]
    for name in ("seeds", "model", "dataset", "steps", "batch_size", "evaluations"):
        words += ["--" + name.replace("_", "-"), str(getattr(config, name))]
    words += ["--lr", plain_number(config.lr)] if config.lr else []
    words += ["--device", config.device] if config.device != "auto" else []
    for key, value in config.model_settings.items():
        words += ["--model-config", f"{key}={json.dumps(value)}"]
    return shlex.join(words)


def _print(result: StudyResult, run: Run | None, study_id: str, options: argparse.Namespace) -> None:
    """A study on stdout, and in a file if that was asked for. run: None for one that ships."""
    rows = summary(result)
    if options.json:
        print_json(_plain(result, run, study_id, rows))
    else:
        _print_plain(result, study_id, rows)
    if options.export is None:
        return
    if options.show is None and result.done < len(result.members):
        note("It is not at its end, so nothing was exported.")
        return
    path = Path(options.export).expanduser()
    path.write_text(json.dumps(result.to_dict(), separators=(",", ":")) + "\n")
    note(f"Exported to {path}.")


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
        "arms": [dataclasses.asdict(row) | {"worth_images": worth(rows, row.arm, row.train_size)} for row in rows],
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


def _list(as_json: bool) -> int:
    fields = ("name", "title", "unit", "default", "grid", "low", "high", "whole", "models", "how", "paper", "url")
    if as_json:
        print_json([{name: getattr(kind, name) for name in fields} for kind in TECHNIQUES.values()])
        return 0
    for kind in TECHNIQUES.values():
        strength = "on or off"
        if kind.unit:
            strength = (
                f"{kind.unit} {kind.default:g}, from {kind.low:g} to {kind.high:g}, tune: {_usual(kind.grid, OR)}"
            )
        only = "" if kind.models == IMAGE_MODELS else f" Only with {' or '.join(kind.models)}."
        print(f"{kind.name} ({kind.title}): {strength}\n  {kind.how}{only}\n  {kind.paper}, {kind.url}")
    return 0


def _usual(value: Any, between: str = ",") -> str:
    """A default as it is typed."""
    if isinstance(value, tuple):
        return between.join(_usual(item) for item in value)
    return plain_number(value) if isinstance(value, int | float) else str(value)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
