"""`train`, `resume`, `stop`."""

from __future__ import annotations

import os
import time
from typing import Annotated, Any

from cyclopts import Parameter

from core.checkpoints.backbone import BACKBONES
from core.checkpoints.store import find_checkpoint
from core.common.commands import Detach, Json, RunId, RunName, changed_settings, command_line, takes_settings
from core.common.errors import LabError
from core.common.output import Bar, note, print_json
from core.common.settings import fields_of
from core.data.cli import EncodingName, name_encoding_flag, note_changes
from core.jobs import open_engine
from core.jobs.foreground import check_idle, describe, report, start_run
from core.models import DESIGNS, LAYERS, MODELS, full_config
from core.training.config import TrainConfig
from core.training.recipes import RECIPES, STARTS, get_recipe, recipe_from

Recipe = Annotated[
    str,
    Parameter(
        help="Settings to start from. " + "; ".join(f"{model}: {', '.join(RECIPES[model])}" for model in RECIPES)
    ),
]


@takes_settings(
    TrainConfig, [name for name in fields_of(TrainConfig) if name not in ("model", "recipe")], defaults=False
)
def train(
    *,
    model: str = "",
    recipe: Recipe = "",
    encoding: EncodingName = None,
    name: RunName = None,
    detach: Detach = False,
    as_json: Json = False,
    settings: dict[str, Any] | None = None,
) -> int:
    """Train a model, in the foreground or queued, on the device at hand.

    A recipe gives every setting; flags change single ones. With --json the run is printed when it has ended, or was queued.
    With --encoding a copy of the text is kept in UTF-8, beside those that were uploaded.

    Args:
        model: Architecture, as listed by: python -m core models. Without it simple_cnn, or that of --init-from.
    """
    changes = dict(settings or {})
    start = _start_recipe(model, recipe, changes)
    if "model_config" in changes:
        changes["model_config"] = {**start.model_settings, **dict(changes["model_config"])}
    config = start.replace(**changes)
    config = config.replace(dataset=dataset_name(config, encoding))
    if config.extra_dataset:
        config = config.replace(extra_dataset=whole_name(config.extra_dataset))
    engine = open_engine()
    return start_run(engine, engine.store.create(config, name), detach=detach, as_json=as_json)


def _start_recipe(model: str, recipe: str, changes: dict[str, Any]) -> TrainConfig:
    """The recipe that flags change single settings of. A run from a checkpoint goes on as that was trained, unless it is told
    otherwise."""
    name = changes.get("init_from", "")
    if not name:
        return get_recipe(model or "simple_cnn", recipe or "default")
    card = None if name in BACKBONES else find_checkpoint(name).card
    model = model or (card.model if card else name)
    if recipe in STARTS and card is not None:
        data = card.dataset.name if recipe == "longer" else changes.get("dataset", card.dataset.name)
        return recipe_from(card, name, recipe).replace(dataset=data, model=model)
    if recipe:
        return get_recipe(model, recipe)
    if card is None:
        wanted = changes.get("train_layers", "head")
        return get_recipe(name, "default" if wanted == "head" else "fine-tuning").replace(model=model)
    same = "dataset" not in changes or whole_name(changes["dataset"]) == card.dataset.name
    how = "head" if changes.get("train_layers") == "head" else "longer" if same else "fine-tuning"
    return recipe_from(card, name, how).replace(dataset=card.dataset.name, model=model)


def command_of(config: TrainConfig) -> str:
    """The command that trains like this."""
    recipe = config.recipe if config.recipe in RECIPES.get(config.model, {}) else "default"
    usual = get_recipe(config.model, recipe)
    changed = changed_settings(config, usual)
    if "model_config" in changed:
        changed["model_config"] = _changed_model(config, usual)
    known = {name: value for name, value in changed.items() if name not in ("model", "recipe")}
    return command_line("train", model=config.model, recipe=recipe, **known)


def _changed_model(config: TrainConfig, usual: TrainConfig) -> dict[str, Any]:
    """The settings of the model that differ from a recipe's: what neither names has the model's own default."""
    (_, mine), (_, its) = (full_config(config.model, each.model_settings) for each in (config, usual))
    layers = {name: value for name, value in config.model_settings.items() if name == LAYERS}
    return changed_settings(mine, its) | layers


def resume(run_id: RunId, /, *, detach: Detach = False, as_json: Json = False) -> int:
    """Go on with a run that stopped, failed or was lost."""
    engine = open_engine()
    run = engine.state(run_id)
    check_idle(run, "runs")
    return start_run(engine, run.id, detach=detach, as_json=as_json)


def stop(run_id: RunId, /, *, now: bool = False, as_json: Json = False) -> None:
    """Stop a run within one batch, its state saved; or take it out of the queue.

    Args:
        now: End it at once, going back to its last saved state.
    """
    engine = open_engine()
    was = engine.state(run_id)
    run = engine.stop(run_id, now=now) if was.active else was
    with Bar() as bar:
        while run.active:
            bar.show(*describe(run))
            time.sleep(0.1)
            run = engine.state(run.id)
    if as_json:
        print_json(report(run))
    elif was.active:
        note(run.message)
    else:
        note(f"It was not running ({run.status}).")


def dataset_name(config: TrainConfig, encoding: str | None) -> str:
    """The name that a run has for its dataset. Raises LabError for all that can be told before there is a run."""
    from core.data import DATASETS, TEXT_PREFIX, convert_text, dataset_task, load_text
    from core.training.parent import check_start

    name = whole_name(config.dataset)
    check_start(config.replace(dataset=name))
    model, task = MODELS[config.model], dataset_task(name)
    if model.data != task:
        title = DATASETS[name].title if name in DATASETS else name[:200]
        others = " or ".join(other for other, entry in DESIGNS.items() if entry.data == task)
        raise LabError(
            f"{model.title} learns {model.data} and {title} holds {task}: choose another --dataset, or "
            f"--model {others}."
        )
    if name.startswith(TEXT_PREFIX):
        with name_encoding_flag():
            name = convert_text(name, encoding) if encoding else name
            data = load_text(name)  # takes a moment, and says what no text can be made of
        note_changes(data.card.title, data.changes)
    elif encoding:
        raise LabError("--encoding is for a text file: give one with --dataset text:PATH, or leave it out.")
    return name


def whole_name(dataset: str) -> str:
    """The name of a dataset with its whole path, because the worker has another working directory. Raises LabError."""
    from core.data import canonical_name

    prefix, colon, path = canonical_name(dataset).partition(":")
    return prefix + colon + (os.path.normpath(path) if colon else "")
