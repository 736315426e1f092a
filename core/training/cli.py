"""`train`, `resume`, `stop`."""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

from pydantic.fields import FieldInfo

from core.common.errors import LabError
from core.common.output import Bar, note, print_json
from core.common.settings import field_help, fields_of
from core.jobs import LocalEngine
from core.jobs.foreground import describe, report, run_detached, run_in_foreground
from core.models import MODELS
from core.training import recipes
from core.training.config import TrainConfig


def add(subcommands: Any) -> None:
    names = "; ".join(f"{model}: {', '.join(found)}" for model, found in recipes.RECIPES.items())
    parser = subcommands.add_parser(
        "train",
        help="train a model, in the foreground or queued",
        description="Train a model on the device at hand. A recipe gives every setting; flags change single ones.",
        epilog=f"Recipes of each model: {names}.",
    )
    parser.add_argument("--model", default="simple_cnn", help="architecture (default: simple_cnn)")
    parser.add_argument("--recipe", default="default", help="named settings to start from (default: default)")
    parser.add_argument("--name", help="name of the run, for people")
    parser.add_argument("--detach", action="store_true", help="queue the run and return at once")
    parser.add_argument("--json", action="store_true", help="print the run as JSON when it has ended, or was queued")
    settings = parser.add_argument_group("settings (default: the recipe's)")
    for name, info in fields_of(TrainConfig).items():
        if name == "model_config":
            text = field_help(info).replace("%", "%%")
            settings.add_argument(
                "--model-config", action="append", metavar="KEY=VALUE", help=f"{text} May be given several times."
            )
        elif name not in ("model", "recipe"):
            add_flag(settings, name, info)
    parser.set_defaults(command=train)

    parser = subcommands.add_parser("resume", help="go on with a run that stopped, failed or was lost")
    parser.add_argument("run_id", metavar="RUN_ID")
    parser.add_argument("--detach", action="store_true", help="queue it and return at once")
    parser.add_argument("--json", action="store_true", help="print the run as JSON when it has ended, or was queued")
    parser.set_defaults(command=resume)

    parser = subcommands.add_parser(
        "stop", help="stop a run within one batch, its state saved; or take it out of the queue"
    )
    parser.add_argument("run_id", metavar="RUN_ID")
    parser.add_argument("--now", action="store_true", help="end it at once, going back to its last saved state")
    parser.add_argument("--json", action="store_true", help="print the run as JSON")
    parser.set_defaults(command=stop)


def add_flag(parser: Any, name: str, info: FieldInfo, note: str = "") -> None:
    """The flag of one setting; None where it is not given. parser: or a group of one. note: added to its help."""
    flag, text = "--" + name.replace("_", "-"), field_help(info).replace("%", "%%") + note
    if info.annotation is bool:
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        return
    kind = int if info.annotation is int else float if info.annotation is float else str
    parser.add_argument(flag, type=kind, metavar=kind.__name__.upper(), help=text)


def train(options: argparse.Namespace) -> int:
    changes = {
        name: value
        for name in fields_of(TrainConfig)
        if name not in ("model", "recipe") and (value := getattr(options, name)) is not None
    }
    recipe = recipes.get_recipe(options.model, options.recipe)
    if "model_config" in changes:
        changes["model_config"] = dict(recipe.model_settings) | read_settings(changes["model_config"])
    config = recipe.replace(**changes)
    config = config.replace(dataset=_dataset(config))
    engine = LocalEngine()
    run_id = engine.store.create(config, options.name)
    return _start(engine, run_id, options)


def resume(options: argparse.Namespace) -> int:
    engine = LocalEngine()
    run = engine.state(options.run_id)
    if run.active:
        raise LabError(f"The run {run.id} is {run.status} already: see python -m core runs {run.id}")
    return _start(engine, run.id, options)


def stop(options: argparse.Namespace) -> int:
    engine = LocalEngine()
    was = engine.state(options.run_id)
    run = engine.stop(options.run_id, now=options.now) if was.active else was
    bar = Bar()
    while run.active:
        bar.show(*describe(run))
        time.sleep(0.1)
        run = engine.state(run.id)
    bar.close()
    if options.json:
        print_json(report(run))
    elif was.active:
        note(run.message)
    else:
        note(f"It was not running ({run.status}).")
    return 0


def _start(engine: LocalEngine, run_id: str, options: argparse.Namespace) -> int:
    return (run_detached if options.detach else run_in_foreground)(engine, run_id, as_json=options.json)


def _dataset(config: TrainConfig) -> str:
    """The name that a run has for its dataset. Raises LabError for all that can be told before there is a run."""
    from core.data import DATASETS, TEXT_PREFIX, dataset_task, load_text

    name = whole_name(config.dataset)
    model, task = MODELS[config.model], dataset_task(name)
    if model.task != task:
        kind = {"images": "pictures", "text": "text"}
        title = DATASETS[name].title if name in DATASETS else name[:200]
        others = " or ".join(other for other, entry in MODELS.items() if entry.task == task)
        raise LabError(
            f"{model.title} learns {kind[model.task]} and {title} holds {kind[task]}: choose another --dataset, or "
            f"--model {others}."
        )
    if name.startswith(TEXT_PREFIX):
        load_text(name)  # takes a moment, and says what no text can be made of
    return name


def whole_name(dataset: str) -> str:
    """The name of a dataset with its whole path, because the worker has another working directory. Raises LabError."""
    from core.data import canonical_name

    prefix, colon, path = canonical_name(dataset).partition(":")
    return prefix + colon + (os.path.normpath(path) if colon else "")


def read_settings(pairs: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise LabError(f"--model-config {pair[:60]!r} is not valid: write it as KEY=VALUE, as in dropout=0.2.")
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    return values
