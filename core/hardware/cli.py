"""`hardware`: what this machine has, grids of a checkpoint under many settings, and the roofline; for scripts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from core.common.commands import CheckpointName, Detach, Json, RunName, Whole, between, takes_settings
from core.common.devices import cores
from core.common.output import note, print_json, print_table
from core.hardware.compare import comparison, names_of, shared_rows
from core.hardware.config import HardwareConfig
from core.hardware.estimate import grid_seconds
from core.hardware.expect import expect, slow_warning
from core.hardware.kind import HARDWARE
from core.hardware.machine import read_machine
from core.hardware.recommend import answer, default_batch, passed_over, recommend, start_words
from core.hardware.results import GRIDS, MAX_BYTES, HardwareResult, Row, read_file, read_grid
from core.hardware.setups import MOST_BATCH, MOST_THREADS, WORKS
from core.images.cli import read
from core.jobs import open_engine
from core.jobs.foreground import start_run

hardware = App(name="hardware", help="Which settings make a checkpoint fast on this machine.")
Source = Annotated[str, Parameter(help="A run, a result file, or one that ships: simple_cnn, fast_resnet.")]
NAMES = ("works", "devices", "precisions", "runtimes", "threads", "formats", "batch_sizes", "training_batch", "rounds")
MOST_REASON = 48
"""Characters in a table."""
MORE_NAMES = ("images", "limit_s", "roofline", "seed")


@hardware.command
def machine(*, as_json: Json = False) -> None:
    """Print what this machine has, and which precisions it has instructions for."""
    found = read_machine()
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    print(f"{found.title}, {found.memory_bytes / 1e9:.1f} GB. {found.feature_words}.")
    for gpu in found.gpus:
        print(f"{gpu.device}: {gpu.name}, compute capability {'.'.join(map(str, gpu.capability))}")


@hardware.command
@takes_settings(HardwareConfig, (*NAMES, *MORE_NAMES))
def start(
    *,
    checkpoint: CheckpointName = "simple_cnn",
    settings: dict[str, Any] | None = None,
    dry_run: Annotated[
        bool, Parameter(help="Print the cells with what to expect of each, and measure nothing.")
    ] = False,
    name: RunName = None,
    detach: Detach = False,
    as_json: Json = False,
) -> int:
    """Measure a checkpoint under all settings that are given, crossed with each other."""
    config = new_config(checkpoint, **settings or {})
    if dry_run:
        _print_cells(config, as_json)
        return 0
    note(
        f"{len(config.setups)} cells: about {grid_seconds(config) / 60:.0f} min on a machine like the one this was made on."
    )
    found = read_machine()
    for warning in dict.fromkeys(filter(None, (slow_warning(setup, found) for setup in config.setups))):
        note(warning)
    engine = open_engine()
    run_id = engine.store.create(config, name, kind=HARDWARE.name)
    return start_run(engine, run_id, detach=detach, as_json=as_json)


def new_config(checkpoint: str, **values: Any) -> HardwareConfig:
    """The configuration for a checkpoint as it is now. Raises LabError, for a language model too."""
    from core.checkpoints.store import find_checkpoint

    card = find_checkpoint(checkpoint).card
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    data = card.image_data
    return HardwareConfig(
        checkpoint=checkpoint, model=card.model, dataset=data.name, fingerprint=card.fingerprint, **values
    )


def _print_cells(config: HardwareConfig, as_json: bool) -> None:
    found, rows = read_machine(), []
    for setup in config.setups:
        expected = expect(setup, config.reference(setup), found)
        row = dataclasses.asdict(setup) | {"low": expected.low, "high": expected.high, "capped": expected.slow}
        rows.append(row | {"why": " ".join(expected.why)})
    if as_json:
        print_json({"seconds": grid_seconds(config), "cells": rows})
        return
    print_table(rows, list(rows[0]))
    note(f"About {grid_seconds(config) / 60:.0f} min.")


@hardware.command
def show(source: Source, /, *, second: Source = "", as_json: Json = False) -> None:
    """Print a grid, or two beside each other.

    Args:
        second: Another one to compare with.
    """
    found = load(source)
    if second:
        _print_both(found, load(second), as_json)
    elif as_json:
        print_json(found.to_dict() | {"table": found.table(), "answers": answers(found)})
    elif found.rows:
        _print(found)
    else:
        note("Nothing is measured yet.")


def load(source: str) -> HardwareResult:
    """Raises LabError for what is no grid."""
    if source in GRIDS.shipped_names():
        return GRIDS.load_shipped(source)
    if source.endswith(".json"):
        return read_file(read(Path(source), MAX_BYTES, "result file"))
    store = open_engine().store
    return read_grid(store.folder(source), store.config(source))


def answers(found: HardwareResult) -> dict[str, str]:
    """The sentence of each work."""
    return {work: f"{answer(found, work)}." for work in WORKS if default_batch(found, work)}


def _print(found: HardwareResult) -> None:
    title = found.machine.title if found.machine else "unknown machine"
    print(f"{found.title} on {title}.")
    for work, sentence in answers(found).items():
        batch = default_batch(found, work) or 0
        advice = recommend(found, work, batch)
        more = (start_words(advice) if advice else "", passed_over(found, work, batch))
        print(f"{WORKS[work]}: {' '.join(filter(None, (sentence, *more)))}")
    rows = [_line(found, row) for row in found.rows]
    print_table(rows, list(rows[0]))
    if found.roofline:
        print(f"{found.roofline.answer()}.")


def _line(found: HardwareResult, row: Row) -> dict[str, Any]:
    speed, expected = row.speedup, found.expectation(row)
    measured = row.measured
    return {
        "work": row.setup.work,
        "setting": row.setup.words,
        "batch": row.setup.batch_size,
        "images/s": round(row.images_per_s.middle) if measured else row.reason[:MOST_REASON],
        "times": speed.words if speed else "",
        "expected": expected.words if expected else "",
        "p95 ms": round(row.p95_ms, 2) if row.p95_ms else "",
        "accuracy": row.accuracy_words if measured else "",
        "start s": round(row.start_s, 1) if row.start_s is not None else "",
        "pays back after": row.break_even(found.reference(row)) if measured else "",
    }


def _print_both(first: HardwareResult, second: HardwareResult, as_json: bool) -> None:
    pairs, names = shared_rows(first, second), names_of(first, second)
    rows = [
        dataclasses.asdict(one.setup)
        | {"first": one.images_per_s.middle, "second": two.images_per_s.middle}
        | {"ratio": two.images_per_s.middle / one.images_per_s.middle}
        for one, two in pairs
    ]
    if as_json:
        print_json({"names": names, "cells": rows})
        return
    print(f"{comparison(pairs, names)}.")
    print_table(rows, list(rows[0]))


@hardware.command
def roofline(
    *,
    checkpoint: CheckpointName = "simple_cnn",
    threads: Annotated[Whole, between(1, MOST_THREADS)] | None = None,
    batch_size: Annotated[Whole, between(1, MOST_BATCH)] = 64,
    as_json: Json = False,
) -> None:
    """Measure the peaks of the processor, and where each layer stands below them.

    Args:
        threads: Without it, all cores.
        batch_size: Images of one call.
    """
    from core.checkpoints.store import find_checkpoint
    from core.hardware.measure import run_roofline

    reference = find_checkpoint(checkpoint)
    reference.card.image_data  # noqa: B018, says so at once where it is a language model
    found = run_roofline(reference.folder, threads or min(cores(), MOST_THREADS), batch_size, lambda: None)
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    print(f"Peaks: {found.gflops_per_s:.0f} GFLOP/s, {found.gbytes_per_s:.1f} GB/s. {found.answer()}.")
    rows = [
        {
            "layer": layer.name,
            "kind": layer.kind,
            "FLOP/byte": layer.intensity,
            "GFLOP/s": layer.gflops_per_s,
            "of roof": found.share(layer),
            "ms": layer.ms,
        }
        for layer in found.layers
    ]
    print_table(rows, list(rows[0]))
