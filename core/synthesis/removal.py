"""Deleting a set of generated images: the dataset, and the run that made it."""

from __future__ import annotations

from core.common.access import check_writable
from core.common.errors import LabError
from core.data.generated import GENERATED_PREFIX, delete_generated, set_folder
from core.data.storage import folder_bytes
from core.jobs import Run, RunStore
from core.synthesis.kind import SYNTHESIS


def users(set_id: str, runs: list[Run]) -> list[Run]:
    """Runs under way that train on the set."""
    name = f"{GENERATED_PREFIX}{set_id}"
    return [run for run in runs if run.active and name in (run.facts.dataset, getattr(run.config, "extra_dataset", ""))]


def set_bytes(store: RunStore, set_id: str) -> int:
    """What deleting it frees."""
    run = _run_of(store, set_id)
    return folder_bytes(set_folder(set_id)) + (folder_bytes(store.folder(run.id)) if run else 0)


def delete_set(store: RunStore, set_id: str) -> int:
    """Delete it; how many bytes that frees. Raises LabError while it is made, or a run under way trains on it."""
    check_writable()
    if using := users(set_id, store.list()):
        raise LabError(f"{using[0].name[:80]} trains on these images: stop it before you delete them.")
    run, freed = _run_of(store, set_id), set_bytes(store, set_id)
    if run:
        store.delete(run.id)
    if set_folder(set_id).is_dir():
        delete_generated(set_id)
    elif run is None:
        raise LabError(f"There are no generated images named {set_id[:80]}.")
    return freed


def _run_of(store: RunStore, set_id: str) -> Run | None:
    """The run that made it; None where that was deleted."""
    return next((run for run in store.list() if run.id == set_id and run.kind == SYNTHESIS.name), None)
