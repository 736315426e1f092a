"""`augment`: a pipeline on an image and as code, its effect on a network, a map of transforms, and a forecast."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from core.augmentation.config import MapConfig
from core.augmentation.kind import MAP
from core.augmentation.results import MAPS, EffectMap, read_map
from core.common.commands import CheckpointName, Detach, Json, RunId, RunName, Whole, between, takes_settings
from core.common.errors import LabError
from core.common.output import check_output, note, print_json, print_table
from core.common.settings import MAX_SEED
from core.common.values import signed
from core.data.cli import load_with_bar
from core.jobs import open_engine
from core.jobs.foreground import start_run
from core.training.augmentation import TRANSFORMS, parse_pipeline

augment = App(name="augment", help="What an augmentation does to an image, to a network, and to what it learns.")
PipelineText = Annotated[str, Parameter(help="As in 'flip@0.5 rotate:0.3@0.5': see `augment transforms`.")]
Seed = Annotated[Whole, between(0, MAX_SEED)]
COLUMNS = ("pipeline", "affinity", "low", "high", "added_loss", "worst_class", "worst_points")


@augment.command
def transforms(*, as_json: Json = False) -> None:
    """Print the transforms with what their strengths 0 to 1 stand for."""
    rows = [{"name": name, "title": kind.title, "strength": kind.scale} for name, kind in TRANSFORMS.items()]
    if as_json:
        print_json(rows)
    else:
        print_table([row | {"strength": row["strength"] or "on or off"} for row in rows], list(rows[0]))


@augment.command
def code(pipeline: PipelineText, /, *, size: Annotated[Whole, between(4, 1024)] = 32) -> None:
    """Print a pipeline as plain torchvision code.

    Args:
        size: Height and width of the images, pixels.
    """
    print(parse_pipeline(pipeline).code(size), end="")


@augment.command
def image(
    file: str,
    pipeline: PipelineText,
    /,
    *,
    output: Annotated[str, Parameter(help="PNG to write.")],
    size: Annotated[Whole, between(4, 1024)] = 32,
    draws: Annotated[Whole, between(1, 64)] = 8,
    seed: Seed = 0,
) -> None:
    """Write an image as the trainer would show it, in several draws beside each other.

    Args:
        file: Image to read.
        size: Height and width that a network would get, pixels.
        draws: How many times.
        seed: Of the draws.
    """
    path, found = check_output("--output", output), parse_pipeline(pipeline)
    import numpy as np
    import torch
    from PIL import Image

    from core.augmentation.effect import check_content
    from core.data.decode import decode_image, fit_to_model
    from core.training.augmentation import apply_pipeline

    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise LabError(
            f"{file[:200]} cannot be read ({error.strerror or error}): give the path of an image."
        ) from error
    pixels = torch.tensor(fit_to_model(decode_image(data).rgb, size)).expand(draws, -1, -1, -1)
    changed = apply_pipeline(pixels, found, seed).numpy()
    check_content(changed)
    Image.fromarray(np.concatenate(list(changed), axis=1)).save(path, "PNG")
    note(f"{draws} draws in {path}.")


@augment.command
def measure(
    pipeline: PipelineText,
    /,
    *,
    checkpoint: CheckpointName = "simple_cnn",
    images: Annotated[Whole, between(10, 100_000)] = 2000,
    train_images: Annotated[Whole, between(10, 100_000)] = 500,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure what a pipeline does to a checkpoint: affinity, added loss, and each class.

    Args:
        images: Test images, for the accuracy.
        train_images: Training images, for the loss.
        seed: Of the draws.
    """
    text = parse_pipeline(pipeline).spec
    from core.augmentation.effect import EffectMeter
    from core.checkpoints.store import load_checkpoint

    made = load_checkpoint(checkpoint)
    data = load_with_bar(made.card.image_data.name)
    meter = EffectMeter(made, data, images=images, train_images=train_images, seed=seed)
    effect = meter.measure(text)
    if as_json:
        print_json(dataclasses.asdict(effect) | {"plain_accuracy": meter.accuracy})
        return
    print(f"{effect.words}: accuracy {100 * meter.accuracy:.1f}% → {100 * effect.accuracy:.1f}%.")
    print(f"Affinity {signed(effect.affinity)} points ({signed(effect.low)} to {signed(effect.high)}).")
    print(f"Added loss {signed(effect.added_loss, 2)} nats.")
    print_table([dataclasses.asdict(item) for item in effect.classes], ["label", "points", "low", "high"])


