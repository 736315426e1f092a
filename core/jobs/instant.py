"""Runs that take milliseconds: done at once, in no queue, and listed like any other."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.jobs.store import RunStore


def record_finished(
    config: Any, kind: str, name: str | None, message: str, write: Callable[[Path, str], None], *, user: str = ""
) -> str:
    """Keep what `write(folder, name of the run)` writes as a finished run of a user; returns its id. What it raises leaves no
    run."""
    store = RunStore()
    run_id = store.create(config, name, kind=kind)
    try:
        write(store.folder(run_id), store.get(run_id).name)
    except BaseException:
        store.delete(run_id)
        raise
    now = time.time()
    with store.locked():
        store.write_status(run_id, status="finished", message=message, user=user, started=now, ended=now, final=True)
    return run_id
