"""A card as a Markdown file that goes out beside the weights: every figure that was measured, and how to read it.

Sections after Mitchell et al., Model Cards for Model Reporting, arXiv:1810.03993.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import Any

from core.checkpoints.public import public_card
from core.checkpoints.store import TASKS, Card
from core.common.values import one_line
from core.data.dataset import ImageCard, TextCard

MOST_TEXT = 2000
MOST_CLASSES = 100
READ = {
    "accuracy": "a share, 0 to 1",
    "interval": "95% Wilson interval over the images, 0 to 1",
    "ece": "expected calibration error, 0 to 1, over 15 bins",
    "flagged": "share of test images that get the none-of-these warning, 0 to 1",
    "loss_nats": "mean cross-entropy, nats; of language models, of a character",
    "bits_per_character": "that of a character, in bits",
    "seconds": "wall time",
    "delta_points": "accuracy less that of the original, percentage points",
    "p_value": "of McNemar's test against the original",
    "processor": "what the figures of int8 arithmetic were measured on",
    "auroc": "how well the warning's score separates, 0.5 to 1",
}
"""Part of a figure's name -> how it is read."""


USE = (
    "Its ONNX export comes with a script that gives the lab's answers. It was measured only on the data below: measure it again "
    "before you use it on other data. Licences of the data, and of weights that others trained, apply to it too."
)


def _result(card: Card) -> str:
    """Its best known figure, in a sentence."""
    accuracy, loss = card.metrics.get("test_accuracy"), card.metrics.get("val_loss_nats")
    if card.task == "images" and isinstance(accuracy, int | float):
        found = card.interval(accuracy, "test")
        interval = f", 95% interval {found[0]:.1%} to {found[1]:.1%}" if found else ""
        return f"It names {accuracy:.1%} of the test images right{interval}."
    if card.task == "text" and isinstance(loss, int | float):
        return f"Its loss on validation text is {loss:.3f} nats a character."
    return ""


def model_card(card: Card) -> str:
    """Markdown. Whatever the card holds is escaped: it may come from anyone."""
    card = public_card(card)
    data, calibration = card.dataset, card.calibration
    parts = [
        f"# {_safe(card.title)}",
        f"A checkpoint of Bottleneck Lab: {TASKS[card.task][1]}. {_result(card)}".rstrip(),
        USE,
        _section("Network", _network(card)),
        _section("Data", _data(card)),
        _section("Figures", flatten(card.metrics), note=_notes_on(card.metrics)),
    ]
    if card.task == "images":
        values: dict[str, Any] = {
            "temperature": calibration.temperature,
            "threshold of the free energy": calibration.energy_threshold,
            "false alarm rate": calibration.false_alarm_rate,
            "images that the temperature was set on": calibration.images,
            "images that the threshold was set on": calibration.set_on,
            "split": calibration.split,
        }
        for name, found in (("misses", calibration.misses), ("distance", calibration.distance)):
            values[name] = None if found is None else dataclasses.asdict(found)
        words = (
            "Logits are divided by the temperature before softmax. An image above the threshold is probably none of the classes. "
            "Misses are images of other things that get no warning."
        )
        parts.append(_section("Calibration and warning", flatten(values), note=words))
    parts.append(
        _section("Training", flatten({"seed": card.seed, "steps": card.step, "epochs": card.epoch} | card.recipe))
    )
    if card.compression:
        steps = enumerate(card.compression.get("steps", []), 1)
        made = {"original": card.compression.get("original", "")}
        parts.append(_section("Compression", flatten(made | {f"step {number}": step for number, step in steps})))
    parts.append(_section("Made with", flatten({"hardware": card.hardware, "created": card.created} | card.versions)))
    files = {card.weights_file: card.weights_sha256, card.onnx_file: card.onnx_sha256}
    parts.append(
        _section("Checksums (SHA-256)", flatten({name: sha for name, sha in files.items() if name} | data.sha256))
    )
    if card.notes:
        parts.append(f"## Notes\n\n{_safe(card.notes)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def flatten(values: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """(name, figure) of every value in a mapping, those inside others by `outer / inner`; what is not there is left out."""
    for name, value in values.items():
        path = f"{before}{name}"
        if isinstance(value, dict):
            yield from flatten(value, f"{path} / ")
        elif isinstance(value, list | tuple) and any(isinstance(each, dict) for each in value):
            yield from flatten({str(index): each for index, each in enumerate(value, 1)}, f"{path} / ")
        elif isinstance(value, list | tuple):
            yield path, ", ".join(map(_figure, value))
        elif value is not None and value != "":
            yield path, _figure(value)


def _figure(value: Any) -> str:
    """Six digits of a number say all that was measured."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _network(card: Card) -> Iterator[tuple[str, str]]:
    about = {"architecture": card.model, "parameters": f"{card.parameters:,}"}
    about |= {"stored as": card.storage, "weights file, bytes": f"{card.size_bytes:,}"}
    if card.onnx_bytes:
        about["ONNX file, bytes"] = f"{card.onnx_bytes:,}"
    about |= {"made from": card.parent or "", "test-time augmentation": card.tta}
    yield from flatten(about | {"settings": card.model_config})


def _data(card: Card) -> Iterator[tuple[str, str]]:
    data = card.dataset
    values: dict[str, Any] = {"dataset": data.title, "source": data.source, "split": data.split, "sizes": data.sizes}
    if isinstance(data, ImageCard):
        more = [f"and {len(data.classes) - MOST_CLASSES} more"] if len(data.classes) > MOST_CLASSES else []
        values |= {"classes": [*data.classes[:MOST_CLASSES], *more], "image side, pixels": data.image_size}
        values |= {"mean": data.mean, "standard deviation": data.std}
    if isinstance(data, TextCard):
        values["characters it knows"] = len(data.vocabulary)
    yield from flatten(values)


def _notes_on(metrics: dict[str, Any]) -> str:
    names = [name for name, _ in flatten(metrics)]
    read = [f"`{end}`: {words}" for end, words in READ.items() if any(end in name for name in names)]
    return f"How they are read: {'; '.join(read)}." if read else ""


def _section(title: str, rows: Iterable[tuple[str, str]], note: str = "") -> str:
    """A table under a heading; empty where there is nothing to tell."""
    lines = [f"| {_safe(name)} | {_safe(value)} |" for name, value in rows]
    if not lines:
        return ""
    return "\n".join((f"## {title}", "", *((note, "") if note else ()), "| | |", "| --- | --- |", *lines))


def _safe(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#~$])", r"\\\1", one_line(text, MOST_TEXT))
