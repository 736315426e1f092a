"""`measure`: two checkpoints beside each other, the second against the first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from core.common.commands import CheckpointName, Json, Whole, between
from core.common.errors import LabError
from core.common.output import Bar, note, print_json, print_table
from core.compression.analysis import UNKNOWN, accuracy_words, byte_words, latency_words, p_words, times
from core.compression.recipe import ORIGINAL
from core.compression.results import Measurement, loss_words, speedup
from core.data.cli import how_to_get, load_with_bar

if TYPE_CHECKING:
    from core.checkpoints.store import CheckpointRef
    from core.data import Dataset

NOT_IN_ROWS = ("id", "title", "number", "seed", "control", "model", "steps", "layers")
"""Fields of a Measurement that a row leaves out."""


def measure(
    first: CheckpointName,
    second: CheckpointName,
    /,
    *,
    threads: Annotated[Whole, between(1, 256)] = 1,
    as_json: Json = False,
) -> None:
    """Measure two checkpoints beside each other, the second against the first.

    Size, parameters, multiply-adds, latency, memory and accuracy, on the CPU. Latencies are the median (and 95th percentile),
    ms a batch, of the network alone, measured in turn: A B B A. Accuracy is on all test images, one view of each.

    Args:
        threads: CPU threads for latencies.
    """
    from core.checkpoints.store import find_checkpoint, load_checkpoint
    from core.common.devices import cores, prepare_server
    from core.compression.measuring.comparable import check_comparable

    one, two = find_checkpoint(first), find_checkpoint(second)
    check_comparable(one.card, two.card)
    dataset = _at_hand(one)
    prepare_server(cores())
    names = [one.name, two.name if two.name != one.name else f"{two.name} (again)"]
    from core.compression.measuring.measure import Bench

    current = names[0]
    with Bar() as bar:
        bench = Bench(
            load_checkpoint(one),
            stored_bytes(one),
            dataset,
            threads=threads,
            on_progress=lambda share, words: bar.show(share or None, f"{current}: {words}"),
        )
        measured = [bench.measure_original()[0]]
        current = names[1]
        measured.append(bench.measure(load_checkpoint(two), stored_bytes(two), id="second", title=two.card.title)[0])
    if as_json:
        print_json([row(item, name) for item, name in zip(measured, (one.name, two.name), strict=True)])
        return
    print_table(beside(measured, names), ["", *names])
    for item, name in zip(measured, names, strict=True):
        for sentence in item.notes:
            print(f"{name}: {sentence}")


def row(measurement: Measurement, name: str) -> dict[str, Any]:
    """A measurement as plain values for JSON. latency_ms: subject -> p50, p95, the original's p50 in the same rounds, rounds."""
    latencies = {
        subject: {"p50": found.p50, "p95": found.p95, "original_p50": found.original_p50, "rounds": found.rounds}
        for subject, found in measurement.latency_ms.items()
    }
    names = (item.name for item in dataclasses.fields(measurement) if item.name not in NOT_IN_ROWS)
    calibration = measurement.calibration and dataclasses.asdict(measurement.calibration)
    values = {"name": name} | {key: getattr(measurement, key) for key in names}
    values |= {"latency_ms": latencies, "calibration": calibration}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def beside(measured: list[Measurement], names: list[str]) -> list[dict[str, Any]]:
    """Rows of a table with one column a measurement; what none of them has is left out."""
    rows = []
    for label, words in LINES.items():
        cells = [words(item) for item in measured]
        if any(cell != UNKNOWN for cell in cells):
            rows.append({"": label} | dict(zip(names, cells, strict=True)))
    return rows


def stored_bytes(reference: CheckpointRef) -> int:
    """Size of the weights file on disk. Raises LabError where it is missing."""
    try:
        return (reference.folder / reference.card.weights_file).stat().st_size
    except OSError as error:
        raise LabError(f"The weights of {reference.name} are missing: the checkpoint is damaged.") from error


def _at_hand(reference: CheckpointRef) -> Dataset | None:
    """The dataset of a checkpoint if it is on this machine; it is never fetched here."""
    from core.data import dataset_status

    name = reference.card.dataset.name
    try:
        status = dataset_status(name)
        if status.ready:
            found: Dataset = load_with_bar(name)
            return found
        note(f"{status.sentence} Without it accuracy is not measured: {how_to_get(name)}.")
    except LabError as error:
        note(f"{error} Without it accuracy is not measured.")
    return None


def _latency(measurement: Measurement, subject: str) -> str:
    found, words = measurement.latency_ms.get(subject), latency_words(measurement, subject)
    return words if found is None or measurement.id == ORIGINAL else f"{words}, {times(found.speedup)}x as fast"


def _p_value(measurement: Measurement) -> str:
    words = p_words(measurement.p_value)
    if words == UNKNOWN:
        return UNKNOWN
    return f"{words} ({measurement.disagreements:,} of {measurement.images:,} answers differ)"


def _speed(measurement: Measurement) -> str:
    own, ratio = measurement.characters_per_s, speedup(measurement)
    if own is None or ratio is None:
        return UNKNOWN
    return f"{own:,.0f} characters/s" + ("" if measurement.id == ORIGINAL else f", {times(ratio)}x as fast")


LINES: dict[str, Callable[[Measurement], str]] = {
    "weights file": lambda item: byte_words(item.stored_bytes),
    "what runs": lambda item: byte_words(item.size_bytes),
    "parameters": lambda item: f"{item.parameters:,}",
    "multiply-adds": lambda item: UNKNOWN if item.macs is None else f"{item.macs:,}",
    "zeros": lambda item: f"{item.zeros:.1%}",
    "PyTorch, batch 1 (ms)": lambda item: _latency(item, "torch_b1"),
    "PyTorch, batch 64 (ms)": lambda item: _latency(item, "torch_b64"),
    "ONNX Runtime, batch 1 (ms)": lambda item: _latency(item, "onnx_b1"),
    "ONNX Runtime, batch 64 (ms)": lambda item: _latency(item, "onnx_b64"),
    "writes": _speed,
    "threads": lambda item: f"{item.threads}",
    "peak memory": lambda item: byte_words(item.memory_bytes),
    "accuracy (95%)": accuracy_words,
    "loss": lambda item: UNKNOWN if item.loss_nats is None else f"{item.loss_nats:.4f} nats",
    "change (95%)": loss_words,
    "McNemar's p": _p_value,
}
"""What the table says, line by line: times are the median (95th percentile); a dash for what was not measured."""
