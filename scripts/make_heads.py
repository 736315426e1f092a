"""Ship what a finished run measured of the heads of a checkpoint: `python -m scripts.make_heads RUN_ID`."""

from __future__ import annotations

import json
import sys

from core.attention.results import REPORTS, read_report
from core.common.paths import ensure_folder, write_atomic
from core.jobs import RunStore


def main(run_id: str) -> None:
    store = RunStore()
    report = read_report(store.folder(run_id), store.config(run_id))
    path = ensure_folder(REPORTS.shipped) / f"{report.checkpoint}.json"
    write_atomic(path, json.dumps(report.to_dict(), indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
