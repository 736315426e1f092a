"""`shift`: corrupted images, and how checkpoints answer to them; the numbers of the page, for scripts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from core.common.commands import CheckpointName, Detach, Json, RunId, RunName, Whole, between, read_items
from core.common.errors import LabError
from core.common.output import Bar, check_output, note, print_json, print_table
from core.common.settings import MAX_SEED
from core.data.cli import load_with_bar
from core.images.cli import read
from core.jobs import open_engine
from core.jobs.foreground import start_run
from core.shift.catalogue import COMMON, CORRUPTIONS, RECOMPUTED, SEVERITIES
from core.shift.config import IMAGES, ShiftConfig
from core.shift.kind import SHIFT
from core.shift.results import MEASUREMENTS, ShiftResult, read_measurement

shift = App(name="shift", help="How far a checkpoint falls on corrupted images, drawings and other test sets.")
Names = Annotated[tuple[str, ...], Parameter(converter=read_items, n_tokens=1, accepts_keys=False, metavar="A,B")]
Seed = Annotated[Whole, between(0, MAX_SEED)]


@shift.command
def start(
    *,
    checkpoints: Names = ("simple_cnn",),
    corruptions: Names = COMMON,
    images: Annotated[Whole, between(1, 1_000_000)] = IMAGES,
    files: Literal["recomputed", "official"] = "recomputed",
    seed: Seed = 0,
    name: RunName = None,
    detach: Detach = False,
    as_json: Json = False,
) -> int:
    """Measure checkpoints on corrupted test images, all on the same ones.

    Args:
        checkpoints: The first is what the others are compared with.
        corruptions: Without them, the fifteen common ones.
        images: Test images, drawn at random.
        files: recomputed, or official for the files of CIFAR-10-C.
        seed: Draws the images, and seeds the corruptions.
    """
    engine = open_engine()
    config = new_config(checkpoints, corruptions=corruptions, images=images, files=files, seed=seed)
    run_id = engine.store.create(config, name, kind=SHIFT.name)
    return start_run(engine, run_id, detach=detach, as_json=as_json)


def new_config(checkpoints: tuple[str, ...], **values: Any) -> ShiftConfig:
    """The configuration for checkpoints as they are now. Raises LabError, for a language model too."""
    from core.checkpoints.store import find_checkpoint

    cards = [find_checkpoint(name).card for name in checkpoints]
    if not cards:
        raise LabError("No checkpoint is given: name one, as in --checkpoints simple_cnn.")
    data = [card.image_data for card in cards]
    return ShiftConfig(
        checkpoints=checkpoints,
        model=cards[0].model,
        dataset=data[0].name,
        fingerprints=tuple(card.fingerprint for card in cards),
        **values,
    )


@shift.command
def show(measurement: RunId, /, *, as_json: Json = False) -> None:
    """Print a measurement, or one that ships: checkpoints, arms."""
    if measurement in MEASUREMENTS.shipped_names():
        found = MEASUREMENTS.load_shipped(measurement)
    else:
        store = open_engine().store
        found = read_measurement(store.folder(measurement), store.config(measurement))
    if as_json:
        print_json(found.summary())
    elif found.clean:
        _print(found)
    else:
        note("Nothing is measured yet.")


def _print(found: ShiftResult) -> None:
    words = RECOMPUTED if found.config.files == "recomputed" else "The official files of CIFAR-10-C"
    print(f"{found.answer()}. {words}; {found.images:,} images.")
    rows = []
    for place, title in enumerate(found.titles):
        row: dict[str, Any] = {"checkpoint": title, "clean": found.accuracy(place)}
        if found.done:
            row |= {"corrupted": found.mean(place).percent, "ECE": found.calibration_error(place)[1]}
            row["difference, points"] = (
                found.difference(0, place, comparisons=len(found.titles) - 1).points if place else None
            )
            row |= dict(zip(found.done, found.accuracies(place).mean(axis=1).tolist(), strict=True))
        rows.append(row)
    print_table(rows, list(rows[0]))


@shift.command
def image(
    file: str,
    /,
    *,
    checkpoint: CheckpointName = "simple_cnn",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Put one image through all 95 corruptions, and print where the answer changes.

    Args:
        file: An image.
        seed: Of the corruptions.
    """
    from core.checkpoints.store import load_checkpoint
    from core.data.decode import MAX_BYTES, decode_image, model_input
    from core.shift.image import contact_sheet

    made = load_checkpoint(checkpoint)
    data = made.card.image_data
    photo = decode_image(read(Path(file), MAX_BYTES, "image"))
    sheet = contact_sheet(made, model_input(photo.rgb, data.image_size, data.fit), seed)
    if as_json:
        print_json({"answer": sheet.answer, "flipped": sheet.flipped, "rows": sheet.table()})
        return
    print(f"{sheet.answer}.")
    print_table(sheet.table(), ["corruption", "flips_at", *(f"severity_{severity}" for severity in SEVERITIES)])


