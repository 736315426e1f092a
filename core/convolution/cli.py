"""`foundations convolution`, `foundations shift` and `foundations edit`: the numbers that the room's page shows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from core.common.commands import CheckpointName, Json, RunName, Whole, between, read_items, takes_settings
from core.common.errors import LabError
from core.common.output import Bar, note, print_json, print_table
from core.convolution.arithmetic import DIGITS, PRESETS, WindowSettings, compute, digits, image_channels, parse_kernel
from core.data.cli import load_with_bar
from core.images.cli import read

if TYPE_CHECKING:
    import numpy as np

    from core.checkpoints.store import CheckpointRef

Place = Annotated[
    tuple[int, ...], Parameter(converter=read_items, n_tokens=1, accepts_keys=False, metavar="ROW,COLUMN")
]


@takes_settings(WindowSettings)
def convolution(
    image: str | None = None,
    /,
    *,
    digit: Annotated[Whole, between(0, DIGITS - 1)] = 3,
    kernel: str = PRESETS["Vertical edges"],
    colour: bool = False,
    checkpoint: Annotated[str | None, Parameter(help="Use a trained kernel of it.")] = None,
    layer: str | None = None,
    channel: Annotated[Whole, between(0, 100_000)] = 0,
    at: Place = (0, 0),
    settings: dict[str, Any] | None = None,
    as_json: Json = False,
) -> None:
    """Compute one convolution or pooling, and every term of one output.

    Args:
        image: PNG, JPEG, WebP, BMP or GIF; without it, a handwritten digit of 8×8 pixels.
        digit: Which digit, 0 to 9.
        kernel: Rows between semicolons, as in "0 1 0; 1 2 1; 0 1 0".
        colour: Three channels of the image, with the same kernel for each; without it, grey.
        layer: A convolution of the checkpoint; without it, the first.
        channel: Output channel, of a pooling the channel.
        at: Which output to take apart.
    """
    import numpy as np

    made = WindowSettings(**(settings or {}))
    if checkpoint is not None:
        from core.checkpoints.store import find_checkpoint, load_checkpoint

        reference = find_checkpoint(checkpoint)
        pixels = _pixels(image, reference)
        loaded = load_checkpoint(reference)
        from core.attribution.networks import convolutions
        from core.convolution.layers import convolution_sums

        sums = convolution_sums(loaded, layer or convolutions(loaded.model)[0], channel, pixels)
        channel = 0
    else:
        inputs = digits()[digit][None] if image is None else image_channels(_decoded(image), colour=colour)
        weights = np.repeat(parse_kernel(kernel)[None], len(inputs), 0) if made.operation == "convolution" else None
        sums = compute(inputs, weights, made)
    if len(at) != 2:
        raise LabError("--at is not valid: give a row and a column, as in 2,3.")
    found = sums.at(at[0], at[1], channel)
    if as_json:
        print_json(
            {
                "settings": sums.settings.to_dict(),
                "input_shape": list(sums.inputs.shape),
                "output_shape": list(sums.output.shape),
                "size_formula": sums.size_formula,
                "kernel": sums.kernel.tolist(),
                "output": sums.output.tolist(),
                "at": {"row": at[0], "column": at[1], **found},
            }
        )
        return
    print_table(found["terms"], ["channel", "m", "n", "row", "column", "weight", "value", "term"])  # type: ignore[arg-type]
    print(f"y[{at[0]}, {at[1]}] = {found['output']:.6g}, bias {found['bias']:.6g}. Output size: {sums.size_formula}")


def shift(
    image: str,
    /,
    *,
    checkpoint: CheckpointName,
    reach: Annotated[Whole, between(1, 8)] = 4,
    test_images: Annotated[Whole, between(0, 10_000)] = 0,
    as_json: Json = False,
) -> None:
    """Move an image by a pixel at a time, and see how the answer changes with each way to stride.

    Args:
        image: PNG, JPEG, WebP, BMP or GIF.
        reach: Pixels in each direction.
        test_images: Also count on so many test images how often two random shifts get one answer.
    """
    from core.checkpoints.store import find_checkpoint, load_checkpoint

    reference = find_checkpoint(checkpoint)
    pixels = _pixels(image, reference)
    loaded = load_checkpoint(reference)
    from core.convolution.shift import consistency, shifted_answers, variants

    classes = reference.card.image_data.classes
    test = load_with_bar(reference.card.dataset.name).test if test_images else None
    rows: list[dict[str, Any]] = []
    for kind, network in variants(loaded).items():
        found = shifted_answers(network, pixels, reach, loaded.card.calibration.temperature)
        place = int(found.answers[reach, reach])
        row: dict[str, Any] = {
            "pooling": kind,
            "answer": classes[place],
            "probability": float(found.probabilities[reach, reach, place]),
            "same_answer": found.same,
            "spread": found.spread,
        }
        if as_json:
            row["probabilities"] = found.probabilities[..., place].round(6).tolist()
            row["answers"] = found.answers.tolist()
        if test is not None:
            with Bar() as bar:
                counted = consistency(network, test.images[:test_images], test.labels[:test_images], reach, 0, bar.show)
            row |= {
                "test_images": counted.images,
                "accuracy": counted.accuracy,
                "consistent": counted.same / counted.images,
            }
            row |= {"interval": list(counted.interval)} if as_json else {}
        rows.append(row)
    if as_json:
        print_json({"reach": reach, "classes": list(classes), "variants": rows})
    else:
        print_table(rows, list(rows[0]))
    if len(rows) > 1:
        note(f"The weights were trained as in the first row ({rows[0]['pooling']}) alone.")


def edit(
    changes: str,
    /,
    *,
    checkpoint: CheckpointName,
    save: Annotated[bool, Parameter(negative=())] = False,
    name: RunName = None,
    as_json: Json = False,
) -> None:
    """Change a trained network by hand, and compare it with the original on 1,000 test images.

    Args:
        changes: JSON, as in '[{"what": "zero", "layer": "conv1", "channel": 3}]'; see the page's address.
        save: Keep it as a checkpoint.
    """
    from core.checkpoints.store import find_checkpoint, load_checkpoint
    from core.convolution.config import EditConfig, parse_edits

    reference, edits = find_checkpoint(checkpoint), parse_edits(changes)
    data = reference.card.image_data
    if not edits:
        raise LabError("The list of changes is empty: give one, as in the help.")
    config = EditConfig(checkpoint=reference.name, edits=edits, model=reference.card.model, dataset=data.name)
    loaded = load_checkpoint(reference)
    from core.convolution.edits import apply_edits, compare, first_test_logits, save_edited

    made = apply_edits(loaded, config.edits)
    split = load_with_bar(data.name).test
    with Bar() as bar:
        (before, _), (after, seconds) = (first_test_logits(network, split, bar.show) for network in (loaded, made))
    found = compare(before, after, split.labels[: len(before)], seconds)
    values: dict[str, Any] = dataclasses.asdict(found) | {"changes": config.words}
    if save:
        values["checkpoint"] = save_edited(config, name, found)
    if as_json:
        print_json(values)
    else:
        print_table([values], [key for key in values if key != "changes"])


def _decoded(image: str) -> np.ndarray:
    """(32, 32, 3) uint8: the central square, as networks for CIFAR-10 see it."""
    from core.data.decode import MAX_BYTES, decode_image, fit_to_model

    return fit_to_model(decode_image(read(Path(image), MAX_BYTES, "image")).rgb)


def _pixels(image: str | None, reference: CheckpointRef) -> np.ndarray:
    """(H, W, 3) uint8 as the checkpoint gets it."""
    from core.data.decode import MAX_BYTES, decode_image, model_input

    if image is None:
        raise LabError("A trained kernel needs an image: give a file.")
    data = reference.card.image_data
    return model_input(decode_image(read(Path(image), MAX_BYTES, "image")).rgb, data.image_size, data.fit, None)