@augment.command
@takes_settings(MapConfig, ("transforms", "images", "train_images", "seed"))
def start(
    *,
    checkpoint: CheckpointName = "simple_cnn",
    settings: dict[str, Any] | None = None,
    name: RunName = None,
    detach: Detach = False,
    as_json: Json = False,
) -> int:
    """Make a map: what each transform does to a checkpoint, at several strengths."""
    from core.checkpoints.store import find_checkpoint

    reference = find_checkpoint(checkpoint)
    card = reference.card
    given = dict(settings or {})
    config = MapConfig(
        checkpoint=reference.name,
        model=card.model,
        dataset=card.image_data.name,
        fingerprint=card.fingerprint,
        **given | ({"transforms": tuple(given["transforms"])} if "transforms" in given else {}),
    )
    engine = open_engine()
    run_id = engine.store.create(config, name, kind=MAP.name)
    return start_run(engine, run_id, detach=detach, as_json=as_json)


@augment.command
def show(map_id: RunId, /, *, as_json: Json = False) -> None:
    """Print what there is of a map, or of one that ships."""
    if map_id in MAPS.shipped_names():
        found: EffectMap = MAPS.load_shipped(map_id)
    else:
        store = open_engine().store
        found = read_map(store.folder(map_id), store.config(map_id))
    if as_json:
        print_json(found.to_dict())
        return
    print(f"{found.answer}.")
    rows = [
        {name: getattr(effect, name) for name in COLUMNS[:5]}
        | {"worst_class": effect.worst.label, "worst_points": effect.worst.points}
        for effect in found.effects
    ]
    if rows:
        print_table(rows, list(COLUMNS))


@augment.command
def forecast(
    pipeline: PipelineText,
    /,
    *,
    train: Annotated[bool, Parameter(negative=(), help="Also start the study that scores it.")] = False,
    seeds: Annotated[Whole, between(1, 50)] = 3,
    as_json: Json = False,
) -> int:
    """Say what a pipeline is expected to bring Simple CNN, before it is trained.

    Args:
        seeds: Of the study.
    """
    text = parse_pipeline(pipeline).spec
    from core.augmentation.store import forecast_meter, load_model, start_study

    model = load_model()
    load_with_bar(model.dataset)
    effect = forecast_meter().measure(text)
    expected = model.regression.predict(effect.affinity, effect.added_loss)
    values = {
        "pipeline": effect.pipeline,
        "train_size": model.train_size,
        "affinity": effect.affinity,
        "added_loss": effect.added_loss,
        "expected": expected,
        "typical_error": model.error,
        "control": model.control,
        "control_error": model.control_error,
    }
    if train:
        engine = open_engine()
        values["run"] = run_id = start_study(engine.store, effect, seeds)
        engine.submit(run_id)
    if as_json:
        print_json(values)
        return 0
    print(f"{model.headline(expected)}.")
    print(f"{effect.words}, with {model.train_size:,} training images.")
    print(f"{model.trust}")
    if train:
        note(f"The study {values['run']} is queued. Then: python -m core augment forecasts")
    return 0


@augment.command
def forecasts(*, as_json: Json = False) -> None:
    """Print all forecasts of this machine with what came of them."""
    from core.augmentation.store import mean_errors, scored

    found = scored(open_engine().store)
    errors = mean_errors(found)
    rows = [
        {
            "study": item.forecast.run_id,
            "pipeline": item.forecast.pipeline,
            "expected": item.forecast.expected,
            "measured": item.measured,
            "status": item.status,
        }
        for item in found
    ]
    if as_json:
        print_json({"forecasts": rows, "error": errors and errors[0], "control_error": errors and errors[1]})
        return
    if not rows:
        note("There is no forecast yet: python -m core augment forecast 'flip@0.5' --train")
        return
    print_table(rows, list(rows[0]))
    if errors:
        print(f"Off by {errors[0]:.1f} points on average; always saying the mean gain is off by {errors[1]:.1f}.")