@shift.command
def renditions(*, checkpoint: CheckpointName = "simple_cnn", as_json: Json = False) -> None:
    """Classify emoji of the ten CIFAR-10 classes, which are fetched first (136 MB)."""
    from core.checkpoints.store import find_checkpoint, load_checkpoint
    from core.shift.emoji import load_emoji
    from core.shift.renditions import measure_renditions

    reference = find_checkpoint(checkpoint)
    reference.card.image_data  # noqa: B018, says so before anything is fetched where it is a language model
    made = load_checkpoint(reference)
    with Bar() as bar:
        emoji = load_emoji(bar.show)
    found = measure_renditions(made, emoji)
    if as_json:
        print_json(
            {
                "accuracy": dataclasses.asdict(found.accuracy),
                "emoji": found.things,
                "flagged": found.flagged,
                **{
                    of: {name: figure.mean for name, figure in found.by(of).items()}
                    for of in ("background", "vendor", "label")
                },
                "items": [dataclasses.asdict(item) for item in found.items],
            }
        )
        return
    print(f"{found.answer}: {found.things} emoji by two vendors, on white and on grey.")
    rows = [{"class": name, "right": figure.percent} for name, figure in found.by("label").items()]
    print_table(rows, ["class", "right"])


@shift.command
def other(*, checkpoint: CheckpointName = "simple_cnn", as_json: Json = False) -> None:
    """Measure on CIFAR-10.1, 2,000 new images of CIFAR-10's classes, which are fetched first (6 MB)."""
    from core.checkpoints.store import load_checkpoint
    from core.shift.measure import check_ten_classes, measure_split
    from core.shift.official import load_new_test

    made = load_checkpoint(checkpoint)
    check_ten_classes(made)
    with Bar() as bar:
        found = measure_split(made, load_new_test(bar.show))
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        print(f"{made.card.title} is right on {found.percent} of CIFAR-10.1.")


@shift.command
def official(*, as_json: Json = False) -> None:
    """Fetch the official files of CIFAR-10-C (2.9 GB), for `start --files official`."""
    from core.shift.official import corrupted_folder, load_corrupted

    with Bar() as bar:
        arrays = load_corrupted(bar.show)
    if as_json:
        print_json({"folder": str(corrupted_folder()), "images": {name: len(array) for name, array in arrays.items()}})
    else:
        note(f"CIFAR-10-C is in {corrupted_folder()}.")


@shift.command
def corrupt(
    name: Annotated[str, Parameter(help="A corruption, as `shift corruptions` lists them.")],
    /,
    *,
    dataset: str = "cifar10",
    severity: Annotated[Whole, between(1, 5)] = 3,
    output: Annotated[str, Parameter(alias="-o")],
    seed: Seed = 0,
) -> None:
    """Write the test images of any dataset as a corruption leaves them: a .npy file, (N, H, W, 3) uint8.

    Args:
        dataset: Registry name, or folder:PATH.
        output: A file that ends in .npy.
    """
    import numpy as np

    from core.shift.corruptions import corrupt as make

    path = check_output("--output", output, (".npy",))
    test = load_with_bar(dataset).test
    if not len(test):
        raise LabError(f"{dataset[:80]} has no test images: choose another dataset.")
    with path.open("wb") as file:
        np.save(file, make(np.asarray(test.images), name, severity, seed=seed), allow_pickle=False)
    note(f"{len(test):,} images in {path}. {RECOMPUTED}.")


@shift.command
def corruptions(*, as_json: Json = False) -> None:
    """List the corruptions."""
    rows = [dataclasses.asdict(item) for item in CORRUPTIONS.values()]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, list(rows[0]))
