"""A run's metrics as TensorBoard event files, by TensorBoard's own writer: for its pages, and for importers that read such files.

TensorBoard is optional: nothing else here needs it.
"""

from __future__ import annotations

import importlib.util
import io
import json
import tempfile
import zipfile
from pathlib import Path

from core.common.errors import LabError
from core.common.paths import ensure_folder
from core.jobs.store import RunStore

EVENTS = "events.out.tfevents.*"
MISSING = "TensorBoard is not installed: run pip install tensorboard, then try again."
PARTS = {"train": "train", "val": "validation", "probe": "probe"}
"""Prefix of a figure -> what it was measured on."""
NOT_FIGURES = ("kind", "step", "seconds")


def can_write_events() -> bool:
    """Whether TensorBoard is installed. Imports nothing."""
    return importlib.util.find_spec("tensorboard") is not None


def write_events(store: RunStore, run_id: str, folder: Path) -> int:
    """Write all rows so far to `folder`/`run_id`, in place of events that are there; returns how many figures were written.

    Figures are called `loss_nats/train`, `loss_nats/validation`, `run/lr`, …; what a language model wrote and the settings are
    texts. Times are those of the training. Raises LabError without TensorBoard, without rows, and where the folder cannot be
    written.
    """
    run, rows = store.get(run_id), store.metrics(run_id)
    if not rows:
        raise LabError(f"{run_id} has no metrics rows yet: only trainings write them, from their first step on.")
    if not can_write_events():
        raise LabError(MISSING)
    from torch.utils.tensorboard import SummaryWriter

    begun = run.created.timestamp() if run.created else 0.0
    count, place = 0, ensure_folder(folder / run_id)
    try:
        for old in place.glob(EVENTS):
            old.unlink()
        with SummaryWriter(str(place)) as writer:
            config = {} if run.config is None else run.job_kind.write_config(run.config)
            writer.add_text("config", _as_it_is(json.dumps(config, indent=1)), 0, begun)
            for row in rows:
                for name, value in row.items():
                    tag = _tag(str(row["kind"]), name)
                    if tag and value is not None:
                        writer.add_scalar(tag, value, row["step"], begun + (row.get("seconds") or 0.0))
                        count += 1
            seconds = {row["step"]: row.get("seconds") or 0.0 for row in rows}
            for sample in store.samples(run_id):
                at = begun + seconds.get(sample["step"], 0.0)
                writer.add_text("sample", _as_it_is(sample["text"]), sample["step"], at)
    except OSError as error:
        raise LabError(f"{place} cannot be written ({error.strerror or error}): give another folder.") from error
    return count


def zipped_events(store: RunStore, run_id: str) -> bytes:
    """The same as a zip. Raises LabError as `write_events` does."""
    buffer = io.BytesIO()
    with tempfile.TemporaryDirectory(prefix="bottleneck-lab-") as folder:
        write_events(store, run_id, Path(folder))
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(Path(folder).rglob(EVENTS)):
                archive.write(path, path.relative_to(folder).as_posix())
    return buffer.getvalue()


def _as_it_is(text: str) -> str:
    """As code in Markdown, which is how TensorBoard shows texts."""
    return "\n".join(f"    {line}" for line in text.split("\n"))


def _tag(kind: str, name: str) -> str:
    """What a figure is called; empty for one that another row says better: rows of evaluations repeat those of training."""
    part, _, rest = name.partition("_")
    if name in NOT_FIGURES or (kind == "eval" and part not in ("val", "probe")):
        return ""
    return f"{rest}/{PARTS[part]}" if part in PARTS and rest else f"run/{name}"
