"""Reports of this machine: what runs that score methods leave in their folder. Nothing here imports torch."""

from __future__ import annotations

import json

from core.attribution.evidence.report import REPORTS, Report
from core.attribution.kind import SCORES
from core.common.errors import LabError
from core.common.paths import write_atomic
from core.jobs.job import Job
from core.jobs.store import RunStore

WORK = "images.jsonl"
"""What was measured of each image, from which a resume goes on."""


def read_report(store: RunStore, run_id: str) -> Report | None:
    """The report of a run; None while there is none. Raises LabError for a run that is missing or of another kind."""
    run = store.get(run_id)
    if run.kind != SCORES.name:
        raise LabError(f"The run {run_id} does not score methods: pick one from the list of reports.")
    return REPORTS.read_part(store.folder(run_id))


def write_report(job: Job, report: Report) -> None:
    write_atomic(job.folder / REPORTS.part_file, json.dumps(report.to_dict()) + "\n")
