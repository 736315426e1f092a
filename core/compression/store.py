"""A recipe's run on disk: a folder a variant, and what can be read of them at any time. Nothing here imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.checkpoints.store import CARD, MEMBERS
from core.common.errors import LabError
from core.common.paths import write_atomic
from core.common.results import ResultStore
from core.compression.kind import COMPRESS
from core.compression.recipe import ORIGINAL, CompressConfig
from core.compression.results import CompressionResult, Measurement, measurement_from_dict
from core.jobs.store import RunStore

if TYPE_CHECKING:
    import numpy as np

ANSWERS = "answers.npy"
"""The class that a variant gives to every test image, (N,) int16."""
SHIPPED_ANSWERS = "answers.safetensors"
"""Beside the results that ship: by a variant's id the class that it gives to every test image of CIFAR-10, (N,) int8."""
COMPRESSIONS = ResultStore(
    "compression",
    Path(__file__).parent / "shipped",
    CompressionResult.from_dict,
    part_file="measurement.json",
    parse_part=measurement_from_dict,
)
"""The facts of a recipe are its `original`, `weights`, `classes`, `made`, `soft_labels`. A part is what a variant costs and
what it is worth. One result ships for `images`, and one for `text`."""
MOST_ANSWERS_BYTES = 100_000_000


def read_compression(store: RunStore, run_id: str) -> CompressionResult:
    """A recipe as far as it is. Raises LabError for one that is missing, another kind of run, or unreadable."""
    run = store.get(run_id)
    if run.kind != COMPRESS.name:
        raise LabError(f"The run {run_id} is not a compression: pick one from the list of results.")
    config: CompressConfig = store.config(run_id)
    folder = store.folder(run_id)
    facts = COMPRESSIONS.read_facts(folder)
    names = [ORIGINAL, *(variant.id for variant in config.variants())]
    found = [read_measurement(folder, name) for name in names]
    try:
        return CompressionResult(
            config=config,
            name=run.name,
            original=str(facts.get("original") or config.checkpoint),
            task=run.task,
            classes=tuple(facts["classes"]),
            made=facts["made"],
            measured=tuple(item for item in found if item is not None),
            soft_labels=tuple(facts.get("soft_labels", ())),
        )
    except (TypeError, AttributeError) as error:
        raise LabError(f"The facts of {run_id} are damaged: start the recipe again.") from error


def variant_folder(folder: Path, variant: str) -> Path:
    """Where a variant of the run in `folder` lies; its checkpoint is in `best` below."""
    return folder / MEMBERS / variant


def is_complete(folder: Path, variant: str) -> bool:
    """Whether a variant has its checkpoint and was measured."""
    there = variant_folder(folder, variant)
    return (variant == ORIGINAL or (there / "best" / CARD).is_file()) and read_measurement(folder, variant) is not None


def read_measurement(folder: Path, variant: str) -> Measurement | None:
    """The measurement of a variant; None where it is missing or unreadable."""
    return COMPRESSIONS.read_part(variant_folder(folder, variant))


def write_measurement(folder: Path, measured: Measurement, answers: np.ndarray | None) -> None:
    """Write a measurement, its answers first: whoever sees the measurement finds its answers."""
    import io

    import numpy as np

    there = variant_folder(folder, measured.id)
    there.mkdir(parents=True, exist_ok=True)
    if answers is not None:
        buffer = io.BytesIO()
        np.save(buffer, answers.astype(np.int16), allow_pickle=False)
        write_atomic(there / ANSWERS, buffer.getvalue())
    COMPRESSIONS.write_part(there, measured)


def read_answers(folder: Path, variant: str) -> np.ndarray | None:
    """The class that a variant gives to every test image, (N,) int16; None where it gave none."""
    import numpy as np

    path = variant_folder(folder, variant) / ANSWERS
    try:
        if path.stat().st_size > MOST_ANSWERS_BYTES:
            return None
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.ndim == 1 else None


def shipped_answers(variant: str) -> np.ndarray | None:
    """The class that a variant which ships gives to every test image, (N,) int16; None where that does not ship."""
    import numpy as np
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(COMPRESSIONS.shipped / SHIPPED_ANSWERS, framework="numpy") as kept:
            return kept.get_tensor(variant).astype(np.int16)
    except (OSError, SafetensorError):
        return None
